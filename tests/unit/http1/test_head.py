"""Heads: first lines, fields, targets and hosts."""

import pytest

from proxy.errors import (
    BadFraming,
    BadHost,
    BadMessage,
    BadRequest,
    BadVersion,
    MethodRefused,
    OwnedField,
    TargetTooLong,
)
from proxy.http1 import head as module
from proxy.http1.head import METHOD_BYTES, parse_request_head, parse_request_line, parse_response_head
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead, ResponseHead

LIMITS = Limits()


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: a") -> RequestHead:
    """Parse a request."""
    lines = [line, *([host] if host is not None else []), *fields]
    return parse_request_head(b"\r\n".join(lines) + b"\r\n\r\n", LIMITS)


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    """Parse a response to GET."""
    return parse_response_head(b"\r\n".join([line, *fields]) + b"\r\n\r\n", b"GET", LIMITS)


def test_a_request_is_read_whole() -> None:
    """Method, target, authority, version, the fields that may pass, and those that are held."""
    head = request(
        b"X-A:  b\t", b"Txn-Token: t", b"Accept:*/*", b"txn-token: u", line=b"PUT /a?b=c HTTP/1.1", host=b"hOSt: a:80"
    )
    assert (head.method, head.target, head.authority, head.version) == (b"PUT", b"/a?b=c", b"a:80", 1)
    assert head.lines == [b"X-A: b", b"Accept: */*"]
    assert head.held == {b"host": [b"a:80"], b"txn-token": [b"t", b"u"]}


def test_a_field_that_may_stand_once_passes_and_is_held() -> None:
    """Whoever decides on it sees it; the app too."""
    head = request(b"content-type:  text/plain", b"Authorization: x")
    assert head.lines == [b"content-type: text/plain", b"Authorization: x"]
    assert (head.held[b"content-type"], head.held[b"authorization"]) == ([b"text/plain"], [b"x"])
    for name in (b"Content-Type", b"AUTHORIZATION"):
        with pytest.raises(BadRequest):
            request(b"content-type: a", b"authorization: a", name + b": b")


def test_a_second_reading_of_the_same_head_is_the_same() -> None:
    """What was remembered changes nothing: neither the lines nor the values are shared between requests."""
    fields = (b"Accept:*/*", b"Content-Type: a", b"Connection: x-a", b"X-A: b", b"Content-Length: 0")
    first = request(*fields)
    first.held[b"content-type"].append(b"spoiled")
    first.lines.clear()
    second = request(*fields)
    assert second.held[b"content-type"] == [b"a"]
    assert second.lines == [b"Accept: */*", b"Content-Type: a"]


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (b"", BadRequest),
        (b"GET", BadRequest),
        (b"GET /", BadRequest),
        (b"GET  / HTTP/1.1", BadRequest),
        (b"GET /  HTTP/1.1", BadRequest),
        (b"GET / HTTP/1.1 ", BadRequest),
        (b" GET / HTTP/1.1", BadRequest),
        (b"GET\t/\tHTTP/1.1", BadRequest),
        (b"GET /\tHTTP/1.1", BadRequest),
        (b"GET / a HTTP/1.1", BadRequest),
        (b"GET /\x0bHTTP/1.1", BadRequest),
        (b"G@T / HTTP/1.1", BadRequest),
        (b"G\x00T / HTTP/1.1", BadRequest),
        (b"GET:/ / HTTP/1.1", BadRequest),
        (b"A" * (METHOD_BYTES + 1) + b" / HTTP/1.1", BadRequest),
        (b"GET / http/1.1", BadRequest),
        (b"GET / HTTP/1", BadRequest),
        (b"GET / HTTP/1.11", BadRequest),
        (b"GET / HTTP/11.1", BadRequest),
        (b"GET / HTTP/1,1", BadRequest),
        (b"GET / HTTP /1.1", BadRequest),
        (b"GET / HTTP/1.\xb9", BadRequest),
        (b"GET / HTTPS/1.1", BadRequest),
        (b"GET / HTTP/2.0", BadVersion),
        (b"GET / HTTP/0.9", BadVersion),
        (b"GET / HTTP/1.2", BadVersion),
        (b"CONNECT a:443 HTTP/1.1", MethodRefused),
        (b"CONNECT / HTTP/1.1", MethodRefused),
        (b"CONNECT http://a/ HTTP/1.1", MethodRefused),
        (b"GET /" + b"a" * LIMITS.target_bytes + b" HTTP/1.1", TargetTooLong),
    ],
)
def test_a_request_line_is_three_words(line: bytes, refusal: type[BadMessage]) -> None:
    """One space between, a method, and a version that is spoken here; nothing is repaired (specs 6.1)."""
    with pytest.raises(refusal):
        parse_request_line(line, LIMITS)
    with pytest.raises(refusal):
        request(line=line)


@pytest.mark.parametrize("method", [b"GET", b"get", b"M-SEARCH", b"!#$%&'*+-.^_`|~", b"TRACE", b"A" * METHOD_BYTES])
def test_any_token_is_a_method(method: bytes) -> None:
    """Which are allowed is for the policy to say."""
    assert request(line=method + b" / HTTP/1.1").method == method


@pytest.mark.parametrize(
    ("line", "target", "authority"),
    [
        (b"GET / HTTP/1.1", b"/", b"a"),
        (b"GET //b/c HTTP/1.1", b"//b/c", b"a"),
        (b"GET /%2F..;a=b?c#".replace(b"#", b"") + b" HTTP/1.1", b"/%2F..;a=b?c", b"a"),
        (b'GET /"<>\\^`{|} HTTP/1.1', b'/"<>\\^`{|}', b"a"),
        (b"OPTIONS * HTTP/1.1", b"*", b"a"),
        (b"GET http://b/c?d HTTP/1.1", b"/c?d", b"b"),
        (b"GET HTTPS://b:81/c HTTP/1.1", b"/c", b"b:81"),
        (b"GET http://b HTTP/1.1", b"/", b"b"),
        (b"GET http://b?d HTTP/1.1", b"/?d", b"b"),
        (b"GET http://[::1]:80/x HTTP/1.1", b"/x", b"[::1]:80"),
        (b"OPTIONS http://b HTTP/1.1", b"*", b"b"),
        (b"OPTIONS http://b/ HTTP/1.1", b"/", b"b"),
    ],
)
def test_a_target_gives_the_way_and_the_authority(line: bytes, target: bytes, authority: bytes) -> None:
    """Origin-form and asterisk-form take Host, absolute-form its own (RFC 9112 section 3.2)."""
    head = request(line=line)
    assert (head.target, head.authority) == (target, authority)


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        *(
            (b"", BadRequest),
            (b"a", BadRequest),
            (b"a:80", BadRequest),
            (b"*", BadRequest),
            (b"?a", BadRequest),
            (b"/a#b", BadRequest),
        ),
        *((b"/\xc3\xa4", BadRequest), (b"/\x00", BadRequest), (b"/\x7f", BadRequest), (b"/\x1f", BadRequest)),
        *(
            (b"ftp://b/", BadRequest),
            (b"http:/b", BadRequest),
            (b"http:b", BadRequest),
            (b"//", None),
            (b"http:", BadRequest),
        ),
        *((b"http://", BadHost), (b"http:///c", BadHost), (b"http://u@b/", BadHost), (b"http://u:p@b/", BadHost)),
        *(
            (b"http://b:0/", BadHost),
            (b"http://b:99999/", BadHost),
            (b"http://b\\@c/", BadHost),
            (b"http://b%2Fc/", BadHost),
        ),
        *(
            (b"http://b#c", BadRequest),
            (b"http://b/#c", BadRequest),
            (b"http://b/\xff", BadRequest),
            (b"/\r", BadRequest),
        ),
    ],
)
def test_a_target_that_is_in_no_form_is_refused(target: bytes, refusal: type[BadMessage] | None) -> None:
    """No userinfo, no fragment, no octet that a URI has not."""
    line = b"GET " + target + b" HTTP/1.1"
    if refusal is None:
        assert request(line=line).target == target
    else:
        with pytest.raises(refusal):
            request(line=line)


def test_http_1_1_has_one_good_host() -> None:
    """Missing, repeated (even equal) or malformed means 400 (RFC 9112 section 3.2)."""
    for fields in ([b"Host: a", b"Host: a"], [b"Host: a", b"hOST: b"], [], [b"Host:"], [b"Host: a,b"], [b"Host: a b"]):
        with pytest.raises(BadHost):
            request(*fields, host=None)
    with pytest.raises(BadHost):
        request(line=b"GET http://b/ HTTP/1.1", host=None)


def test_http_1_0_may_have_no_host_but_not_two() -> None:
    """The authority is empty then, unless the target has one."""
    assert request(line=b"GET / HTTP/1.0", host=None).authority == b""
    assert request(line=b"GET http://b/ HTTP/1.0", host=None).authority == b"b"
    with pytest.raises(BadHost):
        request(b"Host: b", line=b"GET / HTTP/1.0")


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    """Ever new hosts push out what was known."""
    for number in range(2 * module._MAX_HOSTS + 5):
        request(host=b"Host: h%d" % number)
        assert len(module._HOSTS) <= module._MAX_HOSTS


@pytest.mark.parametrize(
    "field",
    [
        *(b"X", b": y", b" X: y", b"\tX: y", b"X : y", b"X\t: y", b"X Y: z", b"X\xff: y", b"X(: y", b"X\x00: y", b""),
        *(b"X: a\rb", b"X: a\nb", b"X: \x00", b"X: \x7f", b"X: a\x0bb", b"X: a\x0cb", b"X: \x1b", b"X: a\r", b"X: \na"),
        *(b"X: a\rb\nTxn-Token: evil", b"X: a\r b\n Y: c", b"\rX: y", b"\nX: y", b"X\r: y", b"X:\ry\n"),
        *(b"Transfer-Encoding: chunked\x0b", b"Transfer-Encoding\x0b: chunked", b"Content-Length: 5\r"),
    ],
)
def test_a_malformed_field_is_refused(field: bytes) -> None:
    """In a request and in a response: bad names, folded lines, and every control character (specs 6.1)."""
    for _ in range(2):
        with pytest.raises(BadRequest):
            request(field)
        with pytest.raises(BadRequest):
            response(field, b"Content-Length: 0")


@pytest.mark.parametrize("name", [b"Txn_Token", b"X_Forwarded_Client_Cert", b"Content_Length", b"Transfer_Encoding"])
def test_an_imitated_name_is_refused(name: bytes) -> None:
    """In a request and in a response."""
    with pytest.raises(OwnedField):
        request(name + b": x")
    with pytest.raises(OwnedField):
        response(name + b": x")


def test_values_pass_as_they_are() -> None:
    """Blanks around them go; tabs, colons and obs-text inside stay."""
    head = request(b"X-A: \t a\tb:c \xff\xfe \t", b"X-B:", b"X-C: \t")
    assert head.lines == [b"X-A: a\tb:c \xff\xfe", b"X-B: ", b"X-C: "]


@pytest.mark.parametrize(
    ("line", "status", "first_line", "version"),
    [
        (b"HTTP/1.1 200 OK", 200, b"HTTP/1.1 200 OK", 1),
        (b"HTTP/1.0 404 Not Found", 404, b"HTTP/1.1 404 Not Found", 0),
        (b"HTTP/1.1 200 ", 200, b"HTTP/1.1 200 ", 1),
        (b"HTTP/1.1 200", 200, b"HTTP/1.1 200 ", 1),
        (b"HTTP/1.1 100 Continue", 100, b"HTTP/1.1 100 Continue", 1),
        (b"HTTP/1.1 599 a\tb \xff", 599, b"HTTP/1.1 599 a\tb \xff", 1),
    ],
)
def test_a_status_line_is_written_anew(line: bytes, status: int, first_line: bytes, version: int) -> None:
    """In our own version, with the reason phrase that came; and the same again when it is remembered."""
    for _ in range(2):
        head = response(line=line)
        assert (head.status, head.first_line, head.version) == (status, first_line, version)


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 099 x", b"HTTP/1.1 600 x"),
        *(b"HTTP/1.1  200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1\t200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.2 200 OK"),
        *(b"HTTP/2.0 200 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 2_0 OK", b"HTTP/1.1 \xb2\xb2\xb2 OK", b"http/1.1 200 OK"),
        *(b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 OK\r", b"ICY 200 OK"),
        *(b"HTTP/1.1 200OK", b"HTTP/1.1 200 a\rb\nTxn-Token: evil", b"GET / HTTP/1.1"),
    ],
)
def test_a_malformed_status_line_is_refused(line: bytes) -> None:
    """And it is not remembered as a good one."""
    for _ in range(2):
        with pytest.raises(BadRequest):
            response(line=line)


def test_what_is_remembered_of_status_lines_is_bounded() -> None:
    """Ever new phrases push out what was known; a long one is judged each time."""
    for number in range(2 * module._MAX_STATUSES + 5):
        response(line=b"HTTP/1.1 200 phrase %d" % number)
        assert len(module._STATUSES) <= module._MAX_STATUSES
    for size, kept in ((module._MAX_STATUS_LINE_BYTES, True), (module._MAX_STATUS_LINE_BYTES + 1, False)):
        line = b"HTTP/1.1 200 ".ljust(size, b"x")
        response(line=line)
        assert (line in module._STATUSES) is kept


PLAIN = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\n"


def test_an_answer_that_is_remembered_is_read_for_its_own_request() -> None:
    """The same bytes answer HEAD without a body and GET with one, whichever came first (RFC 9112 section 6.3)."""
    for methods in ((b"GET", b"HEAD", b"GET", b"POST"), (b"HEAD", b"GET", b"HEAD", b"HEAD")):
        module.ANSWERS.clear()
        for _ in range(2):
            lengths = [parse_response_head(PLAIN, method, LIMITS).length for method in methods]
            assert lengths == [0 if method == b"HEAD" else 2 for method in methods]


def test_an_answer_that_is_remembered_is_the_one_that_was_judged() -> None:
    """By its exact bytes: a byte more or less is another answer."""
    module.ANSWERS.clear()
    first = parse_response_head(PLAIN, b"GET", LIMITS)
    assert parse_response_head(PLAIN, b"GET", LIMITS) is first
    assert parse_response_head(PLAIN.replace(b"Server: s", b"Server:  s"), b"GET", LIMITS) is not first
    with pytest.raises(BadRequest):
        parse_response_head(PLAIN.replace(b"Server: s", b"Server : s"), b"GET", LIMITS)


def test_what_is_remembered_of_answers_is_bounded_and_holds_no_secret() -> None:
    """Only answers all of whose fields repeat, and that are short: no cookie, no field that we do not know."""
    module.ANSWERS.clear()
    for number in range(2 * module._MAX_ANSWERS + 5):
        response(b"Server: %d" % number, b"Content-Length: 0")
        assert len(module.ANSWERS) <= module._MAX_ANSWERS
    module.ANSWERS.clear()
    for field in (
        b"Set-Cookie: secret",
        b"X-Secret: secret",
        b"Location: /secret",
        b"ETag: secret",
        b"Txn-Token: secret",
    ):
        response(b"Server: s", field, b"Content-Length: 0")
    assert not module.ANSWERS
    for size, kept in ((module._MAX_ANSWER_BYTES, True), (module._MAX_ANSWER_BYTES + 1, False)):
        spare = size - len(b"HTTP/1.1 200 OK\r\nDate: \r\n\r\n") - 4 * len(b"Vary: \r\n") - 800
        raw = b"HTTP/1.1 200 OK\r\nDate: " + b"d" * spare + b"\r\n" + (b"Vary: " + b"v" * 200 + b"\r\n") * 4 + b"\r\n"
        assert len(raw) == size
        parse_response_head(raw, b"GET", LIMITS)
        assert (raw in module.ANSWERS) is kept


def test_a_refused_answer_is_refused_again() -> None:
    """A refusal is never remembered as a head, however common its fields are."""
    module.ANSWERS.clear()
    for _ in range(2):
        for fields in (
            [b"Content-Length: 2", b"Content-Length: 2"],
            [b"Content-Length: 2", b"Transfer-Encoding: chunked"],
        ):
            with pytest.raises(BadFraming):
                response(b"Server: s", *fields)
    assert not module.ANSWERS

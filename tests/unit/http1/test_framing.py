"""One reading of framing: whatever two parsers could read differently is refused (law 5)."""

import pytest

from proxy.errors import BadFraming, BadMessage, BadRequest, CodingUnknown, ExpectationUnknown, OwnedField
from proxy.http1.framing import connection_options, frame_request, frame_response
from proxy.http1.message import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

Held = dict[bytes, list[bytes]]


def request(held: Held, version: int = 1, lines: list[bytes] | None = None) -> RequestHead:
    """A request whose framing was judged."""
    head = RequestHead(b"POST", b"/", b"a", version, lines or [], {name: list(values) for name, values in held.items()})
    frame_request(head)
    return head


def response(held: Held, status: int = 200, method: bytes = b"GET", version: int = 1) -> ResponseHead:
    """A response whose framing was judged."""
    head = ResponseHead(status, b"HTTP/1.1 200 OK", version, [b"X-A: b"], {name: list(v) for name, v in held.items()})
    frame_response(head, method)
    return head


def lengths(*values: bytes) -> Held:
    """The fields of a declared length."""
    return {b"content-length": list(values)}


def codings(*values: bytes) -> Held:
    """The fields of a transfer coding."""
    return {b"transfer-encoding": list(values)}


@pytest.mark.parametrize(
    ("held", "length"),
    [
        *((({}), 0), (lengths(b"0"), 0), (lengths(b"5"), 5), (lengths(b"0005"), 5), (lengths(b"9" * 18), 10**18 - 1)),
        *((codings(b"chunked"), CHUNKED), (codings(b"CHUNKED"), CHUNKED)),
    ],
)
def test_a_request_has_one_length(held: Held, length: int | None) -> None:
    """RFC 9112 section 6.3, rules 4, 6 and 7."""
    assert request(held).length == length


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"+5", b"-5", b"5_0", b"0x5", b"5,5", b"5, 5", b"5 5", b"5;", b"5.0", b"5e1", b"five", b"\xb2"),
        *("\u0665".encode(), b"9" * 19, b"5\x0b", b"5\xa0"),
    ],
)
def test_a_length_that_is_no_number_is_refused(value: bytes) -> None:
    """In a request and in a response."""
    with pytest.raises(BadFraming):
        request(lengths(value))
    with pytest.raises(BadFraming):
        response(lengths(value))


@pytest.mark.parametrize(
    ("held", "refusal"),
    [
        (lengths(b"5", b"5"), BadFraming),
        (lengths(b"5", b"6"), BadFraming),
        ({**lengths(b"5"), **codings(b"chunked")}, BadFraming),
        ({**lengths(b"0"), **codings(b"chunked")}, BadFraming),
        ({**lengths(b"bad"), **codings(b"bad")}, BadFraming),
        (codings(b"chunked", b"chunked"), BadFraming),
        (codings(b"chunked, chunked"), BadFraming),
        (codings(b"chunkedchunked"), BadFraming),
        (codings(b"chunked, gzip"), BadFraming),
        (codings(b"chunked", b"identity"), BadFraming),
        (codings(b"chunked;q=1"), BadFraming),
        (codings(b"chunked,"), BadFraming),
        (codings(b""), BadFraming),
        (codings(b"identity"), BadFraming),
        (codings(b"chunked\x0b"), BadFraming),
        (codings(b"chunked\xa0"), BadFraming),
        (codings(b'"chunked"'), BadFraming),
        (codings(b"gzip, chunked"), CodingUnknown),
        (codings(b"gzip", b"chunked"), CodingUnknown),
        (codings(b"GZIP ,\tChunked"), CodingUnknown),
        (codings(b"chunked", b"gzip, chunked"), BadFraming),
        (codings(b"xchunked"), BadFraming),
        (codings(b",chunked"), BadFraming),
        (codings(b"\x0bchunked"), BadFraming),
        (codings(b"gzip;q=1, chunked"), BadFraming),
    ],
)
def test_framing_that_can_be_read_twice_is_refused(held: Held, refusal: type[BadMessage]) -> None:
    """Any coding but chunked alone, two lengths, or both: nothing is repaired, in requests and in responses."""
    with pytest.raises(refusal):
        request(held)
    with pytest.raises(refusal):
        response(held)


def test_http_1_0_has_no_transfer_coding() -> None:
    """Its framing is faulty then (RFC 9112 section 6.1)."""
    with pytest.raises(BadFraming):
        request(codings(b"chunked"), version=0)
    with pytest.raises(BadFraming):
        response(codings(b"chunked"), version=0)


@pytest.mark.parametrize(
    ("held", "version", "keep_alive"),
    [
        *(({}, 1, True), ({b"connection": [b"keep-alive"]}, 1, True), ({b"connection": [b"close"]}, 1, False)),
        *(({b"connection": [b"CLOSE"]}, 1, False), ({b"connection": [b"x, close ,y"]}, 1, False)),
        *(({b"connection": [b"keep-alive", b"close"]}, 1, False), ({b"connection": [b"keep-alive, close"]}, 1, False)),
        *(({}, 0, False), ({b"connection": [b"keep-alive"]}, 0, False), ({b"connection": [b"close"]}, 0, False)),
    ],
)
def test_a_request_says_whether_its_connection_stays(held: Held, version: int, keep_alive: bool) -> None:  # noqa: FBT001
    """Close wins; a proxy keeps no connection of HTTP/1.0 (RFC 9112 section 9.3)."""
    assert request(held, version).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("held", "version", "keep_alive"),
    [
        *(({}, 1, False), (lengths(b"5"), 1, True), (codings(b"chunked"), 1, True), (lengths(b"5"), 0, False)),
        *(({**lengths(b"5"), b"connection": [b"keep-alive"]}, 0, True), ({b"connection": [b"keep-alive"]}, 0, False)),
        *(
            ({**lengths(b"5"), b"connection": [b"close"]}, 1, False),
            ({**lengths(b"5"), b"connection": [b"Close"]}, 1, False),
        ),
    ],
)
def test_a_response_says_whether_its_connection_stays(held: Held, version: int, keep_alive: bool) -> None:  # noqa: FBT001
    """It cannot stay when only its end ends the body."""
    assert response(held, version=version).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("status", "method"), [(100, b"GET"), (101, b"GET"), (204, b"GET"), (304, b"GET"), (200, b"HEAD")]
)
@pytest.mark.parametrize("held", [{}, lengths(b"5"), codings(b"chunked")])
def test_some_responses_have_no_body_whatever_they_declare(status: int, method: bytes, held: Held) -> None:
    """RFC 9112 section 6.3, rule 1; and their connection stays."""
    head = response(held, status, method)
    assert (head.length, head.keep_alive) == (0, True)


def test_a_response_that_declares_nothing_ends_with_its_connection() -> None:
    """RFC 9112 section 6.3, rule 8."""
    assert response({}).length == UNTIL_CLOSE
    assert response(lengths(b"7")).length == 7
    assert response(codings(b"Chunked")).length == CHUNKED


@pytest.mark.parametrize(
    "name",
    [
        *(b"Txn-Token", b"x-forwarded-client-cert", b"Client-Cert", b"client-cert-chain", b"Host", b"authorization"),
        *(b"content-length", b"Content-Type", b"traceparent", b"Via", b"Expect", b"Max-Forwards", b"forwarded"),
    ],
)
@pytest.mark.parametrize("pattern", [b"%b", b"close, %b", b"%b , x", b"x,\t%b"])
def test_connection_may_not_name_what_must_reach_the_app(name: bytes, pattern: bytes) -> None:
    """A careless hop would drop it after it was checked (law 4)."""
    with pytest.raises(OwnedField):
        request({b"connection": [pattern % name]})
    with pytest.raises(OwnedField):
        request({b"connection": [b"keep-alive", pattern % name]})


@pytest.mark.parametrize("value", [b"a b", b"close\x0b", b"a;b", b"a=b", b'"close"', b"\xff", b"a\x00", b"(x)"])
def test_an_option_is_a_token(value: bytes) -> None:
    """What is none could be a name to somebody else."""
    with pytest.raises(BadRequest):
        request({b"connection": [value]})


def test_options_are_read_without_case_and_empty_ones_are_none() -> None:
    """``#element`` allows empty elements (RFC 9110 section 5.6.1)."""
    assert connection_options({b"connection": [b", ,X ,,", b"", b"Close"]}) == {b"x", b"close"}
    assert connection_options({}) == set()


def test_what_connection_names_is_removed() -> None:
    """In any case, and nothing else; the rest keeps its order."""
    lines = [b"X-A: 1", b"Keep: 2", b"x-a: 3", b"X-AB: 4", b"Cookie: 5"]
    assert request({b"connection": [b"X-a, cookie"]}, lines=lines).lines == [b"Keep: 2", b"X-AB: 4"]
    assert request({b"connection": [b"close, te, upgrade"]}, lines=lines).lines == lines
    assert response({**lengths(b"1"), b"connection": [b"x-a"]}).lines == []


def test_an_upgrade_counts_only_where_connection_says_so() -> None:
    """And never in HTTP/1.0 (specs 6.7)."""
    upgrade = {b"upgrade": [b"websocket"]}
    assert b"upgrade" in request({**upgrade, b"connection": [b"Upgrade"]}).held
    assert b"upgrade" not in request(upgrade).held
    assert b"upgrade" not in request({**upgrade, b"connection": [b"keep-alive"]}).held
    assert b"upgrade" not in request({**upgrade, b"connection": [b"upgrade"]}, version=0).held


def test_the_one_expectation_is_understood_and_http_1_0_has_none() -> None:
    """RFC 9110 section 10.1.1."""
    assert b"expect" in request({b"expect": [b"100-Continue"]}).held
    assert b"expect" not in request({b"expect": [b"anything"]}, version=0).held
    for values in ([b"x"], [b""], [b"100-continue, x"], [b"100-continue", b"100-continue"]):
        with pytest.raises(ExpectationUnknown):
            request({b"expect": values})

"""Every case of llhttp, the parser of Node.js, through our decoders.

A case either gets the verdict of llhttp (and then the same messages), or stands in one of the tables below, under its
reason. The tables are exact: a case that stands there and does not differ fails.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.http1 import Reading, byte_by_byte, read_requests, read_responses
from support.llhttp import Case, Message, read

from proxy.http1.message import RequestHead, ResponseHead

pytestmark = pytest.mark.shared

STRICT = {"request": 134, "response": 76}
LENIENT = 37  # blocks that ask for a leniency: we have none
FINISH = 4
LACK_A_HOST = 85
SAME = 168

STRICTER_BY_LAW = {
    "Host is a host with an optional port (RFC 9112 section 3.2)": {
        "request/sample: curl GET",
        "request/sample: Firefox GET",
    },
    "a target has no userinfo and no fragment (RFC 9112 section 3.2, RFC 9110 section 4.2.4)": {
        "request/uri: `host:port` and basic auth",
        "request/uri: Fragment in URI",
    },
    "chunked is the only transfer coding (specs 6.2); these targets have a fragment besides": {
        "request/transfer-encoding: POST with `chunked` as last transfer-encoding",
        "request/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)",
    },
    "chunked is the only transfer coding, in responses too (specs 6.2)": {
        "response/transfer-encoding: `chunked` before other transfer-encoding",
        "response/transfer-encoding: multiple transfer-encoding where chunked is not the last one",
        "response/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding",
    },
    "one empty line may come before a request, not two (specs 6.1)": {
        "request/connection: CRLF between requests, implicit `keep-alive`",
    },
    "nothing may come before a status line (specs 6.8)": {
        "response/connection: HTTP 304 with Content-Length",
        "response/connection: HTTP 100 first, then 400",
        "response/pipelining: Should parse multiple events",
        "response/sample: Response starting with CRLF",
    },
    "* is for OPTIONS alone (RFC 9112 section 3.2.4)": {
        "request/method: M-SEARCH request",
    },
}
"""llhttp accepts, we refuse."""

NOT_SPOKEN = {
    "CONNECT": {
        "request/method: CONNECT request",
        "request/method: CONNECT request with CAPS",
        "request/method: CONNECT with body",
        "request/uri: Underscore in hostname",
    },
    "RTSP and ICE": {
        "request/method: SOURCE request with ICE",
        "request/method: OPTIONS request with RTSP",
        "request/method: ANNOUNCE request with RTSP",
        "response/sample: RTSP response",
        "response/sample: ICE response",
    },
    "HTTP/0.9": {
        "request/sample: No HTTP version",
        "response/sample: HTTP version 0.9",
    },
    "HTTP/2 on a connection for HTTP/1.1": {
        "request/method: PRI request HTTP2",
    },
}
"""llhttp accepts, we refuse: protocols that are not spoken here."""

READ_OTHERWISE = {
    "absolute-form is read: the target goes on in origin-form (RFC 9112 section 3.2.2)": {
        "request/uri: Host terminated by a query string",
        "request/uri: `host:port` terminated by a query string",
        "request/uri: `host:port` terminated by a space",
    },
    "its test tells llhttp to skip the body, as after HEAD: no request has that": {
        "request/content-length: Content-Length reset when no body is received",
    },
}
"""Both accept, and what is read differs by design."""

REFUSED_LATER = {
    "the head is not whole in the case: refused as soon as it is": {
        "request/content-length: Error on `Content-Length` overflow",
        "request/content-length: Error on duplicate `Content-Length`",
        "request/content-length: Missing CRLF-CRLF before body",
        "request/invalid: Headers separated by dummy characters",
        "request/invalid: Invalid HTTP version",
        "request/invalid: Invalid space after start line",
        "response/invalid: Invalid space after start line",
    },
}
"""llhttp refuses in the middle of a head."""

ACCEPTED_BY_LAW = {
    "what follows a request that closes is never read, so nothing of it is accepted (RFC 9112 section 9.6)": {
        "request/connection: No restart when keep-alive is off (1.0)",
        "request/connection: CRLF between requests, explicit `close`",
        "request/connection: CRLF between requests, explicit `close` followed by tab",
    },
    "a method is any token; policy knows which are allowed (RFC 9110 section 9.1)": {
        "request/invalid: HTTP protocol and ANNOUNCE method",
    },
}
"""llhttp refuses, we do not."""


def names(*tables: dict[str, set[str]]) -> set[str]:
    """Give every name in some tables."""
    return {name for table in tables for group in table.values() for name in group}


@dataclass(frozen=True, slots=True)
class Facts:
    """What both parsers say of a message."""

    method: bytes
    target: bytes
    status: int
    body: bytes
    complete: bool


def facts(case: Case, wire: bytes) -> tuple[Reading, list[Facts], list[Facts]]:
    """Read a case; give the reading, our facts and those of llhttp."""
    reading = read_requests([wire]) if case.type == "request" else read_responses([wire], skip_of(case))
    ours = []
    for message in reading.messages:
        head = message.head
        first = (head.method, head.target, 0) if isinstance(head, RequestHead) else (b"", b"", head.status)
        ours.append(Facts(*first, message.body, message.complete))
    theirs = [fact(message) for message in case.messages]
    return reading, ours, theirs


def fact(message: Message) -> Facts:
    """Give the facts of llhttp."""
    return Facts(message.method, message.target, message.status, message.body, message.complete)


def skip_of(case: Case) -> bytes:
    """Give the method that the responses of a case answer: its test skips the body where it answers HEAD."""
    return b"HEAD" if case.name == "response/content-length: Content-Length reset when no body is received" else b"GET"


def is_prefix(ours: list[Facts], theirs: list[Facts]) -> bool:
    """Whether we gave out nothing before a refusal that llhttp did not give out too."""
    pairs = zip(ours, theirs, strict=False)
    return len(ours) <= len(theirs) and all((o.method, o.status) == (t.method, t.status) for o, t in pairs)


@pytest.fixture(scope="module")
def cases(shared_testdata: Path) -> list[Case]:
    """The strict blocks."""
    return [case for case in read(shared_testdata / "llhttp") if case.type in STRICT]


def test_every_case_was_read_as_its_authors_meant(shared_testdata: Path) -> None:
    """No block is lost, each has its own name, and every offset of the logs shows the text that the log says."""
    every = list(read(shared_testdata / "llhttp"))
    assert len({case.name for case in every}) == len(every) == sum(STRICT.values()) + LENIENT + FINISH
    assert {kind: sum(case.type == kind for case in every) for kind in STRICT} == STRICT
    assert sum("lenient" in case.type for case in every) == LENIENT
    spans = [(case, span) for case in every for span in case.spans]
    assert len(spans) > 1500
    for case, (start, size, _, text) in spans:
        told = text.replace("\\t", "\t").replace("\\f", "\f").encode()
        assert case.wire[start : start + size] == told or (not text and case.wire[start : start + size] in b"\r\n")


def test_each_case_gets_the_verdict_of_llhttp_or_stands_in_a_table(cases: list[Case]) -> None:
    """The verdicts, methods, targets, statuses, bodies and ends are those of llhttp; the tables are exact."""
    differing = set()
    for case in cases:
        reading, ours, theirs = facts(case, case.with_hosts())
        refused = reading.error is not None
        if refused and case.refused:
            assert is_prefix(ours, theirs), case.name
        elif refused or case.refused or ours != theirs:
            differing.add(case.name)
    tables = names(STRICTER_BY_LAW, NOT_SPOKEN, READ_OTHERWISE, REFUSED_LATER, ACCEPTED_BY_LAW)
    assert differing == tables
    assert len(cases) - len(differing) == SAME


def test_what_we_refuse_and_llhttp_accepts_is_in_the_table_of_its_kind(cases: list[Case]) -> None:
    """Stricter means refused, and accepted by llhttp."""
    stricter = names(STRICTER_BY_LAW, NOT_SPOKEN)
    for case in cases:
        if case.name in stricter:
            assert not case.refused, case.name
            assert facts(case, case.with_hosts())[0].error is not None, case.name


def test_what_llhttp_refuses_and_we_do_not_gives_nothing_more(cases: list[Case]) -> None:
    """Accepting what llhttp refuses never brings a message that llhttp did not find before its refusal."""
    accepted = names(ACCEPTED_BY_LAW)
    for case in cases:
        if case.name in accepted:
            _, ours, theirs = facts(case, case.with_hosts())
            assert case.refused, case.name
            assert ours == theirs or case.name == "request/invalid: HTTP protocol and ANNOUNCE method"


def test_a_bad_head_that_is_not_whole_is_refused_when_it_is(cases: list[Case]) -> None:
    """The end of the head brings the refusal, and no message before it."""
    later = names(REFUSED_LATER)
    for case in cases:
        if case.name in later:
            assert case.refused, case.name
            reading, ours, _ = facts(case, case.with_hosts() + b"\r\n\r\n")
            assert reading.error is not None, case.name
            assert not ours, case.name


def test_an_absolute_target_gives_its_authority(cases: list[Case]) -> None:
    """Target and authority are those of the absolute-form, whatever Host says."""
    for case in cases:
        if (
            case.name
            in READ_OTHERWISE["absolute-form is read: the target goes on in origin-form (RFC 9112 section 3.2.2)"]
        ):
            head = facts(case, case.with_hosts())[0].messages[0].head
            assert isinstance(head, RequestHead)
            raw = case.messages[0].target.removeprefix(b"http://")
            assert head.authority == raw.partition(b"?")[0]
            assert head.target == b"/" + raw[len(head.authority) :]


def test_without_a_host_a_request_of_http_1_1_is_refused(cases: list[Case]) -> None:
    """As they stand, most cases have no Host: that alone refuses them."""
    lacking = [case for case in cases if case.with_hosts() != case.wire]
    assert len(lacking) == LACK_A_HOST
    for case in lacking:
        as_it_stands, with_hosts = read_requests([case.wire]), read_requests([case.with_hosts()])
        assert as_it_stands.error is not None or not with_hosts.messages, case.name
        assert len(as_it_stands.messages) < max(1, len(with_hosts.messages)), case.name


def test_the_end_of_the_stream_is_judged_as_llhttp_finish(shared_testdata: Path) -> None:
    """A stream may end between messages, and where the end of the connection ends a body; not inside a message."""
    told = {case.name: case.log[-1] for case in read(shared_testdata / "llhttp") if case.type.endswith("-finish")}
    assert len(told) == FINISH
    for case in read(shared_testdata / "llhttp"):
        if case.type == "request-finish":
            safe = told[case.name].endswith("finish=0")
            assert read_requests([case.with_hosts()], eof=True).whole is safe, case.name
        elif case.type == "response-finish":
            reading = read_responses([case.wire], many=False, eof=True)
            assert reading.whole, case.name
            assert isinstance(reading.messages[0].head, ResponseHead)


def test_cut_into_bytes_the_cases_are_read_the_same(cases: list[Case]) -> None:
    """One byte at a time: the same messages, the same refusal."""
    for case in cases:
        wire = case.with_hosts()
        if case.type == "request":
            assert read_requests(byte_by_byte(wire)).facts == read_requests([wire]).facts, case.name
        else:
            assert read_responses(byte_by_byte(wire)).facts == read_responses([wire]).facts, case.name

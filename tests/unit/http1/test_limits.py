"""Each limit holds at n and refuses at n + 1, whole and one byte at a time (law 8)."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace

import pytest
from support.http1 import Reading, byte_by_byte, read_requests, read_responses

from proxy.http1.grammar import chunk_size, decimal, is_authority
from proxy.http1.head import METHOD_BYTES
from proxy.http1.limits import Limits

START = b"GET / HTTP/1.1\r\nHost: a\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SMALL = Limits(head_bytes=300, fields=9, target_bytes=40, chunk_line_bytes=20, trailer_bytes=60, interim_responses=3)

Read = Callable[[Iterable[bytes], Limits], Reading]


def answers(pieces: Iterable[bytes], limits: Limits) -> Reading:
    """Read one answer to GET."""
    return read_responses(pieces, limits=limits)


def padded(start: bytes, size: int) -> bytes:
    """A head of ``size`` bytes."""
    return start + b"X: ".ljust(size - len(start) - 4, b"x") + b"\r\n\r\n"


WIRES: dict[str, list[tuple[Read, Callable[[int], bytes], str]]] = {
    "head_bytes": [
        (read_requests, lambda n: padded(START, n), "head_too_large"),
        (read_requests, lambda n: b"\r\n" + padded(START, n), "head_too_large"),
        (answers, lambda n: padded(ANSWER, n), "upstream_bad_response"),
    ],
    "fields": [
        (read_requests, lambda n: START + b"X: y\r\n" * (n - 1) + b"\r\n", "too_many_fields"),
        (read_requests, lambda n: CHUNKED + b"0\r\n" + b"X: y\r\n" * n + b"\r\n", "head_too_large"),
        (answers, lambda n: ANSWER + b"X: y\r\n" * (n - 1) + b"\r\n", "upstream_bad_response"),
    ],
    "target_bytes": [
        (read_requests, lambda n: b"GET " + b"/".ljust(n, b"a") + b" HTTP/1.1\r\nHost: a\r\n\r\n", "target_too_long"),
        (read_requests, lambda n: b"OPTIONS " + b"/".ljust(n, b"a") + b" HTTP/1.0\r\n\r\n", "target_too_long"),
        (read_requests, lambda n: b"GET " + b"http://a/".ljust(n, b"a") + b" HTTP/1.0\r\n\r\n", "target_too_long"),
    ],
    "chunk_line_bytes": [
        (read_requests, lambda n: CHUNKED + b"1;".ljust(n, b"a") + b"\r\nx\r\n0\r\n\r\n", "bad_framing"),
        (read_requests, lambda n: CHUNKED + b"1\r\nx\r\n" + b"0;".ljust(n, b"a") + b"\r\n\r\n", "bad_framing"),
    ],
    "trailer_bytes": [
        (read_requests, lambda n: CHUNKED + b"0\r\n" + b"X: ".ljust(n, b"y") + b"\r\n\r\n", "head_too_large"),
        (
            read_requests,
            lambda n: CHUNKED + b"0\r\nA: b\r\n" + b"X: ".ljust(n - 6, b"y") + b"\r\n\r\n",
            "head_too_large",
        ),
    ],
    "interim_responses": [
        (answers, lambda n: b"HTTP/1.1 100 Continue\r\n\r\n" * n + ANSWER + b"\r\n", "upstream_bad_response"),
    ],
}


def test_every_limit_has_its_test_here() -> None:
    """A new limit without one fails."""
    assert set(WIRES) == {field.name for field in fields(Limits)}


@pytest.mark.parametrize("limits", [Limits(), SMALL], ids=["default", "small"])
@pytest.mark.parametrize("name", WIRES)
def test_a_limit_holds_at_n_and_refuses_at_n_plus_1(name: str, limits: Limits) -> None:
    """The message at the limit is read whole; with one more it is refused for its own reason."""
    limit = getattr(limits, name)
    for read, build, reason in WIRES[name]:
        for cuts in (lambda wire: [wire], byte_by_byte):
            assert read(cuts(build(limit)), limits).whole
            assert read(cuts(build(limit)), limits).messages
            assert read(cuts(build(limit + 1)), limits).reason == reason


@pytest.mark.parametrize(
    ("begin", "name", "reason"),
    [
        (START + b"X: ", "head_bytes", "head_too_large"),
        (b"GET ", "target_bytes", "target_too_long"),
        (CHUNKED + b"1;", "chunk_line_bytes", "bad_framing"),
        (CHUNKED + b"0\r\nX: ", "trailer_bytes", "head_too_large"),
    ],
)
def test_what_never_ends_is_refused_near_its_limit(begin: bytes, name: str, reason: str) -> None:
    """Nothing is buffered without bound: the refusal does not wait for an end of the line."""
    limit = getattr(SMALL, name)
    slack = 16  # the version behind a target, the CRLF behind a line
    wire = begin + b"x" * (limit + slack)
    assert read_requests([wire], SMALL).reason == reason
    assert read_requests(byte_by_byte(wire), SMALL).reason == reason
    unlimited = replace(SMALL, **{name: limit + 2 * slack + len(begin)})
    assert read_requests([wire], unlimited).error is None


def test_a_method_has_its_limit() -> None:
    """It is no setting: what is longer is no method of anybody."""
    for pieces in (lambda wire: [wire], byte_by_byte):
        assert read_requests(pieces(b"A" * METHOD_BYTES + START[3:] + b"\r\n")).whole
        assert read_requests(pieces(b"A" * (METHOD_BYTES + 1) + START[3:] + b"\r\n")).reason == "bad_request"


def test_numbers_and_hosts_have_their_limits() -> None:
    """18 decimal digits, 15 hexadecimal ones, 255 bytes of host."""
    assert decimal(b"9" * 18) is not None
    assert decimal(b"9" * 19) is None
    assert chunk_size(b"f" * 15) is not None
    assert chunk_size(b"f" * 16) is None
    assert is_authority(b"a" * 255 + b":1")
    assert not is_authority(b"a" * 256)

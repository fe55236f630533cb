"""However the bytes of a connection are cut, the same messages are read and the same refusal comes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import gunicorn, llhttp
from support.attacks import spoiled, streams
from support.http1 import Reading, byte_by_byte, cut, read_requests, read_responses

EXAMPLES = 400

PLACES = st.lists(st.integers(0, 400), max_size=8)

SIZES = {"bad_request", "bad_version", "target_too_long", "head_too_large", "too_many_fields", "method_refused"}
"""Which of two faults of one head is named may depend on which came first."""


def assert_same(whole: Reading, pieces: Reading) -> None:
    """The messages are the same to the last byte, and so is the verdict; its reason is, but for two faults at once."""
    assert pieces.facts[:-1] == whole.facts[:-1]
    assert pieces.reason == whole.reason or {pieces.reason, whole.reason} <= SIZES


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=streams(), places=PLACES)
def test_requests_are_read_the_same_however_they_are_cut(wire: bytes, places: list[int]) -> None:
    """Whole, one byte at a time, and in any pieces."""
    whole = read_requests([wire], eof=True)
    assert_same(whole, read_requests(byte_by_byte(wire), eof=True))
    assert_same(whole, read_requests(cut(wire, *places), eof=True))


STATUS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK"),
        *(b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Hints", b"HTTP/1.1 500 ", b"HTTP/1.1 600 x", b"HTTP/1.1 200"),
    ]
)
FRAMED = st.sampled_from(
    [
        *(b"\r\n", b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        *(
            b"Content-Length: 0\r\n\r\n",
            b"Connection: close\r\nContent-Length: 1\r\n\r\nx",
            b"Content-Length: 1\r\n\r\n",
        ),
        *(
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"Connection: keep-alive\r\n\r\n",
            b"X : y\r\n\r\n",
        ),
    ]
)
ANSWERS = st.lists(st.builds(lambda status, rest: status + b"\r\n" + rest, STATUS, FRAMED), min_size=1, max_size=4).map(
    b"".join
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=st.one_of(ANSWERS, spoiled(ANSWERS)), places=PLACES, method=st.sampled_from([b"GET", b"HEAD"]))
def test_responses_are_read_the_same_however_they_are_cut(wire: bytes, places: list[int], method: bytes) -> None:
    """Whole, one byte at a time, and in any pieces, to the end of the stream."""
    whole = read_responses([wire], method, eof=True)
    assert read_responses(byte_by_byte(wire), method, eof=True).facts == whole.facts
    assert read_responses(cut(wire, *places), method, eof=True).facts == whole.facts


@pytest.mark.shared
def test_the_corpora_are_read_the_same_however_they_are_cut(shared_testdata: Path) -> None:
    """Every case of llhttp and gunicorn, each cut in two at every place of its first 600 bytes."""
    for case in llhttp.read(shared_testdata / "llhttp"):
        wire = case.with_hosts()
        if case.type.startswith("request"):
            whole = read_requests([wire], eof=True)
            for place in range(1, min(len(wire), 600)):
                assert_same(whole, read_requests([wire[:place], wire[place:]], eof=True))
        else:
            facts = read_responses([wire], eof=True).facts
            for place in range(1, min(len(wire), 600)):
                assert read_responses([wire[:place], wire[place:]], eof=True).facts == facts
    for odd in gunicorn.read(shared_testdata / "gunicorn"):
        wire = odd.with_hosts()
        whole = read_requests([wire], eof=True)
        for place in range(1, min(len(wire), 600), 7):
            assert_same(whole, read_requests([wire[:place], wire[place:]], eof=True))

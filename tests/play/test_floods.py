"""What costs a sender little must not cost us much: time grows with the bytes, memory not beyond the limits.

Times are of the CPU, and each bound is ten times and more what an idle machine needs: they catch the square of a size,
not a slow day.
"""

import time
import tracemalloc
from collections.abc import Iterator

import pytest

from proxy.errors import BadMessage
from proxy.http1.decoder import RequestDecoder, ResponseDecoder
from proxy.http1.limits import Limits

LIMITS = Limits()
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
KIB = 1024


def cpu_s_of(decoder: RequestDecoder | ResponseDecoder, pieces: Iterator[bytes]) -> tuple[float, int]:
    """Give the seconds that reading took, and how many events came."""
    events = 0
    began = time.process_time()
    for piece in pieces:
        decoder.receive(piece)
        while decoder.next_event() is not None:
            events += 1
    return time.process_time() - began, events


def pieces_of(wire: bytes, size: int) -> Iterator[bytes]:
    """Give the bytes as a transport would."""
    return (wire[at : at + size] for at in range(0, len(wire), size))


@pytest.mark.parametrize(
    "filler", [b"X: " + b"a" * 65000, b"a:b\r\n" * 190 + b"X: " + b"a" * 64000, b"a:" + b"\t" * 65000]
)
def test_a_head_that_drips_costs_no_square(filler: bytes) -> None:
    """64 KiB one byte at a time: this took three seconds once."""
    wire = (HEAD + filler)[: LIMITS.head_bytes - 4]
    seconds, events = cpu_s_of(RequestDecoder(LIMITS), pieces_of(wire, 1))
    assert events == 0
    assert seconds < 2


def test_an_answer_that_drips_costs_no_square() -> None:
    """The same from an upstream."""
    decoder = ResponseDecoder(LIMITS)
    decoder.expect(b"GET")
    wire = b"HTTP/1.1 200 OK\r\nX: ".ljust(LIMITS.head_bytes - 4, b"a")
    seconds, events = cpu_s_of(decoder, pieces_of(wire, 1))
    assert events == 0
    assert seconds < 2


@pytest.mark.parametrize("size", [64 * KIB, 1024 * KIB])
def test_a_million_bytes_of_tiny_chunks_are_few_events(size: int) -> None:
    """One byte a chunk: the data of a buffer comes as one event, and a large buffer costs what small ones cost."""
    chunks = 1024 * KIB // 6
    seconds, events = cpu_s_of(RequestDecoder(LIMITS), pieces_of(CHUNKED + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n", size))
    assert events <= 2 + 1024 * KIB // size + 1
    assert seconds < 3


def test_a_million_bytes_of_chunk_lines_are_read_once() -> None:
    """The longest extensions that are allowed, for one byte of data each."""
    line = b"1;".ljust(LIMITS.chunk_line_bytes, b"a") + b"\r\nx\r\n"
    wire = CHUNKED + line * (1024 * KIB // len(line)) + b"0\r\n\r\n"
    seconds, _ = cpu_s_of(RequestDecoder(LIMITS), pieces_of(wire, 64 * KIB))
    assert seconds < 2


@pytest.mark.parametrize(
    "extension", [b"a=" * 120, b";" * 250, b"a;" * 120, b' a = "' + b'\\"' * 115, b"\t" * 250, b"a \t" * 80]
)
def test_no_extension_makes_its_pattern_run_wild(extension: bytes) -> None:
    """Patterns that try again and again would be a cheap attack: each line is judged in a moment."""
    wire = CHUNKED + b"1;" + extension[: LIMITS.chunk_line_bytes - 2] + b"\r\nx\r\n"
    began = time.process_time()
    for _ in range(200):
        decoder = RequestDecoder(LIMITS)
        decoder.receive(wire)
        decoder.next_event()
        try:
            decoder.next_event()
        except BadMessage:
            continue
    assert time.process_time() - began < 1


def test_trailers_that_drip_cost_no_square() -> None:
    """Up to their limit, one byte at a time."""
    wire = CHUNKED + b"0\r\n" + (b"X: y\r\n" * 5000)[: LIMITS.trailer_bytes]
    seconds, _ = cpu_s_of(RequestDecoder(LIMITS), pieces_of(wire, 1))
    assert seconds < 2


def test_thousands_of_pipelined_requests_cost_no_square() -> None:
    """A quarter of a million bytes of the shortest requests."""
    wire = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (256 * KIB // 27)
    seconds, events = cpu_s_of(RequestDecoder(LIMITS), pieces_of(wire, 64 * KIB))
    assert events == 256 * KIB // 27
    assert seconds < 3


def test_a_long_body_is_never_held() -> None:
    """16 MiB go through, counted and in chunks, and the decoder holds no more than a piece of them."""
    piece = b"x" * (64 * KIB)
    counted = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (256 * len(piece))
    for start, each in ((counted, piece), (CHUNKED, b"10000\r\n" + piece + b"\r\n")):
        decoder = RequestDecoder(LIMITS)
        decoder.receive(start)
        decoder.next_event()
        tracemalloc.start()
        try:
            for _ in range(256):
                decoder.receive(each)
                while decoder.next_event() is not None:
                    pass
                assert decoder.buffered_bytes <= 2
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 4096 * KIB  # a quarter of it: whatever else the process does meanwhile counts, too


@pytest.mark.parametrize("start", [b"", HEAD, HEAD + b"X: ", b"GET /"])
def test_a_head_without_end_holds_no_more_than_its_limit(start: bytes) -> None:
    """It is refused when the limit is passed, by the piece that passes it."""
    decoder = RequestDecoder(LIMITS)
    decoder.receive(start)
    refused = False
    while not refused:
        assert decoder.buffered_bytes <= LIMITS.head_bytes
        decoder.receive(b"a" * KIB)
        try:
            decoder.next_event()
        except BadMessage:
            refused = True

"""The chunked coding: strict lines, joined data, and an end that cannot be mistaken."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http1 import byte_by_byte, cut
from support.odd_http1 import ODD_CHUNKS, ODD_TRAILERS

from proxy.errors import BadFraming, BadMessage, BadRequest, HeadTooLarge
from proxy.http1.chunked import ChunkedBody
from proxy.http1.limits import Limits
from proxy.http1.message import EndOfMessage
from proxy.http1.write import chunk

LIMITS = Limits()


def read(pieces: Iterable[bytes], body: ChunkedBody | None = None) -> tuple[bytes, EndOfMessage | None, bytes]:
    """Give the data, the end if it came, and what is left of the buffer."""
    body = body or ChunkedBody(LIMITS)
    data, buffer = b"", b""
    for piece in pieces:
        buffer += piece
        while True:
            event, consumed = body.take(buffer)
            buffer = buffer[consumed:]
            if event is None:
                break
            if isinstance(event, EndOfMessage):
                return data, event, buffer
            data += event
    return data, None, buffer


def outcome(pieces: Iterable[bytes]) -> object:
    """Give what was read, or the class of the refusal."""
    try:
        data, end, left = read(pieces)
    except BadMessage as error:
        return type(error)
    return data, end and end.trailers, left if end else b""


def test_the_chunks_of_a_buffer_are_given_out_joined() -> None:
    """One event for all data that is there, then the end; what follows is left."""
    body = ChunkedBody(LIMITS)
    wire = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\nGET /"
    assert body.take(wire) == (b"hello world", wire.index(b"\r\nGET"))
    end, consumed = body.take(b"\r\nGET /")
    assert isinstance(end, EndOfMessage)
    assert (end.trailers, consumed) == ((), 2)


def test_a_chunk_that_is_not_whole_is_given_out_as_far_as_it_came() -> None:
    """A body streams: nothing waits for the end of a chunk."""
    body = ChunkedBody(LIMITS)
    assert body.take(b"ff\r\nhello") == (b"hello", 9)
    assert body.take(b"") == (None, 0)
    assert body.take(b"x" * 250 + b"\r") == (b"x" * 250, 250)


def test_what_came_before_a_fault_is_given_first() -> None:
    """The fault is met by the next call, as if the bytes had come one after the other."""
    body = ChunkedBody(LIMITS)
    wire = b"5\r\nhello\r\nxyz\r\n"
    assert body.take(wire) == (b"hello", 10)
    with pytest.raises(BadFraming):
        body.take(wire[10:])


@pytest.mark.parametrize(
    "line", [b"", b"g", b"5 ", b" 5", b"+5", b"-5", b"0x5", b"5_0", b"5;", b"\xb2", b"5\r", b"5\x0b", b"5,5"]
)
def test_a_size_that_is_not_hexadecimal_is_refused(line: bytes) -> None:
    """Python's int would take some of them (specs 6.3)."""
    with pytest.raises(BadFraming):
        read([line + b"\r\nhello\r\n0\r\n\r\n"])


@pytest.mark.parametrize(
    "wire", [b"5\nhello\r\n", b"5\rhello\r\n", b"5;a\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello\r\r\n"]
)
def test_a_line_ends_in_crlf_alone(wire: bytes) -> None:
    """Bare CR and bare LF are refused, behind the size and behind the data."""
    with pytest.raises(BadFraming):
        read([wire + b"0\r\n\r\n"])


@pytest.mark.parametrize("begun", [b"5;\x00", b"5\n", b"\r\r", b"5\x7f"])
def test_a_line_that_cannot_become_good_is_not_waited_for(begun: bytes) -> None:
    """Its sender gets its answer at once."""
    with pytest.raises(BadFraming):
        ChunkedBody(LIMITS).take(begun)
    assert ChunkedBody(LIMITS).take(b"5;x\r") == (None, 0)


def test_data_that_is_longer_than_its_size_is_refused() -> None:
    """The sixth byte of a chunk of five is no CR."""
    with pytest.raises(BadFraming):
        read([b"5\r\nhelloX\r\n0\r\n\r\n"])


@pytest.mark.parametrize("size", [b"0", b"000", b"0" * 15])
def test_any_zero_is_the_last_chunk(size: bytes) -> None:
    """1*("0") (RFC 9112 section 7.1)."""
    data, end, left = read([size + b"\r\n\r\nrest"])
    assert (data, end is not None, left) == (b"", True, b"rest")


def test_a_size_beyond_all_reason_is_refused() -> None:
    """Sixteen digits would not fit in what others read them into."""
    with pytest.raises(BadFraming):
        read([b"1" + b"0" * 15 + b"\r\n"])


def test_trailers_that_may_pass_come_with_the_end() -> None:
    """Fields of framing, routing and authentication do not, and those that Connection names do not."""
    wire = b"0\r\ngrpc-status: 0\r\nX-A:b \r\nTxn-Token: evil\r\nX-Named: 1\r\n\r\n"
    _, end, left = read([wire], ChunkedBody(LIMITS, {b"x-named"}))
    assert end is not None
    assert (end.trailers, left) == ((b"grpc-status: 0", b"X-A: b"), b"")


def test_a_lone_lf_in_trailers_is_refused_at_once() -> None:
    """Without waiting for an end that a lenient parser would have seen already."""
    with pytest.raises(BadRequest):
        read([b"0\r\nX: a\n\n"])


def test_trailers_without_end_are_refused_at_the_limit() -> None:
    """A sender that never ends them costs a bounded amount."""
    with pytest.raises(HeadTooLarge):
        read([b"0\r\n" + b"X: y\r\n" * LIMITS.trailer_bytes])


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300), max_size=6))
def test_what_we_write_we_read(pieces: list[bytes], places: list[int]) -> None:
    """Data comes back as it was, however the bytes are cut."""
    wire = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    data, end, left = read(cut(wire + b"next", *places))
    assert (data, end is not None) == (b"".join(pieces), True)
    assert b"next".startswith(left)


@given(
    st.lists(st.sampled_from(ODD_CHUNKS), max_size=3),
    st.sampled_from(ODD_TRAILERS),
    st.lists(st.integers(0, 99), max_size=4),
)
def test_cuts_change_nothing(chunks: list[bytes], trailers: bytes, places: list[int]) -> None:
    """Whole, one byte at a time, or in any pieces: the same data, the same end, the same refusal."""
    wire = b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"
    whole = outcome([wire])
    in_bytes, in_pieces = outcome(byte_by_byte(wire)), outcome(cut(wire, *places))
    if isinstance(whole, tuple) and whole[1] is not None:  # what is left is what had come when the end was found
        assert isinstance(in_bytes, tuple)
        assert isinstance(in_pieces, tuple)
        whole, in_bytes, in_pieces = whole[:2], in_bytes[:2], in_pieces[:2]
    assert whole == in_bytes == in_pieces

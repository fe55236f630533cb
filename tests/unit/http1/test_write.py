"""What we write is read back as what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.judges import h11_requests

from proxy.http1.write import LAST_CHUNK, chunk, head, last_chunk, reason_phrase


def test_a_head_is_its_first_line_its_fields_and_an_empty_line() -> None:
    """Each line ends in CRLF, with and without fields."""
    assert head(b"GET / HTTP/1.1", [b"Host: a", b"X: y"]) == b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    assert head(b"HTTP/1.1 204 No Content", []) == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_chunk_has_its_size_in_hexadecimal() -> None:
    """Any data but none; the last chunk is the one without data."""
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert LAST_CHUNK == last_chunk(()) == b"0\r\n\r\n"


def test_trailers_stand_behind_the_last_chunk() -> None:
    """One line each, then the empty line."""
    assert last_chunk((b"A: 1", b"B: 2")) == b"0\r\nA: 1\r\nB: 2\r\n\r\n"


@pytest.mark.parametrize(("status", "phrase"), [(200, b"OK"), (404, b"Not Found"), (599, b""), (299, b"")])
def test_a_status_has_its_registered_phrase_or_none(status: int, phrase: bytes) -> None:
    """A status without a name has an empty reason phrase, which is allowed (RFC 9112 section 4)."""
    assert reason_phrase(status) == phrase


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.booleans())
def test_any_chunks_are_read_back_by_h11(pieces: list[bytes], trailing: bool) -> None:  # noqa: FBT001
    """Body and trailers arrive, whatever octets they hold."""
    first = head(b"POST /a HTTP/1.1", [b"Host: a", b"Transfer-Encoding: chunked"])
    wire = first + b"".join(map(chunk, pieces)) + last_chunk((b"X-Late: 1",) if trailing else ())
    verdict = h11_requests(wire)
    assert not verdict.refused
    assert verdict.messages[0].body == b"".join(pieces)
    assert verdict.messages[0].complete
    assert verdict.messages[0].trailers == ([(b"x-late", b"1")] if trailing else [])

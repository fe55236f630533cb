"""Heads and chunks, written anew from checked parts: never a byte range that was not understood (section 4)."""

from http import HTTPStatus
from typing import Final

LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Write one chunk of ``data``, which is not empty (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: tuple[bytes, ...]) -> bytes:
    """Write the last chunk with its trailers, each ``name: value``."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


def head(first_line: bytes, lines: list[bytes]) -> bytes:
    """Write a head: the request or status line, and its fields, each ``name: value``."""
    if not lines:
        return first_line + b"\r\n\r\n"
    return first_line + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"


def reason_phrase(status: int) -> bytes:
    """Give the registered phrase of ``status``, or nothing."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""

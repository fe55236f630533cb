"""Bodies: of a known length, in the chunked coding, or until the connection ends (RFC 9112 sections 6 and 7)."""

from enum import Enum

from proxy.errors import BadFraming, BadRequest, HeadTooLarge
from proxy.http1.grammar import KINDS, NAMES, ORDINARY, VISIBLE, hexadecimal, judge_name, only_crlf
from proxy.http1.limits import Limits
from proxy.http1.message import CHUNKED, END, UNTIL_CLOSE, EndOfMessage

_FORBIDDEN_TRAILERS = frozenset(KINDS) | {b"cache-control", b"content-encoding", b"content-range", b"set-cookie"}
"""Framing, routing, authentication and what we own may not come late (RFC 9110 section 6.5.1, specs 6.3)."""


class _State(Enum):
    COUNTED = "counted"
    UNTIL_CLOSE = "until_close"
    SIZE = "size"
    CHUNK = "chunk"
    CHUNK_END = "chunk_end"
    TRAILERS = "trailers"


class BodyDecoder:
    """Decodes one body from a buffer that the caller keeps.

    ``take(buffer)`` gives ``(event, consumed)``: the event is data, the end, or None when more bytes are needed.
    """

    __slots__ = ("_limits", "_remaining", "_state")

    def __init__(self, length: int | None, limits: Limits) -> None:
        self._limits = limits
        self._remaining = 0
        if length is CHUNKED:
            self._state = _State.SIZE
        elif length == UNTIL_CLOSE:
            self._state = _State.UNTIL_CLOSE
        else:
            self._state = _State.COUNTED
            self._remaining = length

    @property
    def until_close(self) -> bool:
        """Whether the end of the connection is the end of this body."""
        return self._state is _State.UNTIL_CLOSE

    def take(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        """Decode the next event from the front of ``buffer``.

        Raises:
            BadFraming, BadRequest, HeadTooLarge: a chunk line, a chunk's end or a trailer is malformed or too long.

        """
        state = self._state
        if state is _State.COUNTED:
            return self._counted(buffer)
        if state is _State.UNTIL_CLOSE:
            return (buffer, len(buffer)) if buffer else (None, 0)
        return self._chunked(buffer)

    def _counted(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        if self._remaining == 0:
            return END, 0
        if not buffer:
            return None, 0
        size = len(buffer)
        if size <= self._remaining:
            self._remaining -= size
            return buffer, size
        size, self._remaining = self._remaining, 0
        return buffer[:size], size

    def _chunked(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        consumed = 0
        while True:
            if self._state is _State.CHUNK:
                return self._chunk(buffer, consumed)
            if self._state is _State.CHUNK_END:
                ending = buffer[consumed : consumed + 2]
                if not b"\r\n".startswith(ending):
                    raise BadFraming("a chunk does not end in CRLF")
                if len(ending) < 2:
                    return None, consumed
                consumed += 2
                self._state = _State.SIZE
            if self._state is _State.SIZE:
                used = self._size(buffer, consumed)
                if used == 0:
                    return None, consumed
                consumed += used
            if self._state is _State.TRAILERS:
                trailers, used = self._trailers(buffer, consumed)
                return trailers, consumed + used

    def _chunk(self, buffer: bytes, start: int) -> tuple[bytes | None, int]:
        data = buffer[start : start + self._remaining]
        if not data:
            return None, start
        self._remaining -= len(data)
        if self._remaining == 0:
            self._state = _State.CHUNK_END
        return data, start + len(data)

    def _size(self, buffer: bytes, start: int) -> int:
        """Read ``chunk-size [chunk-ext] CRLF``; give the bytes used, 0 when the line is not whole."""
        limit = self._limits.chunk_line_bytes
        end = buffer.find(b"\r\n", start, start + limit + 2)
        if end < 0:
            line = buffer[start : start + limit + 2]
            if len(line) > limit + 1 or line.rstrip(b"\r").translate(None, VISIBLE):
                raise BadFraming(f"a chunk line is malformed or longer than {limit} bytes")
            return 0
        line = buffer[start:end]
        raw_size, _, _ = line.partition(b";")
        size = hexadecimal(raw_size)
        if size is None or line.translate(None, VISIBLE):
            raise BadFraming("a chunk size is not hexadecimal")
        self._remaining = size
        self._state = _State.CHUNK if size else _State.TRAILERS
        return end + 2 - start

    def _trailers(self, buffer: bytes, start: int) -> tuple[EndOfMessage | None, int]:
        if buffer.startswith(b"\r\n", start):
            return END, 2
        limit = self._limits.trailer_bytes
        end = buffer.find(b"\r\n\r\n", start, start + limit + 4)
        if end < 0:
            section = buffer[start : start + limit + 4]
            if len(section) > limit + 3:
                raise HeadTooLarge(f"the trailers are larger than {limit} bytes")
            if section.count(b"\n") != section.count(b"\r\n"):
                raise BadRequest("a LF alone in the trailers")
            return None, 0
        section = buffer[start : end + 2]
        if not only_crlf(section):
            raise BadRequest("a control character, or a CR or LF alone, in the trailers")
        rows = section[:-2].split(b"\r\n")
        if len(rows) > self._limits.fields:
            raise HeadTooLarge(f"more than {self._limits.fields} trailers")
        return EndOfMessage(tuple(_kept(rows))), end + 4 - start


def _kept(rows: list[bytes]) -> list[bytes]:
    kept = []
    for row in rows:
        name, colon, value = row.partition(b":")
        lower, kind = NAMES.get(name) or judge_name(name)
        if not colon:
            raise BadRequest("a trailer without a colon")
        if kind == ORDINARY and lower not in _FORBIDDEN_TRAILERS:
            kept.append(name + b": " + value.strip(b" \t"))
    return kept

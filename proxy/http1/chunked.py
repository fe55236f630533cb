"""The chunked transfer coding (RFC 9112 section 7.1)."""

from collections.abc import Set as AbstractSet
from enum import Enum

from proxy.errors import BadFraming, BadMessage, BadRequest, HeadTooLarge
from proxy.http1.body import Body
from proxy.http1.grammar import VISIBLE_ONLY, chunk_size
from proxy.http1.limits import Limits
from proxy.http1.message import END, EndOfMessage
from proxy.http1.trailers import parse_trailers


class _State(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data_end"
    TRAILERS = "trailers"


class ChunkedBody(Body):
    """A body in chunks. ``options`` are those of ``Connection``: what they name is no trailer either (specs 6.5)."""

    __slots__ = ("_limits", "_options", "_remaining", "_state")

    def __init__(self, limits: Limits, options: AbstractSet[bytes] = frozenset()) -> None:
        self._limits = limits
        self._options = options
        self._remaining = 0
        self._state = _State.SIZE

    def take(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        """Decode the next event from the front of ``buffer``: the data of all chunks that are there, or the end.

        The data is joined because chunks cost their sender nothing, and us one event each. What came before a fault
        is given first, however the bytes were cut; the next call meets the fault.

        Raises:
            BadFraming, BadRequest, HeadTooLarge, OwnedField: a chunk line, a chunk's end or a trailer is malformed or
                too long.

        """
        pieces: list[bytes] = []
        at = 0
        try:
            while True:
                state = self._state
                if state is _State.SIZE:
                    used = self._size(buffer, at)
                elif state is _State.DATA:
                    used = self._data(buffer, at, pieces)
                elif state is _State.DATA_END:
                    used = self._data_end(buffer, at)
                elif pieces:
                    break
                else:
                    end, used = self._trailers(buffer, at)
                    return end, at + used
                if not used:
                    break
                at += used
        except BadMessage:
            if not pieces:
                raise
        return b"".join(pieces) or None, at

    def _size(self, buffer: bytes, start: int) -> int:
        """Read ``chunk-size [chunk-ext] CRLF``; give the bytes used, 0 when the line is not whole."""
        limit = self._limits.chunk_line_bytes
        end = buffer.find(b"\r\n", start, start + limit + 2)
        if end < 0:
            line = buffer[start : start + limit + 2]
            begun = line.removesuffix(b"\r")
            if len(line) > limit + 1 or begun.translate(VISIBLE_ONLY) != begun:
                raise BadFraming(f"a chunk line is malformed or longer than {limit} bytes")
            return 0
        line = buffer[start:end]
        size = chunk_size(line)
        if size is None:
            raise BadFraming("a chunk line is not a hexadecimal size with well-formed extensions")
        self._remaining = size
        self._state = _State.DATA if size else _State.TRAILERS
        return end + 2 - start

    def _data(self, buffer: bytes, start: int, pieces: list[bytes]) -> int:
        data = buffer[start : start + self._remaining]
        used = len(data)
        if used:
            pieces.append(data)
            self._remaining -= used
            if self._remaining == 0:
                self._state = _State.DATA_END
        return used

    def _data_end(self, buffer: bytes, start: int) -> int:
        ending = buffer[start : start + 2]
        if ending == b"\r\n":
            self._state = _State.SIZE
            return 2
        if ending not in (b"", b"\r"):
            raise BadFraming("a chunk does not end in CRLF")
        return 0

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
        trailers = parse_trailers(buffer[start:end], self._limits.fields, self._options)
        return EndOfMessage(trailers), end + 4 - start

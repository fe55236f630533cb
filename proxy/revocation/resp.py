"""The little of Redis's protocol (RESP2) that is needed here, as bytes in and values out. Pure, and strict.

Commands are arrays of bulk strings. Answers are a status, an error, a number, a bulk string or nothing, or a flat array
of these; an array within an array answers nothing that is asked here, and is refused as all else is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.errors import RevocationsInvalid

MAX_LINE_BYTES: Final = 512
"""Of a status, an error, a number: Redis writes a sentence at most."""

MAX_BULK_BYTES: Final = 64 * 1024
"""Of one value: an entry with everything at its limit, each character escaped, is 26 KB."""

_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})")
_ERROR_CODE: Final = re.compile(rb"[A-Z]{2,32}")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The first word of an error; empty where that is none. The rest may repeat what was sent, and is dropped."""

    code: str


Value = str | int | bytes | ErrorReply | None
Reply = Value | tuple[Value, ...]


def write_command(words: Sequence[bytes]) -> bytes:
    """Return a command as it is sent."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class Decoder:
    """Bytes come in by pieces of any size. Once it has refused, the connection is of no use any more."""

    __slots__ = ("_at", "_buffer", "_items", "_left", "_max_bytes", "_max_items", "_taken")

    def __init__(self, max_bytes: int, max_items: int) -> None:
        """Take answers of at most so many bytes, with at most so many items."""
        self._buffer = bytearray()
        self._at = 0
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._items: list[Value] | None = None
        self._left = 0
        self._taken = 0

    def receive(self, data: bytes) -> list[Reply]:
        """Take a piece; return the answers that are whole now. Raises RevocationsInvalid."""
        self._buffer += data
        replies: list[Reply] = []
        while (reply := self._next()) is not _PART:
            replies.append(reply)  # type: ignore[arg-type]
        del self._buffer[: self._at]
        self._at = 0
        return replies

    def _next(self) -> "Reply | _Part":
        while True:
            began = self._at
            value = self._value()
            self._taken += self._at - began
            if self._taken + (len(self._buffer) - self._at if value is _PART else 0) > self._max_bytes:
                raise RevocationsInvalid(f"an answer of Redis is larger than {self._max_bytes} bytes")
            if isinstance(value, _Part):
                return value
            if isinstance(value, _Begin):
                self._items, self._left = [], value.length
            elif self._items is None:
                self._taken = 0
                return value
            else:
                self._items.append(value)
                self._left -= 1
            if self._left == 0:
                items, self._items = self._items, None
                self._taken = 0
                return tuple(items)

    def _value(self) -> "Value | _Begin | _Part":
        end = self._buffer.find(b"\r\n", self._at, self._at + MAX_LINE_BYTES)
        if end < 0:
            if len(self._buffer) - self._at >= MAX_LINE_BYTES:
                raise RevocationsInvalid("an answer of Redis has a line without an end")
            return _PART
        kind, rest = self._buffer[self._at : self._at + 1], bytes(self._buffer[self._at + 1 : end])
        if kind == b"$":
            return self._bulk(_number(rest), end + 2)
        self._at = end + 2
        if kind == b"+":
            return rest.decode("latin-1")
        if kind == b"-":
            found = _ERROR_CODE.match(rest)
            return ErrorReply(found[0].decode() if found else "")
        if kind == b":":
            return _number(rest)
        if kind == b"*":
            return self._begin(_number(rest))
        raise RevocationsInvalid("what answers is not Redis, or speaks another protocol")

    def _begin(self, length: int) -> "_Begin | None":
        if self._items is not None:
            raise RevocationsInvalid("an answer of Redis has an array in an array")
        if length > self._max_items:
            raise RevocationsInvalid(f"an answer of Redis has more than {self._max_items} items")
        if length < -1:
            raise RevocationsInvalid("an answer of Redis has a negative length")
        return _Begin(length) if length >= 0 else None

    def _bulk(self, length: int, begins: int) -> "bytes | _Part | None":
        if length == -1:
            self._at = begins
            return None
        if not 0 <= length <= MAX_BULK_BYTES:
            raise RevocationsInvalid(f"a value in Redis is larger than {MAX_BULK_BYTES} bytes, or has no length")
        end = begins + length
        if len(self._buffer) < end + 2:
            return _PART
        if self._buffer[end : end + 2] != b"\r\n":
            raise RevocationsInvalid("a value of Redis does not end where it should")
        self._at = end + 2
        return bytes(self._buffer[begins:end])


class _Part:
    """More bytes are needed."""


@dataclass(frozen=True, slots=True)
class _Begin:
    """An array of so many values follows."""

    length: int


_PART: Final = _Part()


def _number(raw: bytes) -> int:
    if not _NUMBER.fullmatch(raw):
        raise RevocationsInvalid("an answer of Redis has a number that is none")
    return int(raw)

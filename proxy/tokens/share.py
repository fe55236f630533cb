"""What the processes of one app say to each other of the transactions that are with it (``passage.py``).

Bytes in, questions or answers out; no socket and no clock. A frame is its length (four bytes, big-endian) and its body;
the first byte of a body says what it is, and of which version of this protocol:

========= ============================================================================================
``Q``     number (4), trace id (32), mark (32, or nothing: by the trace id)
``A``     number (4), verdict (1), then for each passage: exp (8, a double), the lengths of its token (4)
          and of its txn (4), and both
========= ============================================================================================

Whoever breaks a rule of it is no process of ours, or one of another version: its connection ends, and nothing that it
has said is used.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from proxy.tokens.passage import MARK_BYTES, Remembered

TRACE_ID_CHARACTERS: Final = 32
MARK_CHARACTERS: Final = 2 * MARK_BYTES

MAX_PASSAGES: Final = 64
"""Different tokens in one answer. Two are enough to refuse; the rest tells whether the app's own is among them."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Sixteen tokens of the largest size that can be configured, or 600 usual ones."""

QUESTION_BYTES: Final = 5 + TRACE_ID_CHARACTERS + MARK_CHARACTERS

_LENGTH: Final = struct.Struct(">I")
_HEAD: Final = struct.Struct(">cI")
_VERDICT: Final = struct.Struct(">cIB")
_PASSAGE: Final = struct.Struct(">dII")
_HEX: Final = frozenset(b"0123456789abcdef")


class ShareMalformed(ValueError):
    """The bytes break this protocol; the message says which rule, and nothing of the bytes."""


class Verdict(IntEnum):
    """What an answer says besides its passages."""

    KNOWN = 0  # here are all; there may be none
    OTHER_TRACE = 1  # the mark is of another trace id
    TOO_MANY = 2  # more tokens than an answer holds are under this trace id


@dataclass(frozen=True, slots=True)
class Question:
    """Which passages may a request of the app belong to? ``mark`` None: by its trace id."""

    number: int
    trace_id: bytes
    mark: bytes | None


@dataclass(frozen=True, slots=True)
class Answer:
    """To the question of that number. Tokens stand in it, so it is never printed."""

    number: int
    verdict: Verdict
    passages: tuple[Remembered, ...] = ()

    def __repr__(self) -> str:
        return f"Answer(number={self.number}, verdict={self.verdict.name}, {len(self.passages)} passages)"


class Frames:
    """Bodies out of bytes that come in any pieces; none is longer than ``max_bytes``."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Give the bodies that are whole now. Raises ShareMalformed."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < length <= self._max_bytes:
                raise ShareMalformed("a frame is empty or too long")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body


def is_mark(raw: bytes) -> bool:
    """Whether a process of ours could have made it; nobody needs to be asked for another."""
    return len(raw) == MARK_CHARACTERS and _HEX.issuperset(raw)


def write_question(question: Question) -> bytes:
    """Write a frame."""
    return _frame(_HEAD.pack(b"Q", question.number) + question.trace_id + (question.mark or b""))


def read_question(body: bytes) -> Question:
    """Read a body. Raises ShareMalformed."""
    if body[:1] != b"Q" or len(body) not in {QUESTION_BYTES - MARK_CHARACTERS, QUESTION_BYTES}:
        raise ShareMalformed("not a question of this version")
    rest = body[_HEAD.size :]
    if not _HEX.issuperset(rest):
        raise ShareMalformed("a trace id or mark is not of lower-case hexadecimal digits")
    _, number = _HEAD.unpack_from(body)
    return Question(number, rest[:TRACE_ID_CHARACTERS], rest[TRACE_ID_CHARACTERS:] or None)


def write_answer(number: int, found: Sequence[Remembered]) -> bytes:
    """Write a frame with all that was found, each token and txn once; or that they are too many."""
    once = {}
    for each in found:
        once[each.raw, each.txn] = each
        if len(once) > MAX_PASSAGES:
            return write_verdict(number, Verdict.TOO_MANY)
    parts = [_VERDICT.pack(b"A", number, Verdict.KNOWN)]
    for each in once.values():
        txn = each.txn.encode("utf-8", "surrogatepass")
        parts += [_PASSAGE.pack(each.exp, len(each.raw), len(txn)), each.raw, txn]
    body = b"".join(parts)
    return _frame(body) if len(body) <= MAX_ANSWER_BYTES else write_verdict(number, Verdict.TOO_MANY)


def write_verdict(number: int, verdict: Verdict) -> bytes:
    """Write the frame of an answer without passages."""
    return _frame(_VERDICT.pack(b"A", number, verdict))


def read_answer(body: bytes) -> Answer:
    """Read a body. Raises ShareMalformed."""
    if body[:1] != b"A" or len(body) < _VERDICT.size:
        raise ShareMalformed("not an answer of this version")
    _, number, code = _VERDICT.unpack_from(body)
    try:
        verdict = Verdict(code)
    except ValueError:
        raise ShareMalformed("a verdict that this version does not know") from None
    passages = tuple(_passages(body))
    if len(passages) > MAX_PASSAGES or (passages and verdict is not Verdict.KNOWN):
        raise ShareMalformed("more passages than an answer of this verdict holds")
    return Answer(number, verdict, passages)


def _passages(body: bytes) -> Iterator[Remembered]:
    at = _VERDICT.size
    while at < len(body):
        if len(body) - at < _PASSAGE.size:
            raise ShareMalformed("a passage is cut off")
        exp, raw_length, txn_length = _PASSAGE.unpack_from(body, at)
        at += _PASSAGE.size
        end = at + raw_length + txn_length
        if end > len(body) or not math.isfinite(exp):
            raise ShareMalformed("a passage is cut off, or never ends")
        try:
            txn = body[at + raw_length : end].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise ShareMalformed("a txn is not UTF-8") from None
        yield Remembered(body[at : at + raw_length], txn, exp)
        at = end


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body

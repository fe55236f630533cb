"""Reads a chain again and finds what was changed, removed, put in or moved. No I/O: lines come in, findings go out.

What it cannot see: lines behind the last checkpoint, which whoever can write the file may have made anew; lines that
were cut off at the end, unless the caller knows how many there were (``last``); and lines before the first that is
shown, which rotation has removed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeAlias

from proxy.observe.audit.chain import GENESIS, NotALine, digest, read, signed_part
from proxy.observe.audit.signer import PublicKey, holds

MAX_PROBLEMS: Final = 100
"""Of one verification; who has removed every second line is seen by the first hundred."""

FIRST_KINDS: Final = frozenset({"begin", "continue", "resume"})


class Untrusted(Exception):
    """The key of a checkpoint is none that may sign; the message says why."""


FindKey: TypeAlias = Callable[[str, tuple[bytes, ...], float], PublicKey]
"""Key id, certificates (DER, leaf first) and the checkpoint's time -> the key to verify with. Raises Untrusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, and where: the number of a line in its file counts from 1."""

    file: str
    line: int
    message: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was found in one chain. ``proved``: the last line that a checkpoint with a good signature fixes."""

    chain: str
    first: int = 0
    last: int = 0
    proved: int = 0
    checkpoints: int = 0
    dropped: int = 0
    sampled_out: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


class ChainReader:
    """Takes the lines of one chain, file by file, in order; ``find_key`` None: signatures are not looked at."""

    def __init__(self, chain: str, find_key: FindKey | None) -> None:
        self.outcome = Outcome(chain=chain)
        self._find_key = find_key
        self._n = 0
        self._prev = ""  # the hash of the last line; empty before the first one
        self._file = ""
        self._line = 0
        self._spoilt = b""  # a piece that is no line, until the next one has said what it is
        self._certificates: dict[str, tuple[bytes, ...]] = {}

    def read_file(self, name: str, lines: Iterable[bytes]) -> None:
        """Read a file, whose lines come with their ends."""
        self._file, self._line = name, 0
        for raw in lines:
            self._line += 1
            if raw.endswith(b"\n"):
                self._take(raw[:-1])
            else:
                self._spoil(raw)

    def end(self, last: int | None = None) -> Outcome:
        """Give what was found. ``last``: the chain is known to have so many lines at least."""
        outcome = self.outcome
        if self._spoilt:
            self._spoilt = b""
            outcome.notes.append(self._at("the last line is not whole: it is being written, or its writer has crashed"))
        outcome.last = self._n
        if last is not None and self._n < last:
            self._complain(f"lines {self._n + 1} to {last} are missing at the end")
        return outcome

    # ---- one line

    def _take(self, raw: bytes) -> None:
        try:
            found = read(raw)
        except NotALine as error:
            self._spoil(raw, str(error))
            return
        self._settle_spoilt(found)
        self._compare(found)
        if self._line == 1 or found["kind"] in FIRST_KINDS:
            self._look_at_beginning(found)
        self._n, self._prev = found["n"], digest(raw)
        kind = found["kind"]
        kinds = self.outcome.kinds
        kinds[kind] = kinds.get(kind, 0) + 1
        if kind == "dropped" and type(found.get("count")) is int:
            self.outcome.dropped += found["count"]
        elif kind == "checkpoint":
            self._look_at_checkpoint(raw, found)

    def _compare(self, found: Mapping[str, Any]) -> None:
        n, expected = found["n"], self._n + 1
        if not self._prev:
            self.outcome.first = n
            if n == 1 and found["prev"] != GENESIS:
                self._complain("it is the first line, and names one before it")
        elif n > expected:
            self._complain(f"{_lines(expected, n - 1)} missing before it")
        elif n < expected:
            self._complain(f"it is line {n} of the chain, behind line {self._n}: repeated, moved or put in")
        elif found["prev"] != self._prev:
            self._complain(f"line {self._n} of the chain, the one before it, was changed (or this one was)")

    def _look_at_beginning(self, found: Mapping[str, Any]) -> None:
        if found["kind"] == "begin" and self._prev:
            self._complain("a chain begins behind another one")
        chain = found.get("chain")
        if chain is not None and chain != self.outcome.chain:
            self._complain("it names another chain")

    def _spoil(self, raw: bytes, why: str = "it has no end") -> None:
        if self._spoilt:
            self._complain(f"it is no line of an audit: {why}")
        self._spoilt = raw or b"\n"
        self._spoilt_at = self._at(f"it is no line of an audit: {why}")

    def _settle_spoilt(self, found: Mapping[str, Any]) -> None:
        """A piece that a crash has left is told by the line behind it; every other one is none of ours."""
        if not self._spoilt:
            return
        if found["kind"] in FIRST_KINDS and found.get("torn_sha256") == sha256(self._spoilt).hexdigest():
            self.outcome.notes.append(self._at("before it stands a piece of a line that was torn: its writer says so"))
        elif len(self.outcome.problems) < MAX_PROBLEMS:
            self.outcome.problems.append(self._spoilt_at)
        self._spoilt = b""

    # ---- checkpoints

    def _look_at_checkpoint(self, raw: bytes, found: Mapping[str, Any]) -> None:
        self.outcome.checkpoints += 1
        if type(found.get("sampled_out")) is int:
            self.outcome.sampled_out = found["sampled_out"]
        if self._find_key is None:
            return
        try:
            message, signature = signed_part(raw)
            public = self._find_key(*self._key_of(found))
            is_good = holds(public, bytes.fromhex(signature.decode("ascii")), message)
        except (NotALine, Untrusted, ValueError) as error:
            self._complain(f"the checkpoint proves nothing: {error}")
            return
        if not is_good:
            self._complain("the signature of the checkpoint does not hold: it was changed, or made with another key")
        elif not self.outcome.problems:
            self.outcome.proved = self._n

    def _key_of(self, found: Mapping[str, Any]) -> tuple[str, tuple[bytes, ...], float]:
        key, certificates, at = found.get("key"), found.get("certificates"), found.get("time")
        if type(key) is not str or type(at) is not str:
            raise NotALine("it names no key or no time")
        if type(certificates) is list:
            self._certificates[key] = tuple(bytes.fromhex(one) for one in certificates if type(one) is str)
        return key, self._certificates.get(key, ()), datetime.fromisoformat(at).timestamp()

    # ---- findings

    def _at(self, message: str) -> Problem:
        return Problem(file=self._file, line=self._line, message=message)

    def _complain(self, message: str) -> None:
        if len(self.outcome.problems) < MAX_PROBLEMS:
            self.outcome.problems.append(self._at(message))


def _lines(first: int, last: int) -> str:
    return f"line {first} of the chain is" if first == last else f"lines {first} to {last} of the chain are"

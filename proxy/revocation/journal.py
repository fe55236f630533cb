"""What the operator and the feed have said, kept over a restart: one file, a line for each change, only appended to.

All processes that name one file agree: each reads on where it has stopped. Whoever appends holds the lock of the file.
A last line without its end was cut off by a crash, before anybody was told that it is kept, and is dropped. A line that
cannot be read in the middle is another thing: nobody knows what it took back, so the whole is not believed.
"""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import InvalidEntry, read_entry, write_entry
from proxy.tokens.encoding import read_json_object

COMPACT_BYTES: Final = 1024 * 1024
"""A file that has become so long, and more than twice as long as it has to be, is written anew."""

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Change:
    """An entry that a source has told of, or taken back: then ``entry`` is None. ``key`` is its id."""

    source: str
    key: str
    entry: Entry | None


class Journal:
    """See the module."""

    __slots__ = ("_file_id", "_offset", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._file_id: tuple[int, int] | None = None

    def read(self) -> tuple[list[Change], bool]:
        """Return what is new, and whether it is all that there is, from the beginning.

        Raises:
            RevocationsInvalid: the file is not ours alone, or cannot be read.

        """
        try:
            with self._opened() as descriptor:
                return self._read(descriptor)
        except OSError as error:
            raise self._refusal(f"cannot be read: {error.strerror}") from error

    def append(self, changes: Iterable[Change], now: float) -> None:
        """Keep these. Raises RevocationsInvalid: they are not kept."""
        lines = b"".join(_line(change, now) for change in changes)
        try:
            with self._opened() as descriptor:
                end = _whole(descriptor)
                if os.fstat(descriptor).st_size != end:
                    os.ftruncate(descriptor, end)
                if os.write(descriptor, lines) != len(lines):
                    os.ftruncate(descriptor, end)
                    raise self._refusal("cannot be written: the disk is full")
        except OSError as error:
            raise self._refusal(f"cannot be written: {error.strerror}") from error

    def compact(self, entries: Iterable[tuple[str, Entry]], now: float) -> bool:
        """Write it anew where it is long and little of it counts; whether it was.

        It is for whoever has read all of it: nothing is done where somebody has appended since.
        """
        with self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            if size < COMPACT_BYTES or size != self._offset:
                return False
            lines = b"".join(_line(Change(source, entry.id, entry), now) for source, entry in entries)
            if len(lines) * 2 > size:
                return False
            aside = self._path.with_name(f".{self._path.name}.new")
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
            fresh = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fresh, "wb") as file:
                file.write(lines)
            aside.rename(self._path)
        return True

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open and lock; after a wait for the lock another file may stand in its place."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        while True:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise self._refusal("is not a regular file")
                if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                    raise self._refusal("is not ours alone to write: chown it to us, and chmod 600")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.stat(self._path).st_ino == status.st_ino:  # noqa: PTH116 - as the one above
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _read(self, descriptor: int) -> tuple[list[Change], bool]:
        status = os.fstat(descriptor)
        file_id = (status.st_dev, status.st_ino)
        if file_id != self._file_id or status.st_size < self._offset:
            self._file_id, self._offset = file_id, 0
        begins = self._offset
        end = _whole(descriptor)
        raw = os.pread(descriptor, end - begins, begins) if end > begins else b""
        changes = [self._change(line) for line in raw.splitlines()]
        self._offset = end
        return changes, begins == 0

    def _change(self, line: bytes) -> Change:
        try:
            members = read_json_object(line)
            source, at = str(members["source"]), float(members["at"])
            if "drop" in members:
                return Change(source, str(members["drop"]), None)
            entry = replace(read_entry(members["put"], now=float("inf")), told=at)
            return Change(source, entry.id, entry)
        except (InvalidEntry, ValueError, KeyError, TypeError, AttributeError):
            raise self._refusal("has a line that cannot be read; what it took back is not known: mend it") from None

    def _refusal(self, why: str) -> RevocationsInvalid:
        return RevocationsInvalid(f"revocation.state {self._path} {why}")


def _line(change: Change, now: float) -> bytes:
    members: dict[str, Any] = {"at": now, "source": change.source}
    if change.entry is None:
        members["drop"] = change.key
    else:
        members["at"] = change.entry.told
        members["put"] = write_entry(change.entry)
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _whole(descriptor: int) -> int:
    """Give the end of the last whole line."""
    size = os.fstat(descriptor).st_size
    step = 4096
    while size > 0:
        begins = max(0, size - step)
        found = os.pread(descriptor, size - begins, begins).rfind(b"\n")
        if found >= 0:
            return begins + found + 1
        size = begins
    return 0

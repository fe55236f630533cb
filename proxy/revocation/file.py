"""The list that an operator keeps in a file: watched, taken whole, the last good kept.

What the file adds is in force at the next look. What it no longer names is lifted only when the file has been quiet for
a while: a file that is written in place is for a moment a good list that is too short.
"""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.revocation.freshness import Freshness
from proxy.revocation.listing import MAX_BYTES, Memory, ReadYaml, read_listing
from proxy.revocation.register import Register

SOURCE: Final = "file"

QUIET_S: Final = 2.0
"""From the last change of the file until what it no longer names is lifted: an editor or a copy takes less."""

Seen = tuple[int, ...]
Prepared = tuple[tuple[Entry, ...] | None, OSError | RevocationsInvalid | None]
"""A list that has changed, or why there is none; neither: it is as it was."""


class FileSource:
    """One file, which may be a symlink that is swapped. ``look`` as often as it should be seen."""

    __slots__ = (
        "_freshness",
        "_memory",
        "_now",
        "_path",
        "_pending",
        "_prepared",
        "_read_yaml",
        "_register",
        "_seen",
        "_since",
    )

    def __init__(
        self, path: Path, register: Register, freshness: Freshness, now: Callable[[], float], read_yaml: ReadYaml
    ) -> None:
        self._path = path
        self._register = register
        self._freshness = freshness
        self._now = now
        self._read_yaml = read_yaml
        self._seen: Seen | None = None
        self._memory: Memory = {}
        self._prepared: Prepared | None = None
        self._since = 0.0
        self._pending: tuple[Entry, ...] | None = None

    def prepare(self) -> None:
        """Read the list if it has changed; then ``look``. In a thread: ten thousand take a tenth of a second."""
        try:
            raw = self._changed()
            entries = read_listing(raw, self._now(), self._read_yaml, self._memory) if raw is not None else None
            self._prepared = entries, None
        except (OSError, RevocationsInvalid) as error:
            self._prepared = None, error

    def look(self) -> str:
        """Look once, or take what was prepared; return what a person should be told, or nothing."""
        if self._prepared is None:
            self.prepare()
        prepared, self._prepared = self._prepared, None
        entries, error = prepared or (None, None)
        try:
            if error is not None:
                raise error
            if entries is not None:
                self._take(entries)
            elif self._pending is not None and not 0 <= self._now() - self._since < QUIET_S:
                whole, self._pending = self._pending, None
                self._register.replace(SOURCE, whole, self._now())
        except OSError as error:
            self._seen = None
            return self._failed(f"cannot be read: {error.strerror}")
        except RevocationsInvalid as error:
            return self._failed(error.detail)
        if SOURCE in self._freshness.last_errors:
            return ""  # the same file as before, which was no good
        self._freshness.confirmed(SOURCE)
        return f"the list of what is revoked has {len(entries)} entries" if entries is not None else ""

    def _failed(self, why: str) -> str:
        detail = f"{self._path}: {why}; the last good list stays"
        return detail if self._freshness.failed(SOURCE, detail) else ""

    def _changed(self) -> bytes | None:
        # O_NONBLOCK: a named pipe in its place must not stop the loop.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RevocationsInvalid("is not a regular file")
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return None
            raw = file.read(MAX_BYTES + 1)
        self._seen = seen
        return raw

    def _take(self, entries: tuple[Entry, ...]) -> None:
        now = self._now()
        self._freshness.last_errors.pop(SOURCE, None)
        self._pending, self._since = entries, now
        with contextlib.suppress(RevocationsInvalid):  # no room for both lists: then the new one, when it is quiet
            self._register.replace(SOURCE, (*self._register.entries(SOURCE).values(), *entries), now)

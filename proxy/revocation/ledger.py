"""The register, and the journal beside it where there is one: what is said to be kept is kept before it is in force."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.revocation.freshness import Freshness
from proxy.revocation.journal import Change, Journal
from proxy.revocation.register import Register

STATE: Final = "state"
"""The journal, where it is told of as a source."""


ADMIN: Final = "admin"
FEED: Final = "feed"
KEPT: Final = (ADMIN, FEED)
"""The sources whose word is kept here; a file keeps its own."""


class Ledger:
    """See the module."""

    __slots__ = ("_freshness", "_journal", "_now", "on_lifted", "on_told", "register")

    def __init__(self, state: Path | None, register: Register, freshness: Freshness, now: Callable[[], float]) -> None:
        self._journal = Journal(state) if state is not None else None
        self.register = register
        self._freshness = freshness
        self._now = now
        self.on_told: Callable[[str, Sequence[Entry]], None] = lambda _, __: None
        self.on_lifted: Callable[[str, Sequence[Entry]], None] = lambda _, __: None

    @property
    def is_kept(self) -> bool:
        """Whether what is put here is there after a restart."""
        return self._journal is not None

    def put(self, source: str, entries: Sequence[Entry]) -> list[Entry]:
        """Take these of a source; return them as they stand now.

        Raises:
            RevocationsInvalid: there is no room, or they cannot be kept; then none is in force.

        """
        now = self._now()
        told = [replace(self.register.bounded(entry, now), told=entry.told or now) for entry in entries]
        self.register.check_room(source, told)
        self._keep([Change(source, entry.id, entry) for entry in told], now)
        stand = [self.register.put(source, entry) for entry in told]
        self.on_told(source, stand)
        return stand

    def drop(self, source: str, keys: Iterable[str]) -> int:
        """Forget these of a source; return how many there were. Raises RevocationsInvalid: all of them stay."""
        mine = self.register.entries(source)
        known = {key: mine[key] for key in keys if key in mine}
        self._keep([Change(source, key, None) for key in known], self._now())
        count = sum(self.register.drop(source, key) for key in known)
        self.on_lifted(source, list(known.values()))
        return count

    def look(self) -> str:
        """Read what other processes have kept; return what a person should be told, or nothing."""
        if self._journal is None:
            return ""
        try:
            changes, is_all = self._journal.read()
            self._take(changes, is_all=is_all)
        except RevocationsInvalid as error:
            return error.detail if self._freshness.failed(STATE, error.detail) else ""
        self._freshness.confirmed(STATE)
        return f"{len(changes)} revocations are kept in {STATE}" if is_all and changes else ""

    def tidy(self) -> None:
        """Write the journal anew where most of it counts no more."""
        if self._journal is not None:
            told = [(s, e) for s in KEPT for e in self.register.entries(s).values()]
            self._journal.compact(told, self._now())

    def _keep(self, changes: Sequence[Change], now: float) -> None:
        if self._journal is not None and changes:
            self._journal.append(changes, now)

    def _take(self, changes: Sequence[Change], *, is_all: bool) -> None:
        register = self.register
        if not is_all:
            for change in changes:
                if change.entry is not None:
                    register.put(change.source, change.entry)
                else:
                    register.drop(change.source, change.key)
            return
        found: dict[str, dict[str, Entry]] = {source: {} for source in KEPT}
        for change in changes:
            entries = found.setdefault(change.source, {})
            known = entries.pop(change.key, None)
            if change.entry is not None:
                entries[change.key] = change.entry if known is None else change.entry.joined(known)
        for source, entries in found.items():
            register.replace(source, entries.values(), self._now())

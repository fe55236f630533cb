"""Every entry with who told of it, in one set. A source is replaced whole, or entry by entry; all of it ends."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry, Kind, Revoked

DEFAULT_TTL_S: Final = 86_400.0
"""Of what the operator or a feed says without an end: a day is longer than any SVID or token of a mesh lives."""

TOKEN_BOUND: Final = frozenset({Kind.TOKEN, Kind.ISSUED_BEFORE})
"""What loses its meaning with the last token that it could name."""


class Register:
    """See the module; at most ``max_entries`` in all. ``on_change`` is told after each change.

    ``longest_token_s``: no token is believed for longer, so none outlives its own revocation.
    """

    __slots__ = ("_by_source", "_longest_token_s", "_max_entries", "_on_change", "revoked")

    def __init__(
        self, revoked: Revoked, max_entries: int, longest_token_s: float, on_change: Callable[[], None]
    ) -> None:
        self.revoked = revoked
        self._by_source: dict[str, dict[str, Entry]] = {}
        self._max_entries = max_entries
        self._longest_token_s = longest_token_s
        self._on_change = on_change

    def entries(self, source: str) -> Mapping[str, Entry]:
        """Entries of one source, by their ids."""
        return self._by_source.get(source, {})

    @property
    def sources(self) -> Iterable[str]:
        """All that have told of something."""
        return self._by_source

    def bounded(self, entry: Entry, now: float) -> Entry:
        """Return an entry that was told without an end with one, as long as it can matter."""
        latest = now + DEFAULT_TTL_S
        if entry.kind in TOKEN_BOUND:
            latest = (entry.before if entry.before is not None else now) + self._longest_token_s
        return replace(entry, expires=min(entry.expires, latest)) if entry.expires > latest else entry

    def replace(self, source: str, entries: Iterable[Entry], now: float) -> None:
        """Take the whole list of a source instead of what it told before.

        Raises:
            RevocationsInvalid: more than ``max_entries``; nothing has changed.

        """
        new: dict[str, Entry] = {}
        for entry in entries:
            if entry.expires > now:
                known = new.get(entry.id)
                new[entry.id] = entry.joined(known) if known is not None else entry
        old = self._by_source.get(source, {})
        self._make_room(len(new) - len(old))
        gone = [entry for key, entry in old.items() if _differs(new.get(key), entry)]
        come = [entry for key, entry in new.items() if _differs(old.get(key), entry)]
        for entry in gone:
            self.revoked.discard(entry)
        for entry in come:
            self.revoked.add(entry)
        self._by_source[source] = new
        if gone or come:
            self._on_change()

    def check_room(self, source: str, entries: Iterable[Entry]) -> None:
        """Hold that all of these could be put. Raises RevocationsInvalid."""
        mine = self._by_source.get(source, {})
        self._make_room(len({entry.id for entry in entries} - mine.keys()))

    def put(self, source: str, entry: Entry) -> Entry:
        """Take one more of a source; return what stands there now. Raises RevocationsInvalid."""
        mine = self._by_source.setdefault(source, {})
        known = mine.get(entry.id)
        if known is None:
            self._make_room(1)
        else:
            entry = entry.joined(known)
            if entry == known:
                return known
            self.revoked.discard(known)
        mine[entry.id] = entry
        self.revoked.add(entry)
        self._on_change()
        return entry

    def drop(self, source: str, key: str) -> bool:
        """Forget the entry of a source with this id; whether there was one."""
        entry = self._by_source.get(source, {}).pop(key, None)
        if entry is None:
            return False
        self.revoked.discard(entry)
        self._on_change()
        return True

    def expire(self, now: float) -> bool:
        """Forget what has had its time; whether there was something. What is open need not be judged for it."""
        found = False
        for mine in self._by_source.values():
            for key in [key for key, entry in mine.items() if entry.expires <= now]:
                self.revoked.discard(mine.pop(key))
                found = True
        return found

    def _make_room(self, more: int) -> None:
        if more > 0 and len(self.revoked) + more > self._max_entries:
            raise RevocationsInvalid(f"more than {self._max_entries} entries (revocation.max_entries)")


def _differs(one: Entry | None, other: Entry) -> bool:
    return one is not other and one != other

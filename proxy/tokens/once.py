"""Which transactions were used already, where a route takes each of them once (specs 1.13).

One ``txn`` may stand in several tokens, for a replacement keeps it and may live longer (specs 1.12). So a use is
remembered until the token has ended, and for at least ``window_s``: a token that replaces it does not open the route
again. Of each use 16 bytes are kept, whatever the ``txn``: the bound of entries is one of memory.

When the bound is reached, nobody passes who cannot be told from one who was here: refused, and never forgotten early.
The store is of one process; processes of one app that share one are in ``flow/uses.py``.
"""

import heapq
from collections.abc import Mapping
from hashlib import sha256

from proxy.errors import TransactionReplayed, UsedTransactionsFull

DIGEST_BYTES = 16
"""Two of a billion transactions share one by chance in 10^20 cases; nobody but the token service chooses a ``txn``."""


def use_of(route: str, txn: str) -> bytes:
    """Return what stands for the use of ``txn`` on ``route``."""
    return sha256(f"{route}\n{txn}".encode()).digest()[:DIGEST_BYTES]


def replayed() -> TransactionReplayed:
    """Make the refusal of a second use."""
    return TransactionReplayed("this transaction was used on this route before, and the route takes each once")


class UsedTransactions:
    """See the module; at most ``max_entries``. ``now`` and ``exp`` are Unix time."""

    __slots__ = ("_due", "_max_entries", "_until", "_window_s")

    def __init__(self, max_entries: int, window_s: float) -> None:
        self._max_entries = max_entries
        self._window_s = window_s
        self._until: dict[bytes, float] = {}
        self._due: list[tuple[float, bytes]] = []  # a heap; an entry is looked at when its time comes

    def __len__(self) -> int:
        return len(self._until)

    def fullness(self, now: float) -> float:
        """How near the limit is: from 0 to 1."""
        self._forget(now)
        return len(self._until) / self._max_entries

    def use(self, key: bytes, exp: float, now: float) -> None:
        """Note a use (``use_of``); ``exp`` is when its token is refused for its age.

        Raises:
            TransactionReplayed: it was used there before.
            UsedTransactionsFull: nothing more can be remembered, so nothing more is let through.

        """
        if self.until(key, now):
            self.learn(key, exp)  # as long as any token of it that was seen here
            raise replayed()
        self.learn(key, self.end_of(exp, now))

    def until(self, key: bytes, now: float) -> float:
        """When a use is forgotten; 0 if there is none."""
        self._forget(now)
        return self._until.get(key, 0.0)

    def end_of(self, exp: float, now: float) -> float:
        """When a use that begins now is forgotten. Raises UsedTransactionsFull."""
        if len(self._until) >= self._max_entries:
            raise UsedTransactionsFull(f"all {self._max_entries} places for used transactions are taken")
        return max(exp, now + self._window_s)

    def learn(self, key: bytes, until: float) -> None:
        """Remember a use, or for longer one that is known; no bound is looked at."""
        known = self._until.get(key)
        if known is None:
            heapq.heappush(self._due, (until, key))
        self._until[key] = until if known is None else max(known, until)

    def known(self, now: float) -> Mapping[bytes, float]:
        """Give all uses that are remembered, and until when."""
        self._forget(now)
        return self._until

    def _forget(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, key = heapq.heappop(self._due)
            until = self._until[key]
            if until <= now:
                del self._until[key]
            else:
                heapq.heappush(self._due, (until, key))

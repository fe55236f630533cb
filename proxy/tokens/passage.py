"""Which transaction an outbound request of the app belongs to, when the app has copied nothing (specs 1.6).

While a request is with the app, and a moment longer, its sidecar remembers the token under two names:

- *the mark*: 128 random bits that the sidecar puts into ``tracestate``. A tracing library that follows W3C Trace
  Context passes it on with ``traceparent``, and the sidecar takes it out again on the way out, so nobody beyond the app
  ever sees it. A mark names one request and no other.
- *the trace id*, for libraries that pass on ``traceparent`` alone. It is chosen by whoever called, who may have seen it
  elsewhere, and two requests may share it.

Who could make somebody else's token flow, and why they cannot:

1. *A peer with a token of its own and the trace id of a request in flight.* Under the trace id there are two tokens
   now. Nobody can tell whose request an unmarked outbound request is: it is refused, and so is the victim's. A marked
   one is not touched: the mark says whose it is. Where marks come through, the attacker denies itself alone; where they
   do not, it can deny whoever shares the trace with it, and gain nothing.
2. *The same over a route that is not to propagate.* Its requests are noted all the same, without their token: they make
   the trace ambiguous, and are never taken for another's.
3. *A peer that sends a mark.* It is taken out on the way in. A mark that is unknown leads nowhere, not even to the
   trace id; one that comes with another trace id than its own is refused.
4. *A flood.* Entries and bytes are bounded. At the bound an inbound request is refused: were it let through without
   being noted, it would be taken for whoever shares its trace id. For the same reason nothing is dropped early.
5. *Whatever else reaches the app with a trace id, as a queue does.* It can name a trace in flight, but no mark. So
   ``propagate: tracestate`` is to be chosen wherever the library passes it on; ``traceparent`` also believes trace ids.

The store is of one process. Several processes of one app (one for each direction, or several of each) ask each other
where ``transactions.share`` names their folder (``share.py``, ``flow/siblings.py``). A mark that is known here decides
here. Else each of the others says what it has, and all of it together is judged as if one store had it: ``the_one`` of
all that ``of`` gives. One that does not answer in time is no answer: the request is refused. What this cannot mend: a
process that is killed forgets what was with the app. A request under its trace id that brings no mark finds what the
other processes have under it, or nothing; under its mark, always nothing. That is point 5 again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from proxy.errors import TransactionAmbiguous, TransactionsFull

MARK_BYTES: Final = 16


class Remembered:
    """What is known of a request that is with the app. ``raw`` is its token; empty where its route does not propagate.

    Here, or told by another process.
    """

    __slots__ = ("exp", "raw", "txn")

    def __init__(self, raw: bytes, txn: str, exp: float) -> None:
        self.raw = raw
        self.txn = txn
        self.exp = exp


class Passage(Remembered):
    """One request while it is with the app."""

    __slots__ = ("_owner", "ends_at", "mark", "size_bytes", "trace_id")

    def __init__(self, owner: "Passages", trace_id: bytes, mark: bytes, raw: bytes, txn: str, exp: float) -> None:
        super().__init__(raw, txn, exp)
        self._owner = owner
        self.trace_id = trace_id
        self.mark = mark
        self.size_bytes = len(raw) + len(txn)
        self.ends_at = 0.0  # 0 while the request is in flight

    def leave(self, now: float) -> None:
        """The answer is out: what the app still does for it may take the grace. ``now`` as in ``enter``."""
        self._owner.leave(self, now)


class Passages:
    """See the module. ``now`` is of one clock that never steps back, in seconds; ``entropy`` is ``os.urandom``."""

    __slots__ = ("_by_mark", "_by_trace", "_bytes", "_entropy", "_grace_s", "_leaving", "_max_bytes", "_max_entries")

    def __init__(self, max_entries: int, max_bytes: int, grace_s: float, entropy: Callable[[int], bytes]) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._grace_s = grace_s
        self._entropy = entropy
        self._by_mark: dict[bytes, Passage] = {}
        self._by_trace: dict[bytes, list[Passage]] = {}
        self._leaving: deque[Passage] = deque()  # the grace is the same for all, so they end in this order
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_mark)

    @property
    def fullness(self) -> float:
        """How near the nearer of both limits is: from 0 to 1."""
        return max(len(self._by_mark) / self._max_entries, self._bytes / self._max_bytes)

    def enter(self, trace_id: bytes, raw: bytes, txn: str, exp: float, now: float) -> Passage:
        """Remember a request that goes to the app. ``exp`` is for whoever finds it, and is not compared here.

        Raises:
            TransactionsFull: a limit is reached.

        """
        self.sweep(now)
        passage = Passage(self, trace_id, self._entropy(MARK_BYTES).hex().encode(), raw, txn, exp)
        if len(self._by_mark) >= self._max_entries or self._bytes + passage.size_bytes > self._max_bytes:
            raise TransactionsFull("limits.transactions or limits.transaction_bytes is reached")
        self._by_mark[passage.mark] = passage
        self._by_trace.setdefault(trace_id, []).append(passage)
        self._bytes += passage.size_bytes
        return passage

    def leave(self, passage: Passage, now: float) -> None:
        """Begin the grace of a passage; a second time changes nothing."""
        if not passage.ends_at:
            passage.ends_at = now + self._grace_s
            self._leaving.append(passage)

    def find(self, trace_id: bytes, mark: bytes | None, now: float, *, by_trace: bool) -> Remembered | None:
        """Return the passage that a request of the app belongs to; None if there is none, or its token stays here.

        ``mark`` is the one that it brought; ``by_trace`` lets one without a mark be found by its trace id.

        Raises:
            TransactionAmbiguous: it could belong to several.

        """
        return the_one(self.of(trace_id, mark, now, by_trace=by_trace))

    def of(self, trace_id: bytes, mark: bytes | None, now: float, *, by_trace: bool) -> Sequence[Passage]:
        """Return all that a request of the app may belong to; as ``find``, whose arguments it has."""
        self.sweep(now)
        if mark is None:
            return self._by_trace.get(trace_id, ()) if by_trace else ()
        passage = self._by_mark.get(mark)
        if passage is None:
            return ()
        if passage.trace_id != trace_id:
            raise TransactionAmbiguous("the mark in tracestate is of another trace than traceparent")
        return (passage,)

    def sweep(self, now: float) -> None:
        """Forget whose grace is over."""
        while self._leaving and self._leaving[0].ends_at <= now:
            passage = self._leaving.popleft()
            del self._by_mark[passage.mark]
            self._bytes -= passage.size_bytes
            others = self._by_trace[passage.trace_id]
            others.remove(passage)
            if not others:
                del self._by_trace[passage.trace_id]


def the_one(found: Sequence[Remembered]) -> Remembered | None:
    """Return the one that all of ``found`` are; None if there is none, or its token stays here.

    Raises:
        TransactionAmbiguous: they have different tokens.

    """
    if not found:
        return None
    first = found[0]
    if any(other.raw != first.raw for other in found):
        raise TransactionAmbiguous("requests with different tokens are in flight under this trace id")
    return first if first.raw else None

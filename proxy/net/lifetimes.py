"""The ends of connections that live as long as something else does: an identity, a policy, a bundle.

One look a second compares all of them, as ``Deadlines`` does: nothing is paid for each request, and no timer for each
connection. When what they rest on has changed, all are judged anew, some at a time, so that ten thousand of them do not
hold the loop.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from proxy.net.deadlines import NEVER, Deadlines
from proxy.net.tasks import Tasks

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often all are compared where nothing is near its end."""

LEAST_S = 0.25
"""Between two looks where one connection after the other retires: at ten thousand, a look takes about a millisecond."""

TURN_S = 0.002
"""For judging, in one turn of the loop: a look-up takes microseconds, a close with its alert a tenth of a millisecond,
and a path that is searched anew half of one. So many of either as fit, and a request waits no longer than for that."""


class Mortal(Protocol):
    """A connection. Times are seconds on the loop's clock, or ``NEVER``."""

    retires_at: float
    ends_at: float

    def retire(self) -> None:
        """Finish what is in progress, and take nothing new. Called again at each look until ``retires_at`` is moved."""

    def end(self) -> None:
        """End now. Called again at each look until it is discarded, or ``ends_at`` is moved."""


M = TypeVar("M", bound=Mortal)


class Lifetimes(Generic[M]):
    """The connections of one side. Watched by ``Deadlines`` while there are some."""

    def __init__(self, deadlines: Deadlines, tasks: Tasks, clock: Callable[[], float]) -> None:
        self.deadline = NEVER
        self.members: set[M] = set()
        self._deadlines = deadlines
        self._tasks = tasks
        self._clock = clock
        self._judge: Callable[[M], None] | None = None
        self._judging = False

    def add(self, member: M) -> None:
        """Look at it from now on."""
        if not self.members:
            self._deadlines.watch(self)
            self.deadline = NEVER
        self.members.add(member)
        self.hasten(min(self._clock() + LOOK_S, member.ends_at, member.retires_at))

    def discard(self, member: M) -> None:
        """Forget it."""
        self.members.discard(member)
        if not self.members:
            self._deadlines.forget(self)

    def hasten(self, at: float) -> None:
        """Look no later than ``at``."""
        self.deadline = min(self.deadline, at)

    def on_deadline(self) -> None:
        """Look."""
        now = self._clock()
        self.deadline = self._next_look(now)
        for member in [m for m in self.members if m.retires_at <= now or m.ends_at <= now]:
            try:
                if member.ends_at <= now:
                    member.end()
                else:
                    member.retire()
            except Exception:  # noqa: BLE001 - the fault of one must not let all others live on
                _log.exception("a connection could not be ended")

    def _next_look(self, now: float) -> float:
        ends_at = min((m.ends_at for m in self.members if m.ends_at > now), default=NEVER)
        retires_at = min((m.retires_at for m in self.members if m.retires_at > now), default=NEVER)
        return min(now + LOOK_S, ends_at, max(retires_at, now + LEAST_S))

    def judge(self, judge: Callable[[M], None]) -> None:
        """Have ``judge`` look at every member that there is now; newer ones were judged when they came.

        While one round goes on the next is remembered. The round goes on to its end, or changes that come fast would
        never reach those at the end.
        """
        self._judge = judge
        if not self._judging and self.members:
            self._judging = True
            self._tasks.spawn(self._rounds(), "judge connections anew")

    async def _rounds(self) -> None:
        try:
            while (judge := self._judge) is not None:
                self._judge = None
                await self._round(judge)
        finally:
            self._judging = False

    async def _round(self, judge: Callable[[M], None]) -> None:
        turn_ends = self._clock() + TURN_S
        for member in list(self.members):
            if member in self.members:
                try:
                    judge(member)
                except Exception:  # noqa: BLE001 - as above
                    _log.exception("a connection could not be judged anew")
                    member.end()
            if self._clock() >= turn_ends:
                await asyncio.sleep(0)
                turn_ends = self._clock() + TURN_S

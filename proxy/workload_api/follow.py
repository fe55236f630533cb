"""Keeping one stream of the Workload API open: again after each failure that the standard lets us try again.

Known here: when. A stream that worked is reopened at once (Workload API 4.2), for what it brought may have changed
meanwhile. Whatever else fails is tried again after a pause that grows and has jitter, for ever. A failure that is final
is not; but it is final for the agent that gave it, and the next one may know better.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from proxy.workload_api.failure import CallFailed

BACKOFF_STEP_S: Final = 1.0
BACKOFF_MAX_S: Final = 10.0
"""1 s, 2 s and so on. To ask a socket of this machine costs next to nothing, and a workload waits for its identity."""

STEADY_S: Final = 1.0
"""A stream that lived this long worked, and is reopened at once; one that ends sooner is a failure among others."""

M = TypeVar("M")
OnMessage = Callable[[M], Awaitable[None] | None]
"""Takes a message; what it gives is awaited before the next one is read."""

Call = Callable[[OnMessage[M]], Awaitable[None]]
"""Opens the stream, gives each message to what it is called with, and ends by CallFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """Keeps a stream open. ``state``: told True when a message came, False when the stream ended; then ``failed``.

    ``another``: ends when, after a final failure, there is somebody else to ask.
    """

    state: Callable[[bool], None]
    failed: Callable[[CallFailed], None]
    jitter: Callable[[], float]
    another: Callable[[], Awaitable[None]]

    async def keep(self, call: Call[M], on_message: OnMessage[M]) -> None:
        """Follow the stream for ever."""
        clock = asyncio.get_running_loop().time
        failures, came_at = 0, float("inf")

        def take(message: M) -> Awaitable[None] | None:
            nonlocal came_at
            if came_at > clock():
                came_at = clock()
                self.state(True)
            return on_message(message)

        while True:
            came_at = float("inf")
            try:
                await call(take)
            except CallFailed as failure:
                self.state(False)
                self.failed(failure)
                if failure.kind.is_final:
                    await self.another()
            failures = 0 if clock() - came_at >= STEADY_S else failures + 1
            await asyncio.sleep(pause_s(failures, self.jitter()))


def pause_s(failures: int, jitter: float) -> float:
    """Return how long to wait after so many failures in a row; ``jitter`` is 0 to 1 and takes up to half of it."""
    return min(BACKOFF_STEP_S * failures, BACKOFF_MAX_S) * (1 - jitter / 2)

"""How late the loop is: what every connection on it feels when one callback takes too long."""

import asyncio
from time import perf_counter

from proxy.observe.cells import Histogram

PERIOD_S = 0.25
"""Four looks a second find a stall of the length that people notice, and cost nothing."""


class LoopLag:
    """Sets a timer again and again and notes how late it came."""

    __slots__ = ("_due", "_handle", "_histogram", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, histogram: Histogram) -> None:
        self._loop = loop
        self._histogram = histogram
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure until ``close``."""
        self._due = perf_counter() + PERIOD_S  # not loop.time(): uvloop's stands still while a callback runs
        self._handle = self._loop.call_later(PERIOD_S, self._tick)

    def close(self) -> None:
        """Stop measuring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        self._histogram.observe(max(0.0, perf_counter() - self._due))
        self.start()

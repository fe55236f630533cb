"""Deadlines without a timer each: a connection writes a number, one sweep compares all of them.

A ``call_later`` for each request costs more than the request's own bookkeeping. Here the hot path only assigns
``watched.deadline``; a sweep every ``PERIOD_S`` finds those that have passed. A deadline is therefore late by up to
one period, never early.
"""

import asyncio
import logging
import math
from typing import Final, Protocol

_log = logging.getLogger(__name__)

PERIOD_S: Final = 0.1
"""Short beside the smallest timeout that a person would set (1 s), long beside the cost of a sweep."""

LATE_S: Final = 1.0
"""A sweep that comes later than this found us stopped: frozen, moved to another machine, without a core."""

NEVER: Final = math.inf


class Watched(Protocol):
    """What has a deadline: seconds on the loop's clock, or ``NEVER``."""

    deadline: float

    def on_deadline(self) -> None:
        """The deadline has passed. Called again each period until it is moved."""


class Deadlines:
    """The one sweep of a loop."""

    __slots__ = ("_due", "_handle", "_loop", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Watched] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._due = NEVER  # when the next sweep should come

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, watched: Watched) -> None:
        """Compare ``watched.deadline`` from now on."""
        self._watched.add(watched)
        if self._handle is None:
            self._next()

    def forget(self, watched: Watched) -> None:
        """Stop comparing it."""
        self._watched.discard(watched)

    def close(self) -> None:
        """End the sweep."""
        self._watched.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _next(self) -> None:
        self._due = self._loop.time() + PERIOD_S
        self._handle = self._loop.call_later(PERIOD_S, self._sweep)

    def _sweep(self) -> None:
        now = self._loop.time()
        if now - self._due > LATE_S:
            # What came in time waits unread: it is read first. The next sweep compares, however late it is.
            self._next()
            self._due = NEVER
            return
        for watched in [w for w in self._watched if w.deadline <= now]:
            try:
                watched.on_deadline()
            except Exception:  # noqa: BLE001 - the fault of one must not end the deadlines of all
                _log.exception("a deadline could not be kept")
                self._watched.discard(watched)
        if self._watched:
            self._next()
        else:
            self._handle = None

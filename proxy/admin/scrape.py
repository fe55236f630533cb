"""Metrics for whoever asks, without being kept from work by whoever asks all the time.

A rendering is never older than the request that it answers, but those who wait for one share it, and after each there
is a rest in proportion to what it took: a scraper in a loop, or a hundred of them, get a tenth of the loop's time.
"""

import asyncio
from collections.abc import Callable

from proxy.observe.catalog import Metrics
from proxy.observe.exposition import choose

REST = 9.0
"""Times what a rendering has taken. Some milliseconds each: Prometheus, which comes every few seconds, never waits."""


class Scrapes:
    """Renders one after the other. ``clock`` in seconds; it never steps back."""

    __slots__ = ("_bodies", "_busy", "_clock", "_free_at", "_metrics", "_waiting", "renderings")

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._busy = asyncio.Lock()
        self._waiting = 0
        self._free_at = clock()
        self._bodies: dict[str, tuple[float, bytes]] = {}  # by content type, when it was begun; while somebody waits
        self.renderings = 0

    async def render(self, accept: str) -> tuple[str, bytes]:
        """Give content type and body."""
        content_type, asked_at = choose(accept), self._clock()
        self._waiting += 1
        try:
            async with self._busy:
                began, body = self._bodies.get(content_type, (-1.0, b""))
                if began < asked_at:
                    began, body = await self._render(accept)
                    self._bodies[content_type] = began, body
                return content_type, body
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._bodies.clear()

    async def _render(self, accept: str) -> tuple[float, bytes]:
        rest_s = self._free_at - self._clock()
        if rest_s > 0:
            await asyncio.sleep(rest_s)
        self.renderings += 1
        began = self._clock()
        _, pieces = self._metrics.render(accept)
        body, took_s, resumed = [], 0.0, began
        try:
            for piece in pieces:
                body.append(piece)
                took_s += self._clock() - resumed
                await asyncio.sleep(0)  # requests go on between two pieces
                resumed = self._clock()
        finally:  # whoever hangs up in the middle has cost as much
            self._free_at = self._clock() + took_s * REST
        return began, b"".join(body)

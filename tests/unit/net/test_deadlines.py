"""The one sweep: late by a period at most, never early, and one that fails does not end it for the others."""

import asyncio
import time

import pytest

from proxy.net.deadlines import LATE_S, NEVER, PERIOD_S, Deadlines


class Watched:
    """What has a deadline."""

    def __init__(self, deadline: float, *, fails: bool = False) -> None:
        self.deadline = deadline
        self.fails = fails
        self.passed: list[float] = []

    def on_deadline(self) -> None:
        """Keep when."""
        self.passed.append(asyncio.get_running_loop().time())
        if self.fails:
            raise RuntimeError("a fault of one connection")
        self.deadline = NEVER


async def test_one_that_raises_is_dropped_and_the_others_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Its fault is logged once, and the sweep goes on for all others."""
    loop = asyncio.get_running_loop()
    deadlines, now = Deadlines(loop), loop.time()
    faulty = [Watched(now, fails=True) for _ in range(2)]
    good, later = Watched(now), Watched(now + PERIOD_S * 3)
    for watched in (*faulty, good, later):
        deadlines.watch(watched)
    async with asyncio.timeout(20):
        while not later.passed:
            await asyncio.sleep(PERIOD_S)
    assert [len(watched.passed) for watched in (*faulty, good, later)] == [1, 1, 1, 1]
    assert now + PERIOD_S * 3 <= later.passed[0]
    assert caplog.text.count("a deadline could not be kept") == 2
    assert len(deadlines) == 2
    deadlines.close()


async def test_after_a_pause_what_waits_is_read_first() -> None:
    """A loop that stood still compares one period later; one that never keeps up does compare."""
    loop = asyncio.get_running_loop()
    deadlines, watched = Deadlines(loop), Watched(loop.time() + LATE_S / 2)
    deadlines.watch(watched)
    time.sleep(LATE_S + 3 * PERIOD_S)
    resumed = loop.time()
    loop.call_soon(time.sleep, LATE_S + 3 * PERIOD_S)
    async with asyncio.timeout(20):
        while not watched.passed:
            await asyncio.sleep(PERIOD_S / 10)
    assert watched.passed[0] >= resumed + PERIOD_S
    assert watched.passed[0] < resumed + 2 * LATE_S + 10 * PERIOD_S
    deadlines.close()

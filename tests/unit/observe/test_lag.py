"""The lag of the loop."""

import asyncio
import time

from proxy.observe.cells import Histogram
from proxy.observe.lag import PERIOD_S, LoopLag


async def test_a_callback_that_holds_the_loop_is_seen() -> None:
    """The loop is held for 0.2 s beyond the timer: at least that much is noted, by the wall and not by the loop."""
    histogram = Histogram((0.1,))
    lag = LoopLag(asyncio.get_running_loop(), histogram)
    lag.start()
    time.sleep(PERIOD_S + 0.2)
    await asyncio.sleep(0.01)
    lag.close()
    assert histogram.counts == [0, 1]
    assert histogram.total >= 0.19


async def test_close_ends_it() -> None:
    """Nothing is noted after ``close``, which may come twice."""
    histogram = Histogram((0.1,))
    lag = LoopLag(asyncio.get_running_loop(), histogram)
    lag.close()
    lag.start()
    lag.close()
    lag.close()
    await asyncio.sleep(PERIOD_S + 0.1)
    assert histogram.counts == [0, 0]

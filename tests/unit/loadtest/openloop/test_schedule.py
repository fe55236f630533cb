"""When requests are meant to be sent."""

import random

import pytest

from loadtest.openloop.schedule import SECOND_NS, Schedule


def test_the_rate_alone_decides() -> None:
    """Equal distances, from the start, warm-up first."""
    schedule = Schedule(rate=4, seconds=1, warmup=0.5)
    assert list(schedule.offsets_ns()) == [n * SECOND_NS // 4 for n in range(6)]
    assert (schedule.before, schedule.counted, schedule.total) == (2, 4, 6)


@pytest.mark.parametrize("rate", [3.0, 999.7, 33_333.0])
def test_no_drift(rate: float) -> None:
    """The last request of a minute is where the rate says, to the microsecond: errors do not add up."""
    *_, last = Schedule(rate=rate, seconds=60).offsets_ns()
    assert abs(last - (round(rate * 60) - 1) / rate * SECOND_NS) < 1000


def test_jitter_stays_in_its_slot() -> None:
    """The order, the number and the rate remain; the distances do not."""
    slot = SECOND_NS // 1000
    offsets = list(Schedule(rate=1000, seconds=1).offsets_ns(random.Random(1).random))
    assert [offset // slot for offset in offsets] == list(range(1000))
    assert len({offset % slot for offset in offsets}) > 900


def test_at_least_one_request_counts() -> None:
    """A run that asks for nothing would be good."""
    assert Schedule(rate=0.1, seconds=1).counted == 1

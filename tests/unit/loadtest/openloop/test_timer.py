"""The wake-up."""

import select
import time
from collections.abc import Iterator

import pytest

from loadtest.openloop.timer import Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    """One that is let go."""
    made = Timer()
    yield made
    made.close()


def test_it_wakes_at_the_instant(timer: Timer) -> None:
    """Never before; an instant of the past is now; and edge-triggered, once for each time that it is set."""
    with select.epoll() as epoll:
        epoll.register(timer.fd, select.EPOLLIN | select.EPOLLET)
        for wait_ns in (300_000, 2_700_000, -5):
            instant = time.monotonic_ns() + wait_ns
            timer.wake_at(instant)
            assert epoll.poll(5) == [(timer.fd, select.EPOLLIN)]
            assert time.monotonic_ns() >= instant
        assert epoll.poll(0.01) == []


def test_it_is_finer_than_a_millisecond(timer: Timer) -> None:
    """The best of twenty is far below what epoll_wait alone could do."""
    with select.epoll() as epoll:
        epoll.register(timer.fd, select.EPOLLIN | select.EPOLLET)
        late = []
        for _ in range(20):
            instant = time.monotonic_ns() + 200_000
            timer.wake_at(instant)
            epoll.poll(5)
            late.append(time.monotonic_ns() - instant)
        assert min(late) < 500_000

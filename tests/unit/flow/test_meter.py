"""What a connection may carry, at n and n + 1."""

import pytest

from proxy.errors import BytesSpent
from proxy.flow.meter import Meter
from proxy.http1.message import CHUNKED, UNTIL_CLOSE


def test_it_takes_all_or_nothing() -> None:
    """What does not fit is not counted, so that the rest may still be used."""
    meter = Meter(10)
    assert [meter.takes(4), meter.takes(7), meter.left, meter.takes(6)] == [True, False, 6, True]
    assert (meter.left, meter.carried, meter.takes(1)) == (0, 10, False)


def test_a_part_of_an_answer() -> None:
    """The same object where all passes, and never nothing: an empty chunk would be the last one."""
    meter, data = Meter(10), b"abcdef"
    assert meter.part(data) is data
    assert meter.part(data) == b"abcd"
    with pytest.raises(BytesSpent):
        meter.part(data)


@pytest.mark.parametrize(("length", "carried"), [(10, 0), (0, 9), (CHUNKED, 9), (UNTIL_CLOSE, 9)])
def test_what_may_begin(length: int | None, carried: int) -> None:
    """A known length that fits, and an unknown one while a byte is left."""
    meter = Meter(10)
    meter.takes(carried)
    meter.expect(length)


@pytest.mark.parametrize(("length", "carried"), [(11, 0), (0, 10), (CHUNKED, 10), (UNTIL_CLOSE, 10)])
def test_what_may_not(length: int | None, carried: int) -> None:
    """One byte more, and anything where nothing is left."""
    meter = Meter(10)
    meter.takes(carried)
    with pytest.raises(BytesSpent):
        meter.expect(length)


def test_a_lower_limit_than_was_carried() -> None:
    """Nothing is left, and never less than that."""
    meter = Meter(10)
    meter.takes(8)
    meter.max_bytes = 5
    assert meter.left == 0


def test_the_lower_of_two_limits() -> None:
    """A tunnel has its own, if less is not left; and nothing opens where nothing is left."""
    meter = Meter(10)
    assert [meter.lower(0), meter.lower(5), meter.lower(15)] == [10, 5, 10]
    meter.takes(10)
    with pytest.raises(BytesSpent):
        meter.lower(5)

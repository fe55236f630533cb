"""What is measured when, and for how long."""

import pytest

from loadtest.plan import Plan
from loadtest.rounds import half_of
from loadtest.scenario import SCENARIOS
from loadtest.shape import LOADS

EVERYTHING = Plan(rounds=3, seconds=5, rate_seconds=5, scenarios=tuple(SCENARIOS))


def test_the_slow_and_steady_are_of_the_last_round_alone() -> None:
    """And what runs alone is of none."""
    assert "idle-1000" not in EVERYTHING.of_round(2)
    assert "idle-1000" in EVERYTHING.of_round(3)
    assert "growth" not in EVERYTHING.of_round(3)
    assert set(LOADS) <= EVERYTHING.of_round(1)


def test_the_loads_of_the_budget_have_the_time_that_was_asked_for() -> None:
    """The others have less of it, never more."""
    assert EVERYTHING.seconds_of("one-token") == EVERYTHING.seconds_of("new-token") == 5
    assert EVERYTHING.seconds_of("get-1k") == 2
    assert Plan(rounds=1, seconds=1, rate_seconds=1, scenarios=()).seconds_of("get-1k") == 1


def test_the_estimate_grows_with_everything() -> None:
    """It knows what every scenario costs."""
    short = Plan(rounds=1, seconds=1, rate_seconds=1, scenarios=("one-token",))
    assert 0 < short.estimate_s(1) < short.estimate_s(2) < EVERYTHING.estimate_s(2)


@pytest.mark.parametrize(
    ("full", "rate"),
    [
        ({"svidecar": 9000.0, "envoy": 4190.0, "direct": 50000.0}, 2100.0),
        ({"svidecar": 9000.0, "direct": 50000.0}, 4500.0),
        ({"nginx": 120.0, "direct": 50000.0}, 100.0),
    ],
)
def test_half_of_saturation_is_one_rate_for_all(full: dict[str, float], rate: float) -> None:
    """Of Envoy, else of svidecar, else of the slowest; never nothing."""
    assert half_of(full) == rate

"""How long a connection serves: before its identities end, and not together with all others."""

import random

import pytest

from proxy.identity.lifetime import LifetimeSettings, serves_s

SETTINGS = LifetimeSettings()


def test_ten_thousand_do_not_come_back_at_once() -> None:
    """Connections of one second, whose SVIDs have an hour left: spread over more than ten minutes, evenly."""
    chance = random.Random(1).random
    ends = [serves_s(3600, chance(), LifetimeSettings(max_age_s=86400)) for _ in range(10_000)]
    assert max(ends) <= 3600 * 0.9
    assert max(ends) - min(ends) > 600
    in_each_minute = [sum(start <= end < start + 60 for end in ends) for start in range(2600, 3180, 60)]
    assert max(in_each_minute) < 1200, in_each_minute


@pytest.mark.parametrize("left_s", [0.5, 60, 3600, 86400 * 30])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_it_ends_before_the_identities(left_s: float, chance: float) -> None:
    """Whatever chance says."""
    assert 0 < serves_s(left_s, chance, SETTINGS) <= min(left_s * 0.9, SETTINGS.max_age_s)


def test_what_has_ended_serves_no_more() -> None:
    """Not for a moment."""
    assert serves_s(0, 0.5, SETTINGS) == 0
    assert serves_s(-5, 0.5, SETTINGS) < 0


def test_without_identities_age_counts() -> None:
    """A connection to the app, or out of the mesh."""
    assert serves_s(float("inf"), 0, SETTINGS) == SETTINGS.max_age_s
    assert serves_s(float("inf"), 1, SETTINGS) == pytest.approx(SETTINGS.max_age_s * 0.8)

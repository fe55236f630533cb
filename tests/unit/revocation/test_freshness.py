"""How old the word of a source may be."""

from support.revocation import Clock

from proxy.revocation.freshness import Freshness


def test_at_the_limit_and_beyond() -> None:
    """One that was never heard is stale from the first moment; one that has no source, never."""
    clock = Clock()
    freshness = Freshness(["file", "feed"], 10.0, clock)
    assert freshness.stale == ["file", "feed"]
    freshness.confirmed("file")
    freshness.confirmed("feed")
    clock.now += 10
    assert freshness.stale == []
    freshness.confirmed("feed")
    clock.now += 0.001
    assert freshness.stale == ["file"]
    assert Freshness([], 10.0, clock).stale == []


def test_a_clock_that_was_set_back_confirms_nothing() -> None:
    """Else what was heard in the future would be fresh until then."""
    clock = Clock()
    freshness = Freshness(["file"], 10.0, clock)
    freshness.confirmed("file")
    clock.now -= 3600
    assert freshness.stale == ["file"]


def test_a_failure_is_news_once() -> None:
    """And again after it was mended."""
    freshness = Freshness(["file"], 10.0, Clock())
    assert freshness.failed("file", "gone")
    assert not freshness.failed("file", "gone")
    assert freshness.failed("file", "broken")
    freshness.confirmed("file")
    assert freshness.last_errors == {}
    assert freshness.failed("file", "broken")

"""Figures of a whole run."""

from dataclasses import replace

import pytest
from support.loads import load, rate, turn, whole

from loadtest import results as of
from loadtest.results import Results, Turn


def run(*turns: Turn) -> Results:
    """Of two contenders."""
    return Results(contenders=("svidecar", "envoy"), checks={}, turns=turns)


def test_a_bad_load_counts_for_nobody() -> None:
    """Neither in the median, nor as the other side of a ratio; what else its round measured still counts."""
    spoiled = replace(turn("svidecar", 2), loads={"one-token": load(1.0, errors={"status": 1})})
    results = run(turn("svidecar", 1, 50), turn("envoy", 1, 100), spoiled, turn("envoy", 2, 100))
    assert results.by_round("svidecar", of.cpu_us("one-token")) == {1: pytest.approx(50.0)}
    found = results.ratio("svidecar", "envoy", of.cpu_us("one-token"))
    assert found is not None
    assert found.median == pytest.approx(0.5)
    assert found.rounds == 1
    assert spoiled.bad == ("one-token: errors: 1 status",)
    assert len(results.by_round("svidecar", of.rest_mb)) == 2


def test_what_was_not_measured_is_absent() -> None:
    """The summary has the key and no number."""
    summary = run(turn("svidecar", 1)).summary()
    assert summary["rss_mb_at_rest"] == 50.0
    assert summary["cpu_vs_envoy_cached"] is None
    assert summary["p99_vs_envoy"] is None
    assert summary["stream_cpu_vs_envoy"] is None


def test_each_ratio_of_the_summary_is_of_its_own_scenario() -> None:
    """Uncached means new tokens on both sides: our cache must not be set against Envoy's verification."""
    summary = whole().summary()
    assert summary["cpu_vs_envoy_cached"] == pytest.approx(60 / 200)
    assert summary["cpu_vs_envoy_uncached"] == pytest.approx(120 / 600)
    assert summary["cpu_vs_nginx"] == pytest.approx(1.2)
    assert summary["rss_vs_envoy"] == pytest.approx(0.3)


def test_the_ratio_of_latencies_is_of_what_is_added() -> None:
    """With no proxy at all it is 1 ms here; svidecar adds 1.2 ms, Envoy 4."""
    assert whole().summary()["p99_vs_envoy"] == pytest.approx(0.3)


def test_an_envoy_that_adds_nothing_gives_no_ratio() -> None:
    """A difference of noise under the line would make any number of it."""
    turns = [replace(turn(name), rates={"rate-half": rate(1.0)}) for name in ("svidecar", "envoy", "direct")]
    assert run(*turns).summary()["p99_vs_envoy"] is None


def test_a_rate_with_an_error_has_no_latency() -> None:
    """A refused request is a quick one."""
    spoiled = replace(turn("envoy"), rates={"rate-1000": rate(1.0, errors={"reset": 1})})
    assert run(spoiled).figure("envoy", of.at_rate("rate-1000", "p99")) is None
    assert run(spoiled).figure("envoy", of.rate_cpu_us("rate-1000")) is None


def test_a_client_that_was_late_spoils_the_latency_but_not_the_cpu() -> None:
    """What the proxies used for those requests is true all the same."""
    late = replace(rate(1.0, us=70), client={"bad": "the client was late"})
    results = run(replace(turn("envoy"), rates={"rate-1000": late}))
    assert results.figure("envoy", of.at_rate("rate-1000", "p99")) is None
    found = results.figure("envoy", of.rate_cpu_us("rate-1000"))
    assert found is not None
    assert found.median == pytest.approx(70)
    assert results.turns[0].bad == ("rate-1000: the client was late",)


def test_a_contender_without_one_good_round_of_a_scenario_is_named() -> None:
    """A good round is enough; so is being spared."""
    good, bad = turn("envoy", 1, 100), replace(turn("envoy", 2), loads={"one-token": load(1, errors={"read": 1})})
    assert run(good, bad).lost() == []
    assert run(bad).lost() == ["envoy (one-token)"]
    assert run(turn("envoy")).lost() == []


def test_a_scenario_of_its_own_that_failed_is_named() -> None:
    """One that passed is not."""
    alone = {"growth": {"exit_code": 1}, "rotation": {"exit_code": 0}}
    assert Results(contenders=(), checks={}, turns=[], alone=alone).lost() == ["growth (exit code 1)"]

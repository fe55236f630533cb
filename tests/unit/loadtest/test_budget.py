"""The budget, and what a gate makes of it."""

from support.loads import whole

from loadtest import budget, gate
from loadtest.budget import BUDGET, Limit, Verdict
from loadtest.results import Results

LIMIT = Limit("cpu_vs_nginx", 1.7, "CPU")
INSIDE: dict[str, float | None] = {limit.name: limit.most for limit in BUDGET}


def test_a_limit_holds_at_n_and_not_above() -> None:
    """And what is missing, or is no number, holds nothing."""
    assert Verdict(LIMIT, 1.7).held
    assert not Verdict(LIMIT, 1.701).held
    assert not Verdict(LIMIT, None).held
    assert not Verdict(LIMIT, float("nan")).held


def test_every_limit_is_a_figure_of_the_summary() -> None:
    """A limit that no run can measure would never be held, nor seen to be wrong."""
    assert {limit.name for limit in BUDGET} <= whole().summary().keys()


def test_the_budget_is_the_designs() -> None:
    """Figures that a release is judged by do not move by accident."""
    limits = {limit.name: limit.most for limit in BUDGET}
    assert limits["cpu_vs_envoy_cached"] == 0.40
    assert limits["cpu_vs_envoy_uncached"] == 0.60
    assert limits["cpu_vs_nginx"] == 1.7
    assert limits["cpu_vs_envoy_at_1000rps"] == 0.75
    assert limits["rss_mb_at_rest"] == 60
    assert limits["rss_mb_at_1000_connections"] == 90


def test_all_inside_is_inside() -> None:
    """Each at its limit."""
    assert all(verdict.held for verdict in budget.judge(INSIDE))
    assert [row[3] for row in budget.rows(budget.judge(INSIDE))[1:]] == ["ok"] * len(BUDGET)


def test_one_over_is_named() -> None:
    """Beside what was found."""
    rows = budget.rows(budget.judge(INSIDE | {"cpu_vs_nginx": 1.71}))
    assert ("cpu_vs_nginx", "1.71", "1.7", "OVER", "CPU per request against nginx doing TLS alone") in rows


def test_a_gate_that_measured_nothing_is_shut() -> None:
    """With the reason why."""
    held, said = gate.verdict(Results(contenders=(), checks={}, turns=[], absent={"rate-1000": "there is no client"}))
    assert not held
    assert "there is no client" in said
    assert "not measured, so not held: cpu_vs_envoy_cached" in said


def test_the_gate_says_what_is_over() -> None:
    """Apart from what was not measured."""
    held, said = gate.verdict(whole())
    assert not held
    assert "not measured, so not held: stream_cpu_vs_envoy (" in said
    assert "over the budget" not in said


def test_the_gate_measures_what_the_budget_speaks_of() -> None:
    """Everybody that a ratio needs is there."""
    assert {"svidecar", "envoy", "envoy-uncached", "nginx", "direct"} == set(gate.CONTENDERS)
    assert {"one-token", "new-token", "rate-1000", "rate-half", "streams", "idle-1000"} == set(gate.PLAN.scenarios)

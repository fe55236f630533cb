"""Figures of a whole run."""

from loadtest import results as of
from loadtest.results import Results, Turn

REST = {"egress": 40.0, "ingress": 50.0}


def turn(contender: str, number: int, bad: tuple[str, ...] = (), rest: float = 50.0) -> Turn:
    """Of one contender, with nothing but its memory at rest."""
    return Turn(contender=contender, round=number, commands={}, bad=bad, rest=REST | {"ingress": rest})


def run(*turns: Turn) -> Results:
    """Of two contenders."""
    return Results(contenders=("svidecar", "envoy"), checks={}, turns=turns)


def test_a_bad_round_counts_for_nobody() -> None:
    """Neither in the median, nor as the other side of a ratio."""
    results = run(
        turn("svidecar", 1),
        turn("envoy", 1, rest=100.0),
        turn("svidecar", 2, bad=("errors: 1 status",), rest=1.0),
        turn("envoy", 2, rest=100.0),
    )
    assert results.by_round("svidecar", of.rest_mb) == {1: 50.0}
    ratio = results.ratio("svidecar", "envoy", of.rest_mb)
    assert ratio is not None
    assert (ratio.median, ratio.rounds) == (0.5, 1)


def test_what_was_not_measured_is_absent() -> None:
    """The summary has the key and no number."""
    summary = run(turn("svidecar", 1)).summary()
    assert summary["rss_mb_at_rest"] == 50.0
    assert summary["cpu_vs_envoy_cached"] is None
    assert summary["stream_cpu_vs_envoy"] is None

"""Our own histograms, read back."""

import pytest

from loadtest import histograms
from loadtest.histograms import Histogram
from proxy.observe.table import TABLE

INF = float("inf")
PAGE = """\
# HELP svidecar_overhead_seconds x
svidecar_overhead_seconds_bucket{direction="inbound",le="0.0001"} 90
svidecar_overhead_seconds_bucket{direction="inbound",le="0.001"} 100
svidecar_overhead_seconds_bucket{direction="inbound",le="+Inf"} 100
svidecar_overhead_seconds_sum{direction="inbound"} 1
svidecar_overhead_seconds_bucket{direction="outbound",le="+Inf"} 7
svidecar_token_verify_seconds_bucket{result="ok",le="+Inf"} 3
svidecar_token_verify_seconds_bucket{result="refused",le="+Inf"} 2
other_bucket{le="+Inf"} 2
"""


def test_a_page_is_read_by_phase() -> None:
    """Directions apart, results together."""
    found = histograms.read(PAGE)
    assert found["overhead, inbound"] == Histogram((0.0001, 0.001, INF), (90, 100, 100))
    assert found["token verified (not from the cache)"].total == 5
    assert set(found) == {"overhead, inbound", "overhead, outbound", "token verified (not from the cache)"}


def test_every_phase_is_a_metric_of_ours() -> None:
    """With labels that it has."""
    catalogue = {each.name: set(each.labels) for each in TABLE}
    for metric, labels in histograms.PHASES.values():
        assert set(labels) <= catalogue[metric]


def test_a_quantile_lies_between_two_bounds() -> None:
    """As Prometheus has it; above the last finite bound nothing is known."""
    found = Histogram((1.0, 2.0, INF), (50, 90, 100))
    assert found.quantile(0.25) == pytest.approx(0.5)
    assert found.quantile(0.7) == pytest.approx(1.5)
    assert found.quantile(0.99) == 2.0
    assert Histogram((1.0, INF), (0, 0)).quantile(0.5) is None


def test_what_was_there_before_does_not_count() -> None:
    """Neither at the start of a scenario, nor of a phase that gained nothing."""
    before = {"a": Histogram((1.0, INF), (5, 5)), "b": Histogram((1.0, INF), (1, 1))}
    after = {"a": Histogram((1.0, INF), (6, 8)), "b": Histogram((1.0, INF), (1, 1)), "c": Histogram((INF,), (2,))}
    gained = histograms.between(before, after)
    assert gained == {"a": Histogram((1.0, INF), (1, 3)), "c": Histogram((INF,), (2,))}

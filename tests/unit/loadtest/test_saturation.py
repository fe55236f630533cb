"""wrk's report, and what is made of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.saturation import HIDDEN, Saturation, Slice, command, parse
from loadtest.shape import LOADS

SLICE = Slice(
    requests=10,
    seconds=1.0,
    errors={},
    percentiles_ms={"p50": 1.0, "p99": 2.0},
    wall_s=1.0,
    egress_s=300e-6,
    ingress_s=340e-6,
    backend_s=0.2,
    proxies_core=0.05,
    load_core=0.4,
    stolen=0.0,
)


def saturation(*slices: Slice) -> Saturation:
    """Of one round."""
    return Saturation(slices=slices)


def test_the_report_is_found_among_wrks_own_lines() -> None:
    """It prints before and after it."""
    assert parse('Running 1s test @ http://x\n  1 threads\n{"requests":7}\n')["requests"] == 7


def test_one_error_spoils_a_round() -> None:
    """A proxy that refuses is fast."""
    assert not saturation(SLICE, SLICE).bad
    refused = replace(SLICE, errors={"status": 1})
    assert saturation(SLICE, refused, refused).bad == "errors: 2 status"
    assert saturation(replace(SLICE, requests=0)).bad


def test_cpu_per_request_is_the_sum_over_the_sum() -> None:
    """A slow second has fewer requests and weighs less; the total is that of both proxies."""
    found = saturation(SLICE, replace(SLICE, requests=30, ingress_s=1660e-6))
    assert found.ingress_us == pytest.approx(50.0)
    assert found.egress_us == pytest.approx(15.0)
    assert found.total_us == pytest.approx(65.0)
    assert found.requests_per_s == pytest.approx(20.0)


def test_a_turn_with_company_on_its_core_is_noisy() -> None:
    """It still counts: an honest table says so instead of choosing its rounds."""
    assert not saturation(SLICE).noisy
    crowded = saturation(SLICE, replace(SLICE, proxies_core=0.2))
    assert crowded.noisy
    assert not crowded.bad


def test_a_percentile_is_the_median_of_the_slices() -> None:
    """One stalled second does not make it, and does not vanish where it is the rule."""
    slow = replace(SLICE, percentiles_ms={"p50": 9.0, "p99": 90.0})
    assert saturation(SLICE, SLICE, slow).p99_ms == 2.0
    assert saturation(SLICE, slow, slow).p99_ms == 90.0


def test_the_command_sends_host_and_token() -> None:
    """And the one for readers hides the token."""
    call = command("wrk", 1, HIDDEN, LOADS["one-token"], 32)
    assert call[call.index("-H") + 1] == "Host: orders"
    assert f"Txn-Token: {HIDDEN}" in call
    assert call[call.index("--") - 1] == "http://127.0.0.1:1/orders/1"
    assert call[-2:] == ["GET", "0"]


def test_a_shape_says_how_it_is_sent() -> None:
    """Its own connections before the plan's; a body; a file of tokens; a connection for each request."""
    assert "-c256" in command("wrk", 1, HIDDEN, LOADS["connections-256"], 32)
    assert command("wrk", 1, HIDDEN, LOADS["put-64k"], 32)[-2:] == ["POST", "65536"]
    assert command("wrk", 1, HIDDEN, LOADS["new-token"], 32, Path("/tokens"))[-1] == "/tokens"
    assert "Connection: close" in command("wrk", 1, HIDDEN, LOADS["new-connection"], 32)

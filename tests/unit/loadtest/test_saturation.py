"""wrk's report."""

from dataclasses import replace

from loadtest.saturation import HIDDEN, Saturation, command, parse

GOOD = Saturation(
    requests=10,
    requests_per_s=5.0,
    errors={},
    egress_us=30.0,
    ingress_us=34.0,
    p50_ms=1.0,
    p99_ms=2.0,
    proxies_core=1.0,
    load_core=0.4,
    backend_share=0.2,
    others_on_proxies_core=0.0,
    stolen=0.0,
)


def test_the_report_is_found_among_wrks_own_lines() -> None:
    """It prints before and after it."""
    assert parse('Running 1s test @ http://x\n  1 threads\n{"requests":7}\n')["requests"] == 7


def test_one_error_spoils_a_run() -> None:
    """A proxy that refuses is fast."""
    assert not GOOD.bad
    assert replace(GOOD, errors={"status": 1}).bad == "errors: 1 status"
    assert replace(GOOD, requests=0).bad


def test_the_total_is_that_of_both_proxies() -> None:
    """Egress and ingress."""
    assert GOOD.total_us == 64.0


def test_the_command_sends_host_and_token() -> None:
    """And the one for readers hides the token."""
    call = command("wrk", 1, HIDDEN, seconds=3, connections=32)
    assert call[call.index("-H") + 1] == "Host: orders"
    assert f"Txn-Token: {HIDDEN}" in call
    assert call[-1] == "http://127.0.0.1:1/orders/1"

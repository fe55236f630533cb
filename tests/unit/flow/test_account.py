"""What is written down of an exchange."""

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.flow import Caller, Clock, get, make_runtime
from support.policy import grant, rule, token
from support.prometheus import exposed

from proxy.errors import REASONS, ClientClosed, Overloaded, RouteNotAllowed, TokenExpired, UpstreamDown
from proxy.flow.account import MAX_KINDS, Account, verdict
from proxy.flow.exchange import Exchange
from proxy.flow.runtime import Runtime
from proxy.observe.access_log import AccessLog
from proxy.observe.settings import AccessLogSettings


def _count(runtime: Runtime, name: str, **labels: str) -> float:
    text = exposed(runtime.metrics)[1].decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TokenExpired(), "deny"),
        (RouteNotAllowed(), "deny"),
        (ClientClosed(), "error"),
        (UpstreamDown(), "error"),
        (Overloaded(), "error"),
    ],
    ids=lambda value: getattr(value, "reason", value),
)
def test_a_refusal_is_what_somebody_else_has_to_mend(error: Exception, expected: str) -> None:
    """A failure is what operators look at."""
    assert verdict(error) == expected  # type: ignore[arg-type]


def test_every_reason_has_a_verdict() -> None:
    """Of the two words."""
    assert {verdict(kind()) for kind in REASONS.values()} == {"deny", "error"}


async def test_an_exchange_is_counted_once_in_each_metric() -> None:
    """With the template of its route, never its path."""
    clock = Clock()
    runtime = make_runtime(clock)
    account = Account(runtime, "inbound", "spiffe://example.org/edge", "spiffe://example.org/orders")
    exchange = Exchange(Caller(), runtime, get(), account, clock.now)
    exchange.token = token("orders.read")
    exchange.permit = grant(rule(routes=[("GET /orders/{id}", ["orders.read"])])).permit(
        b"GET", b"/orders/1", exchange.token, 500.0
    )
    exchange.status, exchange.own_s = 200, 0.001
    account.close(exchange, clock.now + 0.01)
    assert _count(runtime, "svidecar_decisions_total", decision="allow", reason="", direction="inbound") == 1
    assert _count(runtime, "http_server_request_duration_seconds_count", http_route=exchange.permit.route) == 1
    assert _count(runtime, "svidecar_overhead_seconds_count", direction="inbound") == 1
    account.fail(exchange, TokenExpired(), clock.now)
    assert _count(runtime, "svidecar_decisions_total", decision="deny", reason="token_expired") == 1
    assert b"/orders/1" not in exposed(runtime.metrics)[1]


async def test_methods_that_a_caller_invents_are_not_remembered() -> None:
    """They cost no memory and push nobody out, and each is counted."""
    clock = Clock()
    runtime = make_runtime(clock)
    account = Account(runtime, "inbound", None, None)
    for number in range(100):
        exchange = Exchange(Caller(), runtime, get(method=f"M{number}"), account, clock.now)
        exchange.status = 403
        account.fail(exchange, RouteNotAllowed(), clock.now)
    assert not runtime.cells["inbound"]
    assert _count(runtime, "svidecar_decisions_total", reason="route_not_allowed") == 100
    assert _count(runtime, "http_server_request_duration_seconds_count", http_request_method="_OTHER") == 100


async def test_kinds_are_remembered_for_all_connections_up_to_a_limit() -> None:
    """An app that varies its statuses without end costs no memory; all connections of one direction share them."""
    clock = Clock()
    runtime = make_runtime(clock)
    account, other = Account(runtime, "inbound", None, None), Account(runtime, "inbound", None, None)
    cells = runtime.cells["inbound"]
    for number in range(MAX_KINDS + 1):
        assert len(cells) == number
        exchange = Exchange(Caller(), runtime, get(), account, clock.now)
        exchange.status = number
        (account if number % 2 else other).close(exchange, clock.now)
        if number == MAX_KINDS:
            assert len(cells) == 1  # begun anew
    assert _count(runtime, "svidecar_decisions_total", decision="allow") == MAX_KINDS + 1
    assert not runtime.cells["outbound"]


def test_the_record_of_a_refusal(tmp_path: Path) -> None:
    """No claim of a token that was not verified, no path; who called stands in it."""

    async def run() -> None:
        clock = Clock()
        runtime = make_runtime(clock)
        loop = asyncio.get_running_loop()
        settings = AccessLogSettings(path=str(tmp_path / "log"))
        runtime.access_log = AccessLog(settings, "test", loop, runtime.metrics.access_log_dropped)
        account = Account(runtime, "inbound", "spiffe://example.org/edge", "spiffe://example.org/orders")
        exchange = Exchange(Caller(), runtime, get("Txn-Token: secret"), account, clock.now)
        exchange.status = 401
        account.fail(exchange, TokenExpired("exp has passed"), clock.now)
        account.refuse(RouteNotAllowed())
        runtime.access_log.close()

    asyncio.run(run())
    text = (tmp_path / "log").read_text()
    request, connection = (json.loads(line) for line in text.splitlines())
    assert (request["kind"], request["reason"], request["status"]) == ("request", "token_expired", 401)
    assert request["peer"] == connection["peer"] == "spiffe://example.org/edge"
    assert (connection["kind"], connection["decision"]) == ("connection", "deny")
    assert "secret" not in text
    assert "/a" not in request.values()
    assert "txn" not in request

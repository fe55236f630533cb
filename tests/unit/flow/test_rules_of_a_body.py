"""A body is read before anything is decided, and meanwhile other rules are taken: those decide, and are named for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import CONFIG, Bench

ROUTE = '{match: "POST /orders", scopes: [orders.read], facts: {id: "body:/id"}}'
ASK = 'token: {scope: ledger.read, details: {id: "body:/id"}}'
BOUND = (
    CONFIG.replace('{match: "GET /orders/{id}", scopes: [orders.read]}', ROUTE)
    .replace("propagate: tracestate", ASK)
    .replace(
        "keys: jwks.json", 'keys: jwks.json, service: {url: "https://tts/token", spiffe_id: spiffe://example.org/tts}'
    )
)
FIELDS = "Content-Type: application/json\r\nContent-Length: 9\r\n"


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, BOUND)
    await made.sidecar.keys.load()
    yield made
    await made.sidecar.close()


async def test_of_a_peer(bench: Bench) -> None:
    """The route is gone; the record names the rules that have refused."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request("POST /orders HTTP/1.1", FIELDS))
    exchange, door = connection.exchange, bench.doors.inbound_door
    assert exchange is not None
    assert door is not None
    assert exchange.hold is not None
    bench.take(ROUTE, '{match: "POST /others", scopes: [orders.read]}')
    connection.judge()
    connection.data_received(b'{"id": 1}')
    assert b'"route_not_allowed"' in transport.sent
    assert exchange.account.policy == door.policy.version


async def test_of_the_app(bench: Bench) -> None:
    """The destination is gone."""
    connection, transport = bench.outbound()
    connection.data_received(f"POST /a HTTP/1.1\r\nHost: ledger\r\n{FIELDS}\r\n".encode())
    exchange, door = connection.exchange, bench.doors.outbound_door
    assert exchange is not None
    assert door is not None
    assert exchange.hold is not None
    bench.take("host: ledger", "host: other")
    connection.data_received(b'{"id": 1}')
    assert b'"destination_unknown"' in transport.sent
    assert exchange.account.policy == door.destinations.version

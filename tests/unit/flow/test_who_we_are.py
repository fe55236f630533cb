"""A connection of the app stays, and our identity becomes another one: what it asks for is asked by who we are now."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import CONFIG, Bench, settle

from proxy.net.deadlines import NEVER
from proxy.tokens.tts import TokenService, Want

ASKING = CONFIG.replace("propagate: tracestate", "token: {scope: ledger.read}").replace(
    "keys: jwks.json", 'keys: jwks.json, service: {url: "https://tts/token", spiffe_id: spiffe://example.org/tts}'
)
REQUEST = b"GET /a HTTP/1.1\r\nHost: ledger\r\n\r\n"


@pytest.fixture(name="wants")
def _wants(monkeypatch: pytest.MonkeyPatch) -> list[Want]:
    """What was asked of the token service, which has all of it."""
    asked: list[Want] = []

    def recall(_service: TokenService, want: Want, _now: float) -> bytes:
        asked.append(want)
        return b"a.b.c"

    monkeypatch.setattr(TokenService, "recall", recall)
    return asked


@pytest.fixture(name="bench")
async def _bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, getattr(request, "param", ASKING))
    monkeypatch.setattr(made.doors._dialer, "dial", made.dial)
    yield made
    await made.sidecar.close()
    for _, other in made.opened:
        other.close()


@pytest.mark.parametrize("is_early", [True, False])
async def test_the_token_service_is_asked_by_who_we_are(bench: Bench, wants: list[Want], *, is_early: bool) -> None:
    """The app may have connected before there was an identity at all."""
    if is_early:
        bench.sidecar.foundation.store.withdraw()
    connection, transport = bench.outbound()
    bench.become("other")
    connection.data_received(REQUEST)
    await bench.opens()
    assert [want.client for want in wants] == ["spiffe://example.org/other"], transport.sent
    assert b"Txn-Token: a.b.c" in bench.received()["127.0.0.1:4"]
    assert connection.account.local == "spiffe://example.org/other"


async def test_what_waits_for_a_connection_goes_on(bench: Bench, wants: list[Want]) -> None:
    """It leads where it led."""
    connection, _ = bench.outbound()
    connection.data_received(REQUEST)
    await settle()
    bench.become("other")
    await bench.opens()
    assert len(wants) == 1
    assert bench.received()["127.0.0.1:4"].count(b"GET ") == 1


async def test_what_is_open_in_the_old_name_is_not_lent_in_the_new_one(bench: Bench, wants: list[Want]) -> None:
    """A destination knows us by the SVID of the handshake; a mere renewal costs no connection."""
    connection, transport = bench.outbound()
    await bench.opens()
    for name, opened in (("orders", 1), ("orders", 1), ("other", 2), ("other", 2)):
        bench.become(name)
        connection.data_received(REQUEST)
        await settle()
        assert len(bench.opened) == opened
        bench.opened[-1][1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await settle()
        assert transport.sent.endswith(b"ok")
        transport.sent = b""
    assert bench.opened[0][1].recv(1 << 20).count(b"GET ") == 2
    assert bench.opened[0][1].recv(1) == b""
    assert len(wants) == 4


async def test_what_was_lent_in_the_old_name_is_still_withdrawn(bench: Bench, wants: list[Want]) -> None:
    """Its destination is taken away after our identity became another one: it ends as any other does."""
    connection, _ = bench.outbound()
    connection.data_received(REQUEST)
    await bench.opens()
    assert len(wants) == 1
    assert connection.exchange is not None
    upstream = connection.exchange.upstream
    assert upstream is not None
    bench.become("other")
    assert bench.doors.pools.open == 1
    bench.take("host: ledger", "host: elsewhere")
    assert upstream.ends_at < NEVER
    upstream.end()
    await settle()
    assert not bench.doors.pools.open


EDGE = ASKING.replace("orders.read]}]", "orders.read], exchange: {scope: orders.read}}]")


@pytest.mark.parametrize("bench", [EDGE], indirect=True)
async def test_a_peer_that_stays_is_asked_for_by_who_we_are(bench: Bench, wants: list[Want]) -> None:
    """The service compares who asks with our certificate, which is the new one; the peer has seen the old one."""
    connection, _ = bench.inbound()
    for name in ("orders", "other"):
        bench.become(name)
        connection.account.local = "spiffe://example.org/orders"
        connection.data_received(b"GET /orders/17 HTTP/1.1\r\nHost: orders\r\nAuthorization: Bearer a.b.c\r\n\r\n")
        await settle()
        assert wants.pop().client == f"spiffe://example.org/{name}"
        connection.exchange = None
    assert connection.account.local == "spiffe://example.org/orders"

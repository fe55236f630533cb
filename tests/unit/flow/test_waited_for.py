"""What is followed up while other rules, destinations or another identity are taken: it is wanted by the newest."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import CONFIG, Bench, settle

from proxy.flow.uses import Uses
from proxy.tokens.tts import TokenService, Want

ASKING = CONFIG.replace("propagate: tracestate", "token: {scope: ledger.read}").replace(
    "keys: jwks.json", 'keys: jwks.json, service: {url: "https://tts/token", spiffe_id: spiffe://example.org/tts}'
)
REQUEST = b"GET /a HTTP/1.1\r\nHost: ledger\r\n\r\n"


class Desk:
    """A token service that gives what it is asked for once ``may_give`` is set."""

    def __init__(self) -> None:
        self.may_give = asyncio.Event()
        self.asked: list[Want] = []
        self.held: set[Want] = set()

    def recall(self, want: Want, _now: float) -> bytes | None:
        """In the place of the service's."""
        return b"a.b.c" if want in self.held else None

    async def obtain(self, want: Want) -> bytes:
        """In the place of the service's."""
        self.asked.append(want)
        await self.may_give.wait()
        self.held.add(want)
        return b"a.b.c"


@pytest.fixture(name="desk")
async def _desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(TokenService, "recall", lambda _service, *told: made.recall(*told))
    monkeypatch.setattr(TokenService, "obtain", lambda _service, want: made.obtain(want))
    return made


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, ASKING)
    monkeypatch.setattr(made.doors._dialer, "dial", made.dial)
    yield made
    await made.sidecar.close()
    for _, other in made.opened:
        other.close()


@pytest.mark.parametrize("what", ["rules", "identity"])
async def test_another_token_is_wanted_by_now(bench: Bench, desk: Desk, what: str) -> None:
    """The request is not refused because of the one that it has waited for; nor is it asked for without an end."""
    connection, transport = bench.outbound()
    connection.data_received(REQUEST)
    await settle()
    if what == "rules":
        bench.take("ledger.read", "ledger.write")
    else:
        bench.become("other")
    desk.may_give.set()
    await bench.opens()
    assert transport.sent == b""
    assert len(desk.asked) == 2
    assert bench.received()["127.0.0.1:4"].count(b"Txn-Token: a.b.c") == 1


FACTS = (
    '{match: "PUT /orders", scopes: [orders.read], once: true, facts: {id: "header:x-id"}}',
    '{match: "PUT /orders", scopes: [orders.read], facts: {id: "body:/id"}}',
)


@pytest.mark.parametrize("is_judged", [True, False])
async def test_a_body_is_wanted_by_now(bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_judged: bool) -> None:
    """The body of a request that was shown to the older rules without it is read, and not taken as empty."""
    await bench.sidecar.keys.load()
    bench.text = bench.text.replace('{match: "GET /orders/{id}", scopes: [orders.read]}', FACTS[0])
    bench.take(FACTS[0], FACTS[0])
    turn = asyncio.Event()
    monkeypatch.setattr(Uses, "begin", lambda _uses: turn.is_set())
    monkeypatch.setattr(Uses, "turn", lambda _uses: turn.wait())
    connection, transport = bench.inbound()
    token = bench.mint.token(scope="orders.read", tctx={"id": "1"}).decode()
    fields = f"X-Id: 1\r\nTxn-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: 11"
    connection.data_received(f"PUT /orders HTTP/1.1\r\nHost: orders\r\n{fields}\r\n\r\n".encode() + b'{"id": "1"}')
    await settle()
    bench.take(*FACTS)
    if is_judged:
        await settle()
    turn.set()
    await bench.opens()
    assert transport.sent == b""
    assert bench.received()["127.0.0.1:2"].endswith(b'\r\n\r\n{"id": "1"}')

"""An authoriser outside agrees to what it was shown, and to nothing else that the same request may become."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import Bench, settle

from proxy.observe.catalog import Metrics
from proxy.outside.authoriser import Authoriser
from proxy.outside.opa import Opa
from proxy.outside.settings import OpaSettings, OutsideSettings
from proxy.tokens.fetch import Answer

RULE = "name: edge may read"


class Server:
    """OPA: it answers when it is let, and agrees to one rule alone."""

    def __init__(self) -> None:
        self.rules: list[str] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, _method: str, _url: str, *, body: bytes, **_more: object) -> Answer:
        """In the place of the fetch."""
        rule = json.loads(body)["input"]["rule"]
        self.rules.append(rule)
        await self.may_answer.wait()
        return Answer(200, {}, json.dumps({"result": rule == "edge may read"}).encode())


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.sidecar.keys.load()
    monkeypatch.setattr(made.doors._dialer, "dial", made.dial)
    made.may_open.set()
    yield made
    await made.sidecar.close()
    for _, other in made.opened:
        other.close()


@pytest.fixture(name="server")
def _server(bench: Bench) -> Server:
    """The authoriser of the inbound door."""
    server, settings = Server(), OpaSettings(url="http://opa/v1/data/mesh")
    way = Opa(settings, server, 1.0)  # type: ignore[arg-type]  # it is asked in one way
    assert bench.doors.inbound_door is not None
    bench.doors.inbound_door.authoriser = Authoriser(OutsideSettings(), way, lambda: 0.0, Metrics("0", "orders"))
    return server


async def test_under_another_rule_it_is_asked_again(bench: Bench, server: Server) -> None:
    """Other rules were taken while it was asked: what it agreed to is not what would be done."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request())
    await settle()
    bench.take(RULE, "name: edge may do more")
    server.may_answer.set()
    await settle()
    assert server.rules == ["edge may read", "edge may do more"]
    assert b'"authoriser_denied"' in transport.sent
    assert not bench.opened


async def test_under_the_same_rule_it_is_asked_once(bench: Bench, server: Server) -> None:
    """Also where other rules were taken that do not concern it."""
    connection, _ = bench.inbound()
    connection.data_received(bench.request())
    await settle()
    bench.take("scopes: [orders.read]\n", "scopes: [orders.read, orders.more]\n")
    server.may_answer.set()
    await settle()
    assert server.rules == ["edge may read"]
    assert bench.received()["127.0.0.1:2"].count(b"GET ") == 1


async def test_it_cannot_be_asked_again_once_a_connection_was_opened(bench: Bench, server: Server) -> None:
    """What waits there is refused rather than sent by a rule that nobody has agreed to."""
    bench.may_open.clear()
    connection, transport = bench.inbound()
    connection.data_received(bench.request())
    server.may_answer.set()
    await settle()
    bench.take(RULE, "name: edge may do more")
    await bench.opens()
    assert b'"authoriser_unavailable"' in transport.sent
    assert bench.received() == {"127.0.0.1:2": b""}

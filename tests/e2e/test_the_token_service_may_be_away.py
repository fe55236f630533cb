"""The token service, which serves the keys too, is killed under load and comes back: what could be served was served.

Tokens that are held and keys that are known go on as if nothing had happened. What is new waits with a reason (503),
and no token is called bad (401) because its key cannot be looked up.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.domain import Domain, domain_in
from support.load import Load
from support.mesh import orders_at, outbound
from support.sidecar import Sidecar, wait_until
from support.tokens import TokenMint
from support.tracing import full
from support.wire import Reply

from proxy.authority.keys import sign
from proxy.authority.state import State

WORKLOADS = """
workloads:
  - {name: gateway}
  - {name: edge, scopes: [orders.write, stock.read], issuers: ["https://login.example.com"]}
  - {name: orders, scopes: [stock.read], replaces: true}
"""
EDGE = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
policy:
  - name: the gateway may trade
    peers: [spiffe://example.org/gateway]
    scopes: [orders.write, stock.read]
    routes: [{{match: "GET /shop/{{id}}", exchange: {{scope: [orders.write]}}}}]
"""
ORDERS = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.write, stock.read]
    routes: [{{match: "GET /orders/{{id}}", scopes: [orders.write]}}]
"""


@pytest.fixture
def domain(tmp_path: Path) -> Iterator[Domain]:
    """A domain whose authority may be killed."""
    with domain_in(tmp_path, WORKLOADS) as made:
        yield made


class Chain:
    """gateway -> edge -> orders."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.app, app = domain.working_app(orders=("/orders/7", full)), domain.working_app()
        self.orders = domain.start("orders", ORDERS.format(app=app.port) + domain.tokens)
        to_orders = orders_at(self.orders) + ", propagate: tracestate"
        self.edge = domain.start("edge", EDGE.format(app=self.app.port) + domain.tokens + outbound(to_orders))
        self.app.port_of_sidecar = self.edge.ports["outbound"]

    def trade(self, sub: str) -> Reply:
        """Bring an access token to the edge."""
        with self.domain.connect(self.edge.ports["inbound"], "gateway") as wire:
            return wire.ask("GET", "/shop/7", self.domain.access(sub))

    def show(self, token: bytes | str) -> Reply:
        """Show a transaction token to orders, as edge."""
        raw = token if isinstance(token, str) else token.decode()
        with self.domain.connect(self.orders.ports["inbound"], "edge") as wire:
            return wire.ask("GET", "/orders/7", {"Txn-Token": raw})

    def load(self, renew: bool = False) -> Load:  # noqa: FBT001, FBT002 - as Load
        """Requests of alice, from end to end."""
        alice = self.domain.access("alice")

        def ask(wire: object) -> Reply:
            reply: Reply = wire.ask("GET", "/shop/7", alice)  # type: ignore[attr-defined]
            if reply.status == 200:
                reply.status = reply.json["said"]["orders"]["status"]
            time.sleep(0.02)  # the machine is for others, too
            return reply

        return Load(lambda: self.domain.connect(self.edge.ports["inbound"], "gateway"), ask, threads=2, renew=renew)


def of_the_service(domain: Domain, **claims: object) -> str:
    """A token that the service has signed, and that no sidecar has seen."""
    (key, *_) = State(domain.authority.state).signing_keys()
    now = int(time.time())
    valid: dict[str, object] = {"iss": "spiffe://example.org/tts", "aud": "example.org", "iat": now, "exp": now + 60}
    named = {
        "txn": f"t-{time.monotonic_ns()}",
        "sub": "x",
        "scope": "orders.write",
        "req_wl": "spiffe://example.org/edge",
    }
    return sign(key, valid | named | claims)


def test_killed_under_load_and_back(domain: Domain) -> None:
    """SIGKILL in the middle of traffic, some seconds without it, and the same port again."""
    chain = Chain(domain)
    assert chain.trade("alice").status == 200
    stranger = TokenMint(kid="stranger")
    with chain.load() as steady, chain.load(renew=True) as renewing:
        wait_until(lambda: steady.outcomes["200"] > 10, "traffic")
        domain.authority.kill()
        begun = steady.outcomes["200"]
        for name in ("bob", "carol"):
            answer = chain.trade(name)
            assert (answer.status, answer.reason) == (503, "tts_unavailable")
            assert answer.get("retry-after")
        for _ in range(3):
            assert chain.show(of_the_service(domain)).status == 200  # its key is known, though the token is new
            answer = chain.show(stranger.token(req_wl="spiffe://example.org/edge"))
            assert (answer.status, answer.reason) == (503, "keys_unavailable")
            assert answer.get("www-authenticate") == ""
            forged = of_the_service(domain)[:-8] + "AAAAAAAA"
            assert chain.show(forged).reason == "token_bad_signature"  # that much is known without anybody
            time.sleep(0.4)
        wait_until(lambda: steady.outcomes["200"] > begun + 30, "traffic without the service")
        assert chain.edge.ready
        domain.authority.come_back()
        wait_until(lambda: chain.trade("bob").status == 200, "new tokens again", 20)
        wait_until(lambda: chain.show(stranger.token()).reason == "token_unknown_key", "keys looked up again", 20)
    assert not steady.lost, steady.lost
    assert not renewing.lost, renewing.lost
    assert chain.orders.decisions(reason="keys_unavailable") >= 3
    assert chain.edge.decisions(reason="tts_unavailable") >= 2


def test_it_flaps(domain: Domain) -> None:
    """Killed again and again while everybody brings new tokens: each is served or told why, and nobody is called bad."""
    chain = Chain(domain)
    assert chain.trade("alice").status == 200
    outcomes: list[tuple[int, str]] = []
    ended = threading.Event()

    def newcomers() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            answer = chain.trade(f"user-{number}")
            outcomes.append((answer.status, answer.reason))

    thread = threading.Thread(target=newcomers, daemon=True)
    with chain.load() as steady:
        wait_until(lambda: steady.outcomes["200"] > 10, "traffic")
        thread.start()
        for _ in range(3):
            domain.authority.kill()
            time.sleep(0.3)
            domain.authority.come_back()
            served = outcomes.count((200, ""))
            wait_until(lambda served=served: outcomes.count((200, "")) > served, "newcomers", 20)  # type: ignore[misc]
        ended.set()
        thread.join(20)
    assert not steady.lost, steady.lost
    assert set(outcomes) <= {(200, ""), (503, "tts_unavailable")}, set(outcomes)


def test_a_sidecar_that_starts_without_it(domain: Domain) -> None:
    """It says why it is not ready, takes nothing for granted, and serves when the keys are there."""
    chain = Chain(domain)
    domain.authority.kill()
    late: Sidecar = domain.launch("orders", ORDERS.format(app=1) + domain.tokens)
    wait_until(lambda: "keys" in late.get("health", "/healthz/ready")[1], "why it is not ready")
    with domain.connect(late.ports["inbound"], "edge") as wire:
        answer = wire.ask("GET", "/orders/7", {"Txn-Token": of_the_service(domain)})
        assert (answer.status, answer.reason) == (503, "keys_unavailable")
        domain.authority.come_back()
        late.wait_until_ready()
        assert wire.ask("GET", "/orders/7", {"Txn-Token": of_the_service(domain)}).reason == "upstream_down"  # no app
    assert chain.trade("zoe").status == 200


def test_a_sidecar_that_starts_again_without_it(domain: Domain) -> None:
    """With ``keys_copy`` it has the last good keys on disk: it is ready, and serves what they have signed."""
    app = domain.working_app()
    kept = domain.tokens.replace("tokens:\n", f"tokens:\n  keys_copy: {domain.folder}/keys.json\n")
    first = domain.start("orders", ORDERS.format(app=app.port) + kept)
    assert (domain.folder / "keys.json").exists()
    domain.authority.kill()
    first.stop()
    again = domain.start("orders", ORDERS.format(app=app.port) + kept)
    with domain.connect(again.ports["inbound"], "edge") as wire:
        assert wire.ask("GET", "/orders/7", {"Txn-Token": of_the_service(domain)}).status == 200
        stranger = TokenMint(kid="stranger").token().decode()
        assert wire.ask("GET", "/orders/7", {"Txn-Token": stranger}).reason == "keys_unavailable"
    domain.authority.come_back()

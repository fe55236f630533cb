"""An agent's access token becomes one transaction over four hops and a fan-out, with hardly a word of it in any app.

edge -> orders -> payments -> ledger, and orders -> stock, which sees less of it. The authority is the token service.
"""

import json
import signal
import time
from collections.abc import Iterator

import pytest
from support.domain import Domain, claims_of
from support.mesh import orders_at, outbound
from support.sidecar import Sidecar
from support.tracing import copied, full, traceparent_alone

WORKLOADS = """
workloads:
  - {name: gateway}
  - {name: edge, scopes: [orders.write, stock.read, pay.write, ledger.write], context: true, issuers: ["https://login.example.com"]}
  - {name: orders, scopes: [stock.read], replaces: true}
  - {name: payments}
  - {name: ledger}
  - {name: stock}
"""
SCOPES = "[orders.write, stock.read, pay.write, ledger.write]"
INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
policy:
  - name: {peer} may call
    peers: [spiffe://example.org/{peer}]
    scopes: {scopes}
    {more}
    routes: [{{match: "GET {path}", {route}}}]
"""
EDGE_ROUTE = "exchange: {scope: [orders.write, stock.read, pay.write, ledger.write], details: {order: path:id}}"


class Chain:
    """Five sidecars with their apps, by name."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.sidecars: dict[str, Sidecar] = {}
        self.apps = {
            "edge": domain.working_app(orders=("/orders/7", full)),
            "orders": domain.working_app(stock=("/items/7", full), payments=("/payments/7", copied)),
            "payments": domain.working_app(ledger=("/entries/7", traceparent_alone)),
            "ledger": domain.working_app(),
            "stock": domain.working_app(),
        }
        self.begin("ledger", "payments", "/entries/{id}", "scopes: [ledger.write]", more='actors: ["agent-*"]')
        self.begin("stock", "orders", "/items/{id}", "scopes: [stock.read]", scopes="[stock.read]")
        self.begin("payments", "orders", "/payments/{id}", "scopes: [pay.write]", self.to("ledger", "traceparent"))
        to_stock = self.to("stock", "tracestate") + ", narrow: [stock.read]"
        self.begin("orders", "edge", "/orders/{id}", "scopes: [orders.write]", to_stock, self.to("payments", "never"))
        self.begin("edge", "gateway", "/shop/{id}", EDGE_ROUTE, self.to("orders", "tracestate"))

    def to(self, name: str, propagate: str) -> str:
        """The destination of a workload that has begun."""
        return orders_at(self.sidecars[name], name, f"spiffe://example.org/{name}") + f", propagate: {propagate}"

    def begin(
        self, name: str, peer: str, path: str, route: str, *destinations: str, scopes: str = SCOPES, more: str = ""
    ) -> None:
        """Start a sidecar that lets ``peer`` in by one route."""
        app = self.apps[name]
        body = INBOUND.format(app=app.port, peer=peer, path=path, route=route, scopes=scopes, more=more)
        body += self.domain.tokens + (outbound(*destinations) if destinations else "")
        self.sidecars[name] = made = self.domain.start(name, body)
        app.port_of_sidecar = made.ports.get("outbound", 0)

    def ask(self, **access: object) -> dict[str, dict[str, object]]:
        """Bring an access token to the edge; give what the app of each workload saw, or why it was refused."""
        for app in self.apps.values():
            app.seen.clear()
        with self.domain.connect(self.sidecars["edge"].ports["inbound"], "gateway") as wire:
            answer = wire.ask("GET", "/shop/7", self.domain.access(**access))  # type: ignore[arg-type]
        return dict(told("edge", {"status": answer.status, **answer.json}))


def told(name: str, answer: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Spread the tree of answers out."""
    said = answer.pop("said", {})
    yield name, answer
    assert isinstance(said, dict)
    for other, one in said.items():
        yield from told(other, one)


def claims(answer: dict[str, object]) -> dict[str, object]:
    """What the token says that an app saw."""
    fields = answer["fields"]
    assert isinstance(fields, dict)
    return claims_of(fields)


@pytest.fixture(scope="module")
def chain(domain: Domain) -> Chain:
    """The chain of the file."""
    return Chain(domain)


def test_one_transaction_at_every_hop(chain: Chain) -> None:
    """Four hops and a branch: one txn, one person, the same facts; the access token is seen by nobody."""
    found = chain.ask(sub="alice")
    assert {name: answer["status"] for name, answer in found.items()} == dict.fromkeys(chain.apps, 200)
    said = {name: claims(answer) for name, answer in found.items()}
    assert len({str(one["txn"]) for one in said.values()}) == 1
    assert {(one["sub"], one["aud"]) for one in said.values()} == {("user:alice", "example.org")}
    assert all(one["tctx"] == {"order": "7"} for one in said.values())
    for answer in found.values():
        assert isinstance(answer["fields"], dict)
        assert "authorization" not in answer["fields"]
        assert answer["fields"]["x-forwarded-client-cert"].count("URI=") == 1


def test_byte_for_byte_but_where_it_is_narrowed(chain: Chain) -> None:
    """The stock sees one scope, from the token service for orders; all others see the very token of the edge."""
    found = chain.ask(sub="bob")
    tokens = {name: answer["fields"]["txn-token"] for name, answer in found.items()}  # type: ignore[index]
    assert len({tokens[name] for name in ("edge", "orders", "payments", "ledger")}) == 1
    assert tokens["stock"] != tokens["edge"]
    narrow, wide = claims(found["stock"]), claims(found["edge"])
    assert (narrow["scope"], narrow["req_wl"]) == ("stock.read", "spiffe://example.org/orders")
    assert narrow["exp"] <= wide["exp"]  # type: ignore[operator]
    assert wide["scope"] == "orders.write stock.read pay.write ledger.write"
    assert narrow["rctx"] == {"req_wl": ["spiffe://example.org/edge"]}


def test_who_acts_is_seen_at_the_end(chain: Chain, domain: Domain) -> None:
    """A chain of two agents: the last app reads it, and each log says who acts, for whom by hash, through whom."""
    act = {"sub": "agent-2", "act": {"sub": "agent-1"}}
    found = chain.ask(sub="carol", act=act)
    assert claims(found["ledger"])["act"] == claims(found["stock"])["act"] == act
    txn = claims(found["ledger"])["txn"]
    for name, peer in (("edge", "gateway"), ("orders", "edge"), ("payments", "orders"), ("ledger", "payments")):
        until = time.monotonic() + 10
        while not (records := [one for one in domain.records(name) if one.get("txn") == txn]):
            assert time.monotonic() < until
            time.sleep(0.05)
        inbound = next(one for one in records if one["direction"] == "inbound")
        assert (inbound["actor"], inbound["through"]) == ("agent-2", ["agent-1"]), name
        assert inbound["peer"] == f"spiffe://example.org/{peer}"
        assert "carol" not in json.dumps(inbound)
        assert len(inbound["subject_sha256"]) == 16


def test_whom_the_policy_does_not_let_act(chain: Chain) -> None:
    """The ledger takes agents of one name alone: the fourth hop refuses another, and the three before are not harmed."""
    found = chain.ask(sub="dave", client_id="robot-1")
    assert (found["ledger"]["status"], found["ledger"]["reason"]) == (403, "actor_not_allowed")
    assert {name: found[name]["status"] for name in ("edge", "orders", "payments", "stock")} == dict.fromkeys(
        ("edge", "orders", "payments", "stock"), 200
    )
    assert chain.apps["ledger"].seen == []


@pytest.mark.parametrize(
    ("path", "passes_on", "status", "reason"),
    [
        ("/other/7", full, 403, "route_not_allowed"),
        ("/items/7", traceparent_alone, 401, "token_missing"),
        ("/items/7", lambda _: {"Txn-Token": "x"}, 401, "token_malformed"),
    ],
    ids=["over there", "here, for it is not marked", "here, for it is no token"],
)
def test_a_branch_that_is_refused_harms_no_other(
    chain: Chain, path: str, passes_on: object, status: int, reason: str
) -> None:
    """The other branch goes on to its end, in the same transaction."""
    chain.apps["orders"].asks["stock"], kept = (path, passes_on), chain.apps["orders"].asks["stock"]  # type: ignore[assignment]
    try:
        found = chain.ask(sub="erin")
    finally:
        chain.apps["orders"].asks["stock"] = kept
    assert (found["stock"]["status"], found["stock"]["reason"]) == (status, reason)
    assert chain.apps["stock"].seen == []
    assert [found[name]["status"] for name in ("edge", "orders", "payments", "ledger")] == [200] * 4
    assert claims(found["ledger"])["txn"] == claims(found["edge"])["txn"]


def test_a_branch_that_cannot_be_narrowed(chain: Chain) -> None:
    """The transaction has nothing that the stock may see: that call ends at orders, and all others are served."""
    found = chain.ask(sub="frank")
    edge = chain.sidecars["edge"]
    assert found["stock"]["status"] == 200
    route = EDGE_ROUTE.replace("stock.read, ", "")
    text = edge.config.read_text()
    edge.config.write_text(text.replace(EDGE_ROUTE, route))
    try:
        edge.signal(signal.SIGHUP)
        edge.wait_for_log("reload")
        found = chain.ask(sub="frank")
        assert (found["stock"]["status"], found["stock"]["reason"]) == (403, "scope_missing")
        assert chain.apps["stock"].seen == []
        assert [found[name]["status"] for name in ("edge", "orders", "payments", "ledger")] == [200] * 4
    finally:
        edge.config.write_text(text)
        edge.signal(signal.SIGHUP)

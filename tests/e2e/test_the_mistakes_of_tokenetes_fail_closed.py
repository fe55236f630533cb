"""Tokenetes bound requests to tokens first, and could be walked around in five ways; each of them ends here.

The numbers are those of its review (peers section 5).
"""

import json
from typing import Any

import pytest
from support.apps import App
from support.mesh import Mesh, outbound
from support.sidecar import Sidecar
from support.tokens import ABSENT
from support.wire import Reply

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge trades
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write, orders.admin]
    routes:
      - match: "POST /trade"
        facts:
          a: optional body:/a
          quantity: body:/quantity
          b: optional body:/b
          account: body:/account
          c: optional body:/c
      - {{match: "GET /**", scopes: [orders.read]}}
      - {{match: "GET /internal/**", scopes: [orders.admin]}}
      - {{match: "GET /internal/{{name}}/open", scopes: [orders.read]}}
      - {{match: "GET /v1.0/stock+/{{id}}", scopes: [orders.admin], facts: {{id: path:id, action: query:action}}}}
"""
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind it."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """The sidecar with rules of the kind that Tokenetes has."""
    return mesh.start("orders", YAML.format(app=app.port))


@pytest.fixture(autouse=True)
def _anew(app: App) -> None:
    app.requests.clear()


def ask(mesh: Mesh, orders: Sidecar, method: str, target: str, body: Any = None, **claims: Any) -> Reply:
    """One request."""
    raw = b"" if body is None else json.dumps(body).encode()
    with mesh.connect(orders.ports["inbound"]) as wire:
        return wire.ask(method, target, mesh.bearer(**claims) | JSON, raw)


def test_1_what_the_app_does_not_copy_is_not_sent_as_something_else(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Tokenetes never touches outbound. Here a call without a transaction has none, and the next hop refuses it."""
    address = f'"127.0.0.1:{orders.ports["inbound"]}"'
    edge = mesh.start(
        "edge",
        f'inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app.port}"}}\n'
        "tokens: {keys: jwks.json}\n"
        'policy: [{name: nobody, peers: ["spiffe://example.org/nobody"], routes: [{match: "GET /a"}]}]\n'
        + outbound(f"host: orders, address: {address}, spiffe_id: spiffe://example.org/orders, propagate: traceparent"),
    )
    with mesh.plain(edge.ports["outbound"]) as wire:
        assert wire.ask("GET", "/a", host="orders").reason == "token_missing"
    assert app.requests == []


def test_2_an_optional_fact_that_is_missing_skips_no_other(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """All are looked at, every time: a hundred tries, for there it was a matter of chance."""
    for _ in range(20):
        for body, tctx, reason in (
            ({"quantity": 9, "account": "x"}, {"quantity": 1, "account": "x"}, "fact_mismatch"),
            ({"quantity": 1, "account": "y"}, {"quantity": 1, "account": "x"}, "fact_mismatch"),
            ({"quantity": 1}, {"quantity": 1, "account": "x"}, "fact_unusable"),
            ({"quantity": 1, "account": "x"}, {"quantity": 1}, "fact_unauthorised"),
            ({"quantity": 1, "account": "x", "c": 1}, {"quantity": 1, "account": "x"}, "fact_unauthorised"),
        ):
            assert ask(mesh, orders, "POST", "/trade", body, tctx=tctx).reason == reason
    assert app.requests == []
    tctx = {"quantity": 1, "account": "x"}
    assert ask(mesh, orders, "POST", "/trade", tctx, tctx=tctx).status == 200


def test_3_of_routes_that_overlap_the_most_specific_decides(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Whatever their order: a wide one never exempts what a narrow one protects."""
    for _ in range(20):
        assert ask(mesh, orders, "GET", "/internal/keys", scope="orders.read").reason == "scope_missing"
    assert app.requests == []
    assert ask(mesh, orders, "GET", "/internal/keys/open", scope="orders.read").status == 200
    assert ask(mesh, orders, "GET", "/public", scope="orders.read").status == 200


def test_4_a_template_is_no_pattern(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Dots and plusses are themselves; a query is bound by its own fact, and a template with one is refused."""
    tctx = {"id": "7", "action": "BUY"}
    good = "/v1.0/stock+/7?action=BUY"
    assert ask(mesh, orders, "GET", good, scope="orders.admin", tctx=tctx).status == 200
    for target in ("/v1x0/stock+/7?action=BUY", "/v1.0/stockk/7?action=BUY", "/v1.0/stock/7?action=BUY"):
        assert ask(mesh, orders, "GET", target, scope="orders.admin", tctx=tctx).reason == "scope_missing"
    for target in ("/v1.0/stock+/8?action=BUY", "/v1.0/stock+/7?action=SELL"):
        assert ask(mesh, orders, "GET", target, scope="orders.admin", tctx=tctx).reason == "fact_mismatch"
    assert len(app.requests) == 1
    bad = YAML.format(app=app.port).replace("GET /v1.0/stock+/{id}", "GET /v1.0/{id}?action={action}")
    code, told = mesh.fails("bad", bad)
    assert code != 0
    assert "the query and the fragment take no part" in told


@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({"typ": ABSENT}, {}, "token_wrong_type"),
        ({"typ": "JWT"}, {}, "token_wrong_type"),
        ({}, {"exp": ABSENT}, "token_claims_invalid"),
        ({}, {"iat": ABSENT}, "token_claims_invalid"),
        ({}, {"txn": ABSENT}, "token_claims_invalid"),
        ({}, {"aud": ["example.org", "other.org"]}, "token_claims_invalid"),
    ],
)
def test_5_a_token_that_lacks_what_makes_it_one(
    mesh: Mesh, app: App, orders: Sidecar, header: dict[str, object], claims: dict[str, Any], reason: str
) -> None:
    """Without ``typ``, ``exp``, ``iat`` or ``txn`` it is refused, however right its facts are."""
    tctx = {"quantity": 1, "account": "x"}
    raw = mesh.mint.token(header=header, tctx=tctx, **claims)
    with mesh.connect(orders.ports["inbound"]) as wire:
        answer = wire.ask("POST", "/trade", {"Txn-Token": raw.decode()} | JSON, json.dumps(tctx).encode())
    assert (answer.status, answer.reason) == (401, reason)
    assert app.requests == []

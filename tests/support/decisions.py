"""A table of decisions: one policy, hand-written cases, and generated ones. Three judges have to agree on each of them.

The judges are ``svidecar explain``, a running sidecar, and ``support/reference.py``.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

POLICY = r"""
environment: {stage: prod}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write, orders.cancel]
    routes:
      - {match: "GET /orders/{id}", scopes: [orders.read]}
      - {match: "HEAD /orders/{id}", scopes: [orders.read]}
      - {match: "GET /orders/mine", scopes: [orders.write]}
      - {match: "GET /orders/{id}/**", scopes: [orders.read]}
      - {match: "POST /orders", scopes: [orders.write]}
      - {match: "DELETE /orders/{id}", scopes: [orders.write, orders.cancel]}
      - {match: "* /any/**"}
      - {match: "PUT /any/thing", scopes: [orders.write]}
      - {match: "GET /"}
      - {match: "OPTIONS *"}
  - name: agents may read reports
    peers: [spiffe://example.org/agents/*]
    scopes: [reports.read]
    actors: [agents/*]
    subjects: [users/*, root]
    routes:
      - {match: "GET /reports/{name}", scopes: [reports.read]}
      - {match: "GET /reports/public"}
  - name: persons may read reports
    peers: [spiffe://example.org/agents/*]
    scopes: [reports.read]
    actors: [none]
    routes:
      - {match: "GET /reports/{name}"}
  - name: desk may trade
    peers: [spiffe://example.org/desk]
    scopes: [trade]
    hosts: [orders, "trading.example.org:8443", "*.desk.example.org"]
    tctx: {action: [BUY, SELL], /limit/max: 100, live: true}
    max_token_age: 60s
    routes:
      - {match: "POST /trades", scopes: [trade]}
      - match: "POST /trades/{stock}"
        scopes: [trade]
        facts: {stock: path:stock, desk: optional header:x-desk}
  - name: jobs may run in production
    trust_domains: [example.org]
    scopes: [jobs.run]
    when: environment.stage == "prod" && peer.path.startsWith("/jobs/") && token.tctx.cost <= 10
    routes:
      - {match: "POST /jobs/{name}", scopes: [jobs.run]}
  - name: jobs may look with a tenant
    peers: [spiffe://example.org/jobs/*]
    when: request.headers["x-tenant"] == token.tctx.tenant
    routes:
      - {match: "GET /jobs/{name}"}
  - name: nobody administers
    effect: deny
    routes: [{match: "* /any/admin/**"}, {match: "GET /any/secret"}]
  - name: no root behind agents
    effect: deny
    peers: [spiffe://example.org/agents/*]
    subjects: [root]
    actors: [agents/*]
  - name: the fired desk is out
    effect: deny
    peers: [spiffe://example.org/agents/fired, spiffe://example.org/jobs/old/*]
  - name: no cancelling of foreign orders
    effect: deny
    peers: [spiffe://example.org/edge]
    scopes: [orders.cancel]
    tctx: {region: [us, uk]}
    routes: [{match: "DELETE /orders/{id}"}]
  - name: nothing by a debug host
    effect: deny
    hosts: ["*.debug.example.org"]
  - name: no method behind a method
    effect: deny
    peers: [spiffe://example.org/edge]
    when: '"x-http-method-override" in request.headers'
    routes: [{match: "POST /orders"}]
"""
"""Every kind of condition, and rules that stand in each other's way."""

EDGE, AGENT, FIRED, DESK, JOB, OLD, NOBODY = (
    f"spiffe://example.org/{path}"
    for path in ("edge", "agents/one", "agents/fired", "desk", "jobs/nightly", "jobs/old/one", "nobody")
)
TRADE: dict[str, Any] = {"action": "BUY", "limit": {"max": 100}, "live": True, "stock": "ACME"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One case. ``claims`` None: no token; ``age_s``: since the token was issued."""

    peer: str = EDGE
    method: str = "GET"
    path: str = "/orders/7"
    host: str = "orders"
    fields: tuple[tuple[str, str], ...] = ()
    claims: dict[str, Any] | None = field(default_factory=lambda: {"scope": "orders.read"})
    age_s: float = 5.0


def token(scope: str, sub: str = "users/alice", acting: str = "", **tctx: Any) -> dict[str, Any]:
    """Claims, as far as they differ from case to case."""
    return {"scope": scope, "sub": sub, "tctx": tctx, **({"act": {"sub": acting}} if acting else {})}


def _edge() -> Iterator[Decision]:
    read, write, both = token("orders.read"), token("orders.write"), token("orders.read orders.write")
    yield from (Decision(path=path, claims=read) for path in (
        "/orders/7", "/orders/mine", "/orders/7/lines", "/orders/7/", "/orders/", "/orders", "/Orders/7", "/", "/any",
        "/any/", "/any/thing", "/any/a/b/c", "/orders/7?x=/../", "/orders//7", "/orders/./7", "/orders/../7", "//",
        "/orders/7%2flines", "/orders/%37", "/orders/7;a=b", "/orders/%00", "/orders/7\\a", "/orders/a%40b",
        "/orders/%e2%82%ac", "/orders/%ff", "/orders/%252e", "/orders/7%", "/orders/a:b@c", "/orders/mine?", "/orders/Mine",
    ))  # fmt: skip
    yield from (Decision(path=path, claims=read) for path in (
        "/any/admin", "/any/admin/", "/any/admin/users", "/any/Admin/users", "/ANY/admin/x", "/any/ADMIN", "/any/admin.",
        "/any/admin./x", "/any/administer", "/any/a/admin", "/any/secret", "/any/Secret/", "/any/secret/of", "/any/secret.",
        "/any/%C4%80dmin/x", "/any/%EF%BD%81dmin/x", "/any/adm%C4%B1n", "/any/admin%20/x", "/any/%61dmin", "/any//admin",
        "/any/admin;x/y", "/any/x/../admin", "/any/admin%2fx", "/any/admin%C2%A0/x", "/any/admin?x=1", "/any/secret?",
    ))  # fmt: skip
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "QUERY", "TRACE"):
        yield from (
            Decision(method=method, path=path, claims=both) for path in ("/orders/7", "/any/thing", "/any/secret")
        )
    yield Decision(method="OPTIONS", path="*", claims=read)
    yield Decision(method="OPTIONS", path="/*", claims=read)
    yield Decision(method="POST", path="/orders", claims=write)
    yield Decision(method="POST", path="/orders", claims=read)
    yield Decision(method="POST", path="/orders", claims=write, fields=(("X-HTTP-Method-Override", "DELETE"),))
    yield Decision(method="POST", path="/orders", claims=write, fields=(("x-http-method-override", "DELETE"),) * 2)
    yield Decision(method="POST", path="/orders", claims=write, fields=(("X-HTTP-METHOD-OVERRIDE", ""),))
    yield Decision(method="POST", path="/orders", claims=write, fields=(("X-Trace", "1"), ("X-Trace", "2")))
    yield Decision(path="/orders/7", claims=None)
    yield Decision(path="/nowhere", claims=None)
    yield from (
        Decision(claims=token(scope)) for scope in ("admin", "orders.read admin", "Orders.read", "orders.write")
    )
    for tctx in ({"region": "us"}, {"region": "eu"}, {"region": "US"}, {"region": ["us"]}, {"region": None}, {}):
        for scope in ("orders.write orders.cancel", "orders.write", "orders.cancel"):
            yield Decision(method="DELETE", claims=token(scope, **tctx))
    for host in (
        "orders",
        "ORDERS:80",
        "a.debug.example.org",
        "A.Debug.Example.Org:1",
        "debug.example.org",
        "xdebug.example.org",
        "orders.",
    ):
        yield Decision(host=host, claims=read)
        yield Decision(host=host, path=f"http://{host}/orders/7", claims=read)
    yield Decision(host="orders", path="http://a.debug.example.org/orders/7", claims=read)
    yield Decision(host="a.debug.example.org", path="http://orders/orders/7", claims=read)


def _agents() -> Iterator[Decision]:
    for peer in (AGENT, FIRED, "spiffe://example.org/agents", "spiffe://example.org/agentsx/one"):
        for sub in ("users/alice", "root", "bob", "users"):
            for acting in ("", "agents/7", "agent", "users/alice2"):
                yield Decision(peer=peer, path="/reports/q3", claims=token("reports.read", sub, acting))
    for path in ("/reports/public", "/reports/q3", "/reports", "/reports/a/b"):
        yield Decision(peer=AGENT, path=path, claims=token("other", acting="agents/7"))
        yield Decision(peer=AGENT, path=path, claims=token("reports.read"))


def _desk() -> Iterator[Decision]:
    def trade(path: str = "/trades", host: str = "orders", age_s: float = 5.0, **tctx: Any) -> Decision:
        return Decision(
            peer=DESK, method="POST", path=path, host=host, claims=token("trade", **(TRADE | tctx)), age_s=age_s
        )

    yield trade()
    yield from (trade(age_s=age_s) for age_s in (0.0, 50.0, 80.0, 200.0))
    yield from (trade(action=action) for action in ("SELL", "HOLD", "buy", 1, True, None, ["BUY"]))
    yield from (
        trade(limit=limit) for limit in ({"max": 100.0}, {"max": 100.5}, {"max": "100"}, {"max": True}, {}, 100, None)
    )
    yield from (trade(live=live) for live in (False, 1, "true", None))
    for host in (
        "orders:80",
        "trading.example.org",
        "trading.example.org:8443",
        "a.desk.example.org",
        "desk.example.org",
        "ORDERS",
        "xorders",
    ):
        yield trade(host=host)
    yield from (
        trade(path=path) for path in ("/trades/ACME", "/trades/acme", "/trades/A%43ME", "/trades/", "/trades/ACME/")
    )
    with_desk = token("trade", **(TRADE | {"desk": "eq"}))
    for fields in ((("X-Desk", "eq"),), (("X-Desk", "fx"),), (("x-desk", "eq"), ("X-Desk", "eq")), ()):
        yield Decision(peer=DESK, method="POST", path="/trades/ACME", claims=with_desk, fields=fields)


def _jobs() -> Iterator[Decision]:
    for peer in (JOB, OLD, NOBODY, EDGE, "spiffe://example.org/jobs"):
        for cost in (5, 10, 10.5, "5", None):
            yield Decision(peer=peer, method="POST", path="/jobs/backup", claims=token("jobs.run", cost=cost))
    yield Decision(peer=JOB, method="POST", path="/jobs/backup", claims=token("jobs.run"))
    for fields in (
        (("X-Tenant", "a"),),
        (("X-Tenant", "b"),),
        (("X-Tenant", "a"), ("x-tenant", "a")),
        (),
        (("x-TENANT", " a "),),
    ):
        for tenant in ("a", None):
            yield Decision(peer=JOB, path="/jobs/backup", claims=token("jobs.run", tenant=tenant), fields=fields)


def written() -> list[Decision]:
    """The cases that a person thought of."""
    return [*_edge(), *_agents(), *_desk(), *_jobs()]


_PIECES = (
    "7",
    "7",
    "mine",
    "admin",
    "Admin.",
    "secret",
    "thing",
    "q3",
    "public",
    "ACME",
    "ACME",
    "backup",
    "a%40b",
    "",
)
_READY = (("region", ("eu", "us", "uk")), ("action", ("BUY", "SELL", "HOLD")), ("limit", ({"max": 100}, {"max": 100}, {"max": 5})),
          ("live", (True, True, False)), ("cost", (1, 10, 11)), ("tenant", ("a", "b")), ("stock", ("ACME", "ACME", "7")))  # fmt: skip
_FIELDS = (
    (),
    (),
    (("X-Tenant", "a"),),
    (("X-Tenant", "a"),),
    (("X-HTTP-Method-Override", "PUT"),),
    (("X-Desk", "eq"),),
)
_USUAL: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    EDGE: (
        ("orders.read", "orders.write", "orders.cancel"),
        ("/orders/{}", "/orders/{}", "/orders", "/any/{}", "/any/{}/{}"),
    ),
    AGENT: (("reports.read",), ("/reports/{}",)),
    DESK: (("trade",), ("/trades", "/trades/{}")),
    JOB: (("jobs.run",), ("/jobs/{}",)),
    OLD: (("jobs.run",), ("/jobs/{}",)),
}
"""What a peer has and does on most days."""


def generated(count: int, seed: int) -> list[Decision]:
    """Cases that nobody thought of: each part is drawn alone, most of them from what is usual for the peer."""
    draw = random.Random(seed)

    def one() -> Decision:
        peer = draw.choice((EDGE,) * 4 + (AGENT,) * 3 + (DESK,) * 2 + (JOB,) * 2 + (OLD,))
        scopes, places = _USUAL[peer if draw.random() < 0.95 else EDGE]
        tctx = {name: draw.choice(values) for name, values in _READY if draw.random() < 0.85}
        acting = draw.choice(("", "", "agents/7", "bob"))
        scope = " ".join(sorted({draw.choice(scopes) for _ in range(draw.choice((1, 2, 3)))}))
        return Decision(
            peer=peer,
            method=draw.choice(("GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD")),
            path=draw.choice(places).format(*(draw.choice(_PIECES) for _ in range(2))),
            host=draw.choice(("orders", "orders", "orders", "a.debug.example.org", "x.desk.example.org")),
            fields=draw.choice(_FIELDS),
            claims=token(scope, draw.choice(("users/a", "root", "b")), acting, **tctx),
            age_s=draw.choice((5.0, 5.0, 5.0, 120.0)),
        )

    return [one() for _ in range(count)]

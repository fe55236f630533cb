"""The Grant of a connection is its ceiling, the token is what it brings, the route is what it needs: all three must fit."""

import pytest
from support.apps import App
from support.mesh import Mesh, new_trace
from support.sidecar import Sidecar
from support.wire import Wire

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "POST /orders", scopes: [orders.read, orders.write]}}
      - {{match: "GET /health"}}
  - name: auditors may look
    peers: [spiffe://example.org/audit/*]
    scopes: [orders.read]
    audiences: [example.org]
    routes:
      - {{match: "GET /orders/**", scopes: [orders.read]}}
"""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecar."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar with two rules."""
    return mesh.start("orders", YAML.format(app=app.port))


CASES = {
    "fits": ("edge", "orders.read", "GET", "/orders/1", 200, ""),
    "both of two": ("edge", "orders.read orders.write", "POST", "/orders", 200, ""),
    "one of two": ("edge", "orders.read", "POST", "/orders", 403, "scope_missing"),
    "another one": ("edge", "orders.write", "GET", "/orders/1", 403, "scope_missing"),
    "nothing needed": ("edge", "orders.write", "GET", "/health", 200, ""),
    "beyond the grant, though the route needs nothing": ("edge", "admin", "GET", "/health", 403, "scope_beyond_grant"),
    "beyond the grant, beside what is needed": (
        "edge",
        "orders.read admin",
        "GET",
        "/orders/1",
        403,
        "scope_beyond_grant",
    ),
    "scope of another case": ("edge", "Orders.read", "GET", "/orders/1", 403, "scope_beyond_grant"),
    "the ceiling of another peer": (
        "audit/one",
        "orders.read orders.write",
        "GET",
        "/orders/1",
        403,
        "scope_beyond_grant",
    ),
    "the route of another peer": ("audit/one", "orders.read", "GET", "/health", 403, "route_not_allowed"),
    "below a prefix": ("audit/one", "orders.read", "GET", "/orders/1/lines", 200, ""),
    "no route": ("edge", "orders.read", "GET", "/orders/1/lines", 403, "route_not_allowed"),
    "another method": ("edge", "orders.read", "DELETE", "/orders/1", 403, "route_not_allowed"),
    "HEAD is not GET": ("edge", "orders.read", "HEAD", "/orders/1", 403, "route_not_allowed"),
    "method in lower case": ("edge", "orders.read", "get", "/orders/1", 403, "route_not_allowed"),
    "encoded slash": ("edge", "orders.read", "GET", "/orders/1%2f..%2f..%2fhealth", 400, "ambiguous_path"),
    "dots": ("edge", "orders.read", "GET", "/orders/../health", 400, "ambiguous_path"),
    "empty segment": ("edge", "orders.read", "GET", "//orders/1", 400, "ambiguous_path"),
    "semicolon": ("edge", "orders.read", "GET", "/orders/1;a=b", 400, "ambiguous_path"),
    "NUL": ("edge", "orders.read", "GET", "/orders/%00", 400, "ambiguous_path"),
    "a query does not matter": ("edge", "orders.read", "GET", "/orders/1?x=/../a;b//c", 200, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_scope(mesh: Mesh, orders: Sidecar, app: App, name: str) -> None:
    """What does not fit has its reason in the answer, the metric and the log, and stays away from the app."""
    peer, scope, method, target, status, reason = CASES[name]
    wire = _connection(mesh, orders, peer)
    seen, trace = len(app.requests), new_trace()
    answer = wire.ask(method, target, mesh.bearer(scope=scope) | trace)
    assert answer.status == status
    assert method == "HEAD" or answer.reason == reason, "an answer to HEAD has no body"
    record = mesh.record("orders", trace)
    assert record["peer"] == f"spiffe://example.org/{peer}"
    assert (
        (record["decision"], record["reason"]) == ("deny", reason or "route_not_allowed")
        if status != 200
        else ("allow", "")
    )
    assert len(app.requests) == seen + (status == 200)
    if status == 200:
        assert app.requests[-1]["target"] == target, "forwarded as it came: normalising is for the decision alone"


_open: dict[str, Wire] = {}


def _connection(mesh: Mesh, orders: Sidecar, peer: str) -> Wire:
    if peer not in _open:
        _open[peer] = mesh.connect(orders.ports["inbound"], peer)
    return _open[peer]


def test_the_verdicts_are_counted(orders: Sidecar) -> None:
    """With the rule that gave a permit, and without one where none did."""
    assert orders.decisions(decision="allow", rule="edge may order") >= 4
    assert orders.decisions(decision="allow", rule="auditors may look") >= 1
    for reason in ("scope_missing", "scope_beyond_grant", "route_not_allowed", "ambiguous_path"):
        assert orders.decisions(decision="deny", direction="inbound", reason=reason) >= 1


def test_paths_never_become_labels(orders: Sidecar) -> None:
    """The template of the rule is the label; what a caller made up is none."""
    metrics = orders.get("metrics", "/metrics")[1]
    assert 'http_route="/orders/{id}"' in metrics
    assert "/orders/1" not in metrics

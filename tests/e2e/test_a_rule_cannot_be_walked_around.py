"""What people found to get past the rules of proxies ends here: other names of a host, a path or a method; fields sent twice; old connections."""

import json
import signal
import socket
import threading

import pytest
from support.apps import App, read_head
from support.mesh import Mesh
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
limits: {{held_body: 1000}}
allow_ambiguous: [encoded_slash, dot_segment]
policy:
  - name: edge may use much
    peers: [spiffe://example.org/edge, spiffe://example.org/shop]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /**"}}
      - {{match: "POST /orders"}}
      - {{match: "POST /facts", facts: {{quantity: "body:/q"}}}}
  - name: one host alone
    peers: [spiffe://example.org/edge]
    hosts: [orders]
    routes: [{{match: "PUT /orders/{{id}}"}}]
  - {{name: no admin, effect: deny, routes: [{{match: "* /admin/**"}}]}}
  - {{name: no debug host, effect: deny, hosts: ["*.debug"]}}
  - {{name: no hidden method, effect: deny, when: '"x-http-method-override" in request.headers', routes: [{{match: "POST /orders"}}]}}
  - {{name: no tenant of ours, effect: deny, when: 'request.headers["x-tenant"] == "ours"', routes: [{{match: "GET /tenants/{{t}}"}}]}}
{more}"""
GONE = "  - {name: the shop is closed, effect: deny, peers: [spiffe://example.org/shop]}\n"


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind it."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar that allows much and denies some of it."""
    return mesh.start("orders", YAML.format(app=app.port, more=""))


@pytest.fixture
def edge(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of edge."""
    return mesh.connect(orders.ports["inbound"])


def test_the_host_that_is_judged_is_the_host_that_the_app_sees(mesh: Mesh, edge: Wire, app: App) -> None:
    """In absolute-form the target counts and Host does not: for the rule, and for what is forwarded."""
    assert edge.ask("GET", "/a", mesh.bearer(), host="x.debug").reason == "denied_by_rule"
    assert edge.ask("GET", "http://x.debug/a", mesh.bearer(), host="orders").reason == "denied_by_rule"
    assert edge.ask("GET", "http://X.DEBUG:80/a", mesh.bearer(), host="orders").reason == "denied_by_rule"
    assert edge.ask("GET", "http://orders/a", mesh.bearer(), host="x.debug").status == 200
    assert app.fields("host") == ["orders"]
    assert edge.ask("PUT", "http://orders/orders/1", mesh.bearer(), host="ledger").status == 200
    assert edge.ask("PUT", "http://ledger/orders/1", mesh.bearer(), host="orders").reason == "condition_unmet"
    assert edge.ask("PUT", "/orders/1", mesh.bearer() | {"X-Forwarded-Host": "orders"}, host="ledger").reason == (
        "condition_unmet"
    )


def test_the_name_in_the_handshake_decides_nothing(mesh: Mesh, orders: Sidecar) -> None:
    """SNI is no host: neither does it open, nor does it deny."""
    for name, host, reason in (("orders", "x.debug", "denied_by_rule"), ("x.debug", "orders", "")):
        sock = socket.create_connection(("127.0.0.1", orders.ports["inbound"]), timeout=10)
        wire = Wire(mesh.context().wrap_socket(sock, server_hostname=name))
        mesh.also_close(wire.close)
        assert wire.ask("GET", "/a", mesh.bearer(), host=host).reason == reason


@pytest.mark.parametrize(
    "target",
    [
        "/admin", "/Admin", "/admin/", "/admin.", "/admin%20", "/ADMIN/x", "/admin?", "/x/../admin", "/x%2f..%2fadmin",
        "/%EF%BD%81dmin", "/admin%2fx", "/x/..%2fadmin/y", "/./admin",
    ],
)  # fmt: skip
def test_other_spellings_of_a_path(mesh: Mesh, edge: Wire, app: App, target: str) -> None:
    """Also those that are allowed to be ambiguous: one reading that is denied is enough."""
    seen = len(app.requests)
    assert edge.ask("GET", target, mesh.bearer()).reason == "denied_by_rule"
    assert len(app.requests) == seen


def test_a_method_behind_a_method_opens_nothing(mesh: Mesh, edge: Wire, app: App) -> None:
    """No field is believed to name the method; where a rule says so, such a request is refused in every spelling."""
    assert edge.ask("POST", "/a", mesh.bearer() | {"X-HTTP-Method-Override": "GET"}).reason == "route_not_allowed"
    assert edge.ask("GET", "/a?_method=DELETE", mesh.bearer() | {"X-HTTP-Method": "DELETE"}).status == 200
    assert app.requests[-1]["method"] == "GET"
    for fields in (
        {"X-HTTP-Method-Override": "DELETE"},
        {"x-http-method-OVERRIDE": ""},
        {"X_HTTP_Method-Override": "PUT"},
    ):
        reply = edge.ask("POST", "/orders", mesh.bearer() | fields)
        assert reply.reason == "denied_by_rule", fields
    assert edge.ask("POST", "/orders", mesh.bearer()).status == 200


@pytest.mark.parametrize(
    "rows", [["X-Tenant: ours"], ["x-tenant:ours"], ["X-Tenant: a", "X-Tenant: ours"], ["X_Tenant: ours"], []]
)
def test_a_field_that_is_repeated_or_respelled(mesh: Mesh, edge: Wire, rows: list[str]) -> None:
    """What cannot be told denies: twice, with an underscore, and not at all."""
    lines = ["GET /tenants/1 HTTP/1.1", "Host: orders", f"Txn-Token: {mesh.bearer()['Txn-Token']}", *rows, "", ""]
    assert edge.send("\r\n".join(lines).encode()).reply().reason == "denied_by_rule"


def test_one_plain_field_passes(mesh: Mesh, edge: Wire) -> None:
    """The rule above refuses no one else."""
    assert edge.ask("GET", "/tenants/1", mesh.bearer() | {"X-Tenant": "theirs"}).status == 200


def test_an_upgrade_is_a_request(mesh: Mesh, edge: Wire) -> None:
    """A websocket is denied like any other, and CONNECT is not served."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert edge.ask("GET", "/Admin/ws", mesh.bearer() | upgrade).reason == "denied_by_rule"
    assert edge.ask("CONNECT", "orders:80", mesh.bearer()).reason == "method_refused"


def test_a_body_is_read_before_both_kinds_of_rules_are_asked(mesh: Mesh, edge: Wire, app: App) -> None:
    """A rule that denies looks at the host, one that allows at the body: neither loses what the other needs."""
    body = {"Content-Type": "application/json"} | mesh.bearer(tctx={"quantity": 3})
    assert edge.ask("POST", "/facts", body, json.dumps({"q": 3}).encode()).status == 200
    assert json.loads(app.requests[-1]["body"]) == {"q": 3}
    assert edge.ask("POST", "/facts", body, json.dumps({"q": 4}).encode()).reason == "fact_mismatch"
    assert edge.ask("POST", "/facts", body, json.dumps({"q": 3}).encode(), host="a.debug").reason == "denied_by_rule"


def test_an_open_connection_is_judged_by_a_new_rule(mesh: Mesh, orders: Sidecar, app: App) -> None:
    """What was pipelined before the reload is answered by the old policy or the new one; what comes after by the new."""
    edge, shop = mesh.connect(orders.ports["inbound"]), mesh.connect(orders.ports["inbound"], "shop")
    assert edge.ask("GET", "/late", mesh.bearer()).status == 200
    assert shop.ask("GET", "/late", mesh.bearer()).status == 200
    late = '  - {name: no late ones, effect: deny, routes: [{match: "* /late"}]}\n'
    before = orders.log.count("reload: ")
    mesh.config("orders", YAML.format(app=app.port, more=late + GONE))
    orders.signal(signal.SIGHUP)
    wait_until(lambda: orders.log.count("reload: ") > before, "the reload")
    assert edge.ask("GET", "/late", mesh.bearer()).reason == "denied_by_rule"
    assert shop.ends(), "a peer that a rule bars now is cut"
    assert mesh.connect(orders.ports["inbound"], "shop").send(b"GET / HTTP/1.1\r\n").ends()


def test_what_is_pipelined_across_a_reload_is_judged_by_the_new_rule(mesh: Mesh) -> None:
    """It was here before the new policy, behind a request that the app still worked on; it is not judged before its turn."""
    asked, go = threading.Event(), threading.Event()
    mesh.also_close(go.set)
    heads: list[bytes] = []

    def script(connection: socket.socket) -> None:
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            heads.append(head)
            asked.set()
            go.wait(20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    app = mesh.raw_app(script)
    sidecar = mesh.start("pipelined", YAML.format(app=app.port, more=""))
    token = mesh.bearer()["Txn-Token"]
    rows = [
        f"GET {path} HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n\r\n" for path in ("/slow", "/late", "/other")
    ]
    wire = mesh.connect(sidecar.ports["inbound"]).send("".join(rows).encode())
    assert asked.wait(10)
    before = sidecar.log.count("reload: ")
    late = '  - {name: no late ones, effect: deny, routes: [{match: "* /late"}]}\n'
    mesh.config("pipelined", YAML.format(app=app.port, more=late))
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: sidecar.log.count("reload: ") > before, "the reload")
    go.set()
    assert [(reply.status, reply.reason) for reply in (wire.reply(), wire.reply(), wire.reply())] == [
        (200, ""),
        (403, "denied_by_rule"),
        (200, ""),
    ]
    assert [head.split(b" ")[1] for head in heads] == [b"/slow", b"/other"]

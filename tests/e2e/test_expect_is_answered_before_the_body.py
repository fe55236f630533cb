"""``Expect: 100-continue`` goes to the app at once and its word comes back; a refusal comes before the body (specs 6.6)."""

import socket

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BODY = b"x" * 1000


def _app(connection: socket.socket) -> None:
    """Continue, refuse or be silent, as the path says; then answer with what came."""
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        if b"/refuse" in head:
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
            continue
        if b"/continue" in head:
            assert b"Expect: 100-continue\r\n" in head
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)  # nothing comes before the word
            connection.settimeout(20)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        while len(body) < len(BODY):
            body += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(_app)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port) + "timeouts: {linger: 100ms}\n")


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection through two sidecars."""
    if "edge" not in _edges:
        _edges["edge"] = mesh.start(
            "edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\ntimeouts: {linger: 100ms}\n"
        )
    return mesh.plain(_edges["edge"].ports["outbound"])


_edges: dict[str, Sidecar] = {}


def _expect(mesh: Mesh, target: str, fields: str = "") -> bytes:
    token = mesh.bearer()["Txn-Token"]
    return (
        f"POST {target} HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\nContent-Length: {len(BODY)}\r\n"
        f"Expect: 100-continue\r\n{fields}\r\n"
    ).encode()


def test_the_word_of_the_app_comes_back(mesh: Mesh, app: RawApp, wire: Wire) -> None:
    """100 while the body is still here; then the body, then the answer; the connection stays."""
    for _ in range(2):
        wire.send(_expect(mesh, "/any/continue"))
        assert wire.head().status == 100
        assert wire.send(BODY).reply().body == BODY
    assert app.failures == []


def test_the_app_refuses_before_the_body(mesh: Mesh, wire: Wire) -> None:
    """Its answer comes at once, and says that the connection ends: nobody knows whether the body still comes."""
    answer = wire.send(_expect(mesh, "/any/refuse")).reply()
    assert (answer.status, answer.body, answer.closes) == (413, b"big", True)
    assert wire.ends()


def test_we_refuse_before_the_body(mesh: Mesh, wire: Wire, orders: Sidecar) -> None:
    """No 100 for a request that policy refuses; the app is not asked."""
    answer = wire.send(_expect(mesh, "/nothing")).reply()
    assert (answer.status, answer.reason, answer.interims) == (403, "route_not_allowed", [])
    direct = mesh.connect(orders.ports["inbound"]).send(_expect(mesh, "/nothing"))
    answer = direct.reply()
    assert (answer.reason, answer.closes, answer.interims) == ("route_not_allowed", True, [])
    assert direct.ends()


def test_a_caller_that_does_not_wait(mesh: Mesh, wire: Wire) -> None:
    """The body may follow at once, whatever the app says."""
    for target in ("/any/silent", "/any/silent"):
        assert wire.send(_expect(mesh, target) + BODY).reply().body == BODY


def test_a_refused_request_with_its_whole_body_keeps_the_connection(mesh: Mesh, orders: Sidecar) -> None:
    """What has come is read past; then the next request is in step."""
    wire = mesh.connect(orders.ports["inbound"])
    for _ in range(3):
        answer = wire.ask("POST", "/nothing", mesh.bearer(), BODY)
        assert (answer.reason, answer.closes) == ("route_not_allowed", False)
    chunked = {"Transfer-Encoding": "chunked"} | mesh.bearer()
    head = "POST /nothing HTTP/1.1\r\nHost: orders\r\n" + "".join(f"{k}: {v}\r\n" for k, v in chunked.items()) + "\r\n"
    answer = wire.send(head.encode() + b"3\r\nabc\r\n0\r\n\r\n").reply()
    assert (answer.reason, answer.closes) == ("route_not_allowed", False)
    assert wire.ask("POST", "/any/x", mesh.bearer(), BODY).body == BODY


def test_http_1_0_expects_nothing(mesh: Mesh, orders: Sidecar) -> None:
    """The expectation of an old client is ignored."""
    wire = mesh.connect(orders.ports["inbound"])
    data = _expect(mesh, "/any/silent").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert wire.send(data + BODY).rest().endswith(BODY)

"""The same chain on each ``event_loop:``: identity, token, streams, websocket, refusals and the end are the same."""

import socket
import time

import pytest
from support.apps import App, RawApp, read_head
from support.mesh import EDGE, INBOUND, Mesh, new_trace, orders_at, outbound
from support.pki import Authority
from support.sidecar import Sidecar, wait_until
from support.wire import request

LOOPS = ("uvloop+aiofastnet", "uvloop", "asyncio")
BIG = 4 * 1024 * 1024


class Chain:
    """Two sidecars on one kind of loop, before two apps."""

    def __init__(self, mesh: Mesh, loop: str) -> None:
        self.mesh = mesh
        self.app = mesh.app()
        self.raw = mesh.raw_app(_raw_app)
        number = LOOPS.index(loop)
        self.names = f"orders-{number}", f"edge-{number}", f"raw-{number}"
        timeouts = "timeouts: {linger: 100ms}\n"
        self.orders = self._inbound(self.names[0], self.app, loop, timeouts)
        self.raw_orders = self._inbound(self.names[2], self.raw, loop, timeouts)
        destinations = [
            orders_at(self.orders, "orders", f"spiffe://example.org/{self.names[0]}"),
            orders_at(self.raw_orders, "raw", f"spiffe://example.org/{self.names[2]}"),
            orders_at(self.orders, "wrong", "spiffe://example.org/ledger"),
        ]
        yaml = outbound(*destinations) + "tokens: {keys: jwks.json}\n" + timeouts
        self.edge = mesh.start(self.names[1], yaml, event_loop=loop)

    def _inbound(self, name: str, app: App | RawApp, loop: str, timeouts: str) -> Sidecar:
        yaml = INBOUND.format(app=app.port).replace("[spiffe://example.org/edge]", "['spiffe://example.org/*']")
        return self.mesh.start(name, yaml + timeouts, event_loop=loop)


def _raw_app(connection: socket.socket) -> None:
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        if b"/ws" in head:
            connection.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        if b"/cut" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            return
        if b"/flood" in head:
            connection.sendall(b"HTTP/1.1 2OO NO\r\n\r\n" + b"x" * BIG)
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (BIG, b"b" * BIG))


@pytest.fixture(scope="module", params=LOOPS)
def chain(request: pytest.FixtureRequest, mesh: Mesh) -> Chain:
    """The chain on each loop."""
    return Chain(mesh, request.param)


def test_a_request_through_the_chain(mesh: Mesh, chain: Chain) -> None:
    """With who called, in which transaction, and nothing lost."""
    trace, token = new_trace(), mesh.bearer()
    wire = mesh.plain(chain.edge.ports["outbound"])
    answer = wire.ask("POST", "/orders", token | trace, b"b" * 300_000)
    assert (answer.status, len(answer.json["body"])) == (200, 300_000)
    assert chain.app.fields("txn-token") == [token["Txn-Token"]]
    assert chain.app.fields("traceparent") == [trace["traceparent"]]
    assert chain.app.fields("x-forwarded-client-cert")[0].endswith(f"URI=spiffe://example.org/{chain.names[1]}")
    assert mesh.record(chain.names[0], trace)["peer"] == f"spiffe://example.org/{chain.names[1]}"
    assert wire.ask("GET", "/orders/1").reason == "token_missing"
    assert wire.ask("GET", "/orders/1", token, host="wrong").reason == "upstream_untrusted"
    assert wire.ask("GET", "/orders/1", token, host="nobody").reason == "destination_unknown"


def test_streams_and_tunnels(mesh: Mesh, chain: Chain) -> None:
    """Megabytes, half an answer, an answer that is none, and a websocket."""
    port = chain.edge.ports["outbound"]
    wire = mesh.plain(port)
    assert len(wire.ask("GET", "/any/big", mesh.bearer(), host="raw").body) == BIG
    assert wire.ask("GET", "/any/flood", mesh.bearer(), host="raw").reason == "upstream_bad_response"
    with pytest.raises((AssertionError, ConnectionError)):
        mesh.plain(port).ask("GET", "/any/cut", mesh.bearer(), host="raw")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert wire.ask("GET", "/any/ws", mesh.bearer() | upgrade, host="raw").status == 101
    assert wire.send(b"\x81\x02hi").take(4) == b"\x81\x02hi"


def test_who_is_not_admitted(mesh: Mesh, chain: Chain) -> None:
    """A foreign CA, plaintext, a peer without a rule: the same reasons on each loop."""
    port = chain.orders.ports["inbound"]
    with pytest.raises((OSError, AssertionError)):
        mesh.connect(port, svid=Authority.make("example.org").svid(EDGE)).ask("GET", "/any/1", mesh.bearer())
    mesh.plain(port).send(request("GET", "/any/1")).rest()
    for reason in ("untrusted_chain", "plaintext"):
        chain.orders.wait_for_decision(reason=reason, direction="inbound", decision="deny")


def test_callers_that_go_away(mesh: Mesh, chain: Chain) -> None:
    """In the middle of whatever they do; then no connection is left, and nothing was logged as a fault."""
    port, token = chain.edge.ports["outbound"], mesh.bearer()["Txn-Token"]
    before = chain.edge.open_connections("outbound")
    for number in range(30):
        head = f"POST /any/big HTTP/1.1\r\nHost: raw\r\nTxn-Token: {token}\r\nContent-Length: 100000\r\n\r\n".encode()
        wire = mesh.plain(port).send((head + b"b" * 50_000)[: 40 + number * 50])
        time.sleep(0.002 * (number % 3))
        wire.close()
        wire = mesh.plain(port).send(request("GET", "/any/big", mesh.bearer(), host="raw"))
        time.sleep(0.002 * (number % 5))
        wire.close()
    wait_until(lambda: chain.edge.open_connections("outbound") <= before, "every caller is gone")
    assert mesh.plain(port).ask("GET", "/orders/1", mesh.bearer()).status == 200

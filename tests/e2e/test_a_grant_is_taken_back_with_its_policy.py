"""A new policy holds for what has not been judged yet, and ends the tunnels of whoever it names no more."""

import socket

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar
from support.streams import reload
from support.wire import Wire

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def _app(connection: socket.socket) -> None:
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        if b"Upgrade: websocket" in head:
            connection.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(_app)


@pytest.fixture
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """A sidecar with a policy for two peers."""
    return mesh.start("orders", _policy(app, "[spiffe://example.org/edge, spiffe://example.org/shop]"))


def _policy(app: RawApp, peers: str) -> str:
    return INBOUND.format(app=app.port).replace("[spiffe://example.org/edge]", peers)


def test_half_a_head_is_judged_by_the_new_policy(mesh: Mesh, orders: Sidecar, app: RawApp) -> None:
    """Who begins a request before the reload and ends it after does not keep the old permission."""
    token = mesh.bearer()["Txn-Token"]
    head = f"GET /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n\r\n".encode()
    allowed, gone = mesh.connect(orders.ports["inbound"], "shop"), mesh.connect(orders.ports["inbound"])
    for wire in (allowed, gone):
        assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
        wire.send(head[:30])
    reload(mesh, orders, "orders", _policy(app, "[spiffe://example.org/shop]").replace("* /any/**", "* /other/**"))
    assert allowed.send(head[30:]).reply().reason == "route_not_allowed"
    assert gone.ends()
    assert orders.decisions(reason="peer_not_allowed", direction="inbound") == 1


def test_tunnels_end_with_their_peers_rule(mesh: Mesh, orders: Sidecar, app: RawApp) -> None:
    """The tunnel of a peer that is still named goes on; that of one that is not ends at once."""
    stays, goes = (_tunnel(mesh, orders, name) for name in ("shop", "edge"))
    reload(mesh, orders, "orders", _policy(app, "[spiffe://example.org/shop]"))
    assert goes.ends()
    assert stays.send(b"still here").take(10) == b"still here"


def _tunnel(mesh: Mesh, orders: Sidecar, name: str) -> Wire:
    wire = mesh.connect(orders.ports["inbound"], name)
    assert wire.ask("GET", "/any/ws", mesh.bearer() | UPGRADE).status == 101
    return wire

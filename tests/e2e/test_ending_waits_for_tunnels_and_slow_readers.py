"""After SIGTERM a tunnel has the grace, and an answer that is written but not read yet arrives whole."""

import signal
import socket
import time

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, outbound
from support.sidecar import Sidecar, wait_until

BIG = 16 * 1024 * 1024
SHUTDOWN = "shutdown: {grace: 3s, quiet: 0s}\n"


def _app(connection: socket.socket) -> None:
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        if b"Upgrade: websocket" in head:
            connection.sendall(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        connection.sendall(b"b" * BIG)


@pytest.fixture
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(_app)


@pytest.fixture
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """A sidecar with a little grace."""
    there = outbound(f'host: app, address: "127.0.0.1:{app.port}", protection: plain')
    return mesh.start("orders", INBOUND.format(app=app.port) + there + SHUTDOWN)


def test_a_tunnel_that_ends_in_time(mesh: Mesh, orders: Sidecar) -> None:
    """It passes bytes while the sidecar is ending; when it ends, so does the process, with code 0."""
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/ws", mesh.bearer() | {"Connection": "Upgrade", "Upgrade": "websocket"}).status == 101
    orders.signal(signal.SIGTERM)
    wait_until(lambda: not orders.ready, "it is ending")
    for _ in range(5):
        assert wire.send(b"ping").take(4) == b"ping"
        time.sleep(0.05)
    wire.close()
    assert orders.wait() == 0


def test_a_tunnel_that_does_not_end(mesh: Mesh, orders: Sidecar) -> None:
    """It is cut at the end of the grace, which is told and shows in the exit code."""
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/ws", mesh.bearer() | {"Connection": "Upgrade", "Upgrade": "websocket"}).status == 101
    began = time.monotonic()
    orders.signal(signal.SIGTERM)
    assert wire.ends()
    assert orders.wait() == 1
    assert time.monotonic() - began > 2.5
    assert "1 requests were cut" in orders.log


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_an_answer_that_is_not_read_yet(mesh: Mesh, orders: Sidecar, direction: str) -> None:
    """Its reader begins only after the signal."""
    port = orders.ports[direction]
    wire = mesh.connect(port) if direction == "inbound" else mesh.plain(port)
    token = mesh.bearer()["Txn-Token"]
    wire.send(f"GET /any/big HTTP/1.1\r\nHost: app\r\nTxn-Token: {token}\r\n\r\n".encode())
    assert wire.head().status == 200
    orders.signal(signal.SIGTERM)
    wait_until(lambda: "ending" in orders.log, "it is ending")
    time.sleep(0.3)
    assert wire.take(BIG) == b"b" * BIG
    assert wire.ends()
    assert orders.wait() == 0

"""A body passes through as fast as the slower side takes it, and the sidecars hold no more than their buffers."""

import socket
import threading
import time

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar, wait_until

MIB = 1024 * 1024
SIZE = 160 * MIB  # more than three hops of kernel buffers can hold (tcp_rmem may be 32 MiB)
BOUND = 8 * MIB
"""What a sidecar's memory may grow by while ``SIZE`` passes: some buffers of 256 KiB, and what malloc keeps of them."""

PIECE = bytes(range(256)) * 1024


class Bodies:
    """An app that sends and takes bodies of ``SIZE``; how fast it takes them, a test says."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.taken = 0
        self.sent = 0

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            if head.startswith(b"GET"):
                self._send(connection, chunked=b"/chunked" in head)
            else:
                self._take(connection)

    def _send(self, connection: socket.socket, *, chunked: bool) -> None:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        self.sent = 0
        while self.sent < SIZE:
            connection.sendall(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            self.sent += len(PIECE)
        if chunked:
            connection.sendall(b"0\r\n\r\n")

    def _take(self, connection: socket.socket) -> None:
        self.go.wait(20)
        self.taken = 0
        while self.taken < SIZE:
            self.taken += len(connection.recv(MIB))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    """What the app does."""
    return Bodies()


@pytest.fixture(scope="module")
def app(mesh: Mesh, bodies: Bodies) -> RawApp:
    """The app."""
    return mesh.raw_app(bodies)


@pytest.fixture(scope="module")
def chain(mesh: Mesh, app: RawApp) -> dict[str, Sidecar]:
    """Both sidecars, one after the other: the caller speaks plain HTTP to ``edge``."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")
    return {"edge": edge, "orders": orders}


def _held(chain: dict[str, Sidecar]) -> dict[str, int]:
    return {name: sidecar.anonymous_bytes for name, sidecar in chain.items()}


def _stands_still(number: object, name: str) -> None:
    """Wait until a counter stops: nobody takes any more."""
    last, since = getattr(number, name), time.monotonic()
    until = since + 15
    while time.monotonic() - since < 0.3:
        assert time.monotonic() < until, "it never stops: there is no back-pressure"
        time.sleep(0.02)
        if getattr(number, name) != last:
            last, since = getattr(number, name), time.monotonic()


@pytest.mark.parametrize("target", ["/any/counted", "/any/chunked"])
def test_a_slow_reader_slows_the_app(mesh: Mesh, chain: dict[str, Sidecar], bodies: Bodies, target: str) -> None:
    """The app is stopped after a few MiB, and sends the rest when the reader reads on; nothing is lost."""
    wire = mesh.plain(chain["edge"].ports["outbound"])
    before = _held(chain)
    bodies.sent = 0
    wire.send(f"GET {target} HTTP/1.1\r\nHost: orders\r\nTxn-Token: {mesh.bearer()['Txn-Token']}\r\n\r\n".encode())
    wait_until(lambda: bodies.sent > 0, "the app sends")
    _stands_still(bodies, "sent")
    assert bodies.sent < SIZE, "what the kernel holds on three hops is less than that"
    grown = {name: now - before[name] for name, now in _held(chain).items()}
    assert max(grown.values()) < BOUND, grown
    body = wire.reply().body
    assert len(body) == SIZE
    assert body == PIECE * (SIZE // len(PIECE))
    grown = {name: now - before[name] for name, now in _held(chain).items()}
    assert max(grown.values()) < BOUND, grown


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
def test_a_slow_app_slows_the_sender(mesh: Mesh, chain: dict[str, Sidecar], bodies: Bodies, *, chunked: bool) -> None:
    """The sender is stopped after a few MiB, and goes on when the app reads."""
    bodies.go.clear()
    bodies.taken = 0
    wire = mesh.plain(chain["edge"].ports["outbound"])
    before = _held(chain)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    wire.send(
        f"POST /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: {mesh.bearer()['Txn-Token']}\r\n{framing}\r\n\r\n".encode()
    )
    progress = _Upload(wire.sock, chunked=chunked)
    _stands_still(progress, "sent")
    assert progress.sent < SIZE
    grown = {name: now - before[name] for name, now in _held(chain).items()}
    assert max(grown.values()) < BOUND, grown
    bodies.go.set()
    assert wire.reply().status == 200
    progress.join()
    assert progress.sent == SIZE
    grown = {name: now - before[name] for name, now in _held(chain).items()}
    assert max(grown.values()) < BOUND, grown


class _Upload(threading.Thread):
    """Sends ``SIZE`` in the background."""

    def __init__(self, sock: socket.socket, *, chunked: bool) -> None:
        super().__init__(daemon=True)
        self._sock = sock
        self._chunked = chunked
        self.sent = 0
        self.start()

    def run(self) -> None:
        """Send."""
        while self.sent < SIZE:
            self._sock.sendall(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if self._chunked else PIECE)
            self.sent += len(PIECE)
        if self._chunked:
            self._sock.sendall(b"0\r\n\r\n")


def test_who_pipelines_and_does_not_read_is_held_back(mesh: Mesh, chain: dict[str, Sidecar]) -> None:
    """Thousands of refusals that nobody reads cost the sidecar no memory: it stops reading requests."""
    edge = chain["edge"]
    wire = mesh.plain(edge.ports["outbound"])
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    before = edge.anonymous_bytes
    burst = b"GET /x HTTP/1.1\r\nHost: unknown\r\n\r\n" * 1000
    wire.sock.settimeout(0.5)
    sent = 0
    try:
        while sent < 400:
            wire.sock.sendall(burst)
            sent += 1
    except TimeoutError:
        pass
    assert sent < 400, "it took every request, though no answer was read"
    assert edge.anonymous_bytes - before < BOUND
    wire.sock.settimeout(10)
    for _ in range(1000):
        assert wire.reply().reason == "destination_unknown"

"""Connections that never shake hands keep nobody out: the oldest gives way to whoever waits."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar

HANDSHAKES = 256


@pytest.fixture
def orders(mesh: Mesh) -> Sidecar:
    """A sidecar with the defaults, but for a patience that the test would not outlive."""
    return mesh.start("orders", INBOUND.format(app=mesh.app().port) + "tls: {handshake_timeout: 30s}\n")


@contextlib.contextmanager
def silent(port: int, count: int, first_bytes: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say this much and no more."""
    socks = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            socks.append(sock)
            sock.sendall(first_bytes)
        yield socks
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_peer_comes_in(mesh: Mesh, orders: Sidecar, first_bytes: bytes) -> None:
    """Past twice as many as may shake hands at once, silent or with half a hello, a peer is served in seconds."""
    refused = orders.decisions(reason="handshake_failed", direction="inbound")
    with silent(orders.ports["inbound"], HANDSHAKES * 2, first_bytes):
        began = time.monotonic()
        wire = mesh.connect(orders.ports["inbound"])
        assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
        assert time.monotonic() - began < 10, "and not when the 30 s of a handshake are over"
        gave_way = orders.decisions(reason="handshake_failed", direction="inbound") - refused
        assert gave_way >= HANDSHAKES + 1
        assert orders.metric("svidecar_connections", direction="inbound", state="handshaking") <= HANDSHAKES
        assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200, "whoever is in is not touched"


def test_nobody_gives_way_without_need(orders: Sidecar) -> None:
    """As many as may be are left alone, however slow."""
    with silent(orders.ports["inbound"], HANDSHAKES - 1) as socks:
        time.sleep(2)
        socks[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            socks[0].recv(1)

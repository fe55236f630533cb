"""Whatever is sent to whatever port: no fault, nothing left open, no memory lost, and the next good request is served."""

import contextlib
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar, wait_until
from support.wire import request

PORTS = ("inbound", "outbound", "metrics", "health", "admin")
ROUNDS = 500
MEMORY_BYTES = 6 * 1024 * 1024
"""A leak of one connection's state (some 20 KiB) in each of 500 would be 10 MB."""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app of both directions."""
    return mesh.app()


@pytest.fixture(scope="module")
def target(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar with every port that there is; short patience, as each silent caller is waited for."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    return mesh.start(
        "edge",
        INBOUND.format(app=app.port)
        + outbound(orders_at(orders))
        + "timeouts: {head: 2s, idle: 2s, linger: 50ms}\ntls: {handshake_timeout: 2s}\n",
    )


def _client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="orders")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO = _client_hello()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
GARBAGE = {
    "random": random.Random(7).randbytes(4096),
    "zeros": bytes(20000),
    "client hello": HELLO,
    "half a client hello": HELLO[: len(HELLO) // 2],
    "client hello, then text": HELLO + b"GET / HTTP/1.1\r\n\r\n",
    "a record of the largest length": b"\x16\x03\x01\xff\xff" + b"x" * 100,
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "HTTP/2": PREFACE,
    "HTTP/1.1": request("GET", "/orders/1"),
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "PROXY": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: orders\r\n\r\n",
    "line feeds": b"\n" * 5000,
    "one long line": b"G" * 200_000,
    "nothing": b"",
}


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _say(port: int, data: bytes) -> None:
    """Send, end our side, and read what there is to its end."""
    with _connect(port) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


def _say_and_reset(port: int, data: bytes) -> None:
    sock = _connect(port)
    with contextlib.suppress(ConnectionError):
        sock.sendall(data)
    _reset(sock)


def _is_served(mesh: Mesh, target: Sidecar) -> None:
    """The good request, in both directions."""
    with mesh.connect(target.ports["inbound"]) as wire:
        assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200
    with mesh.plain(target.ports["outbound"]) as wire:
        assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert target.ready


def _open(target: Sidecar) -> list[float]:
    states = ("open", "handshaking")
    directions = ("inbound", "outbound")
    return [target.metric("svidecar_connections", state=s, direction=d) for s in states for d in directions]


@contextlib.contextmanager
def _harmless(mesh: Mesh, target: Sidecar) -> Iterator[None]:
    """What the block does leaves no connection, no descriptor and no line of fault behind."""
    _is_served(mesh, target)
    wait_until(lambda: _open(target) == [0] * 4, "the good connections are gone")
    before = _settled(target)
    yield
    wait_until(lambda: _open(target) == [0] * 4, "none is open")
    _is_served(mesh, target)
    wait_until(lambda: target.descriptors <= before, "descriptors as before")
    assert target.faults == []


def _settled(target: Sidecar) -> int:
    """Descriptors once the scrape itself is gone; the kept connections to app and destination stay."""
    wait_until(lambda: _open(target) == [0] * 4, "none is open")
    return max(target.descriptors for _ in range(3)) + 1  # a control connection may still be closing


@pytest.mark.parametrize("port", PORTS)
def test_each_kind_on_each_port(mesh: Mesh, app: App, target: Sidecar, port: str) -> None:
    """Said and ended, said and reset; the app hears of none of it."""
    with _harmless(mesh, target):
        seen = len(app.requests)
        for data in GARBAGE.values():
            _say(target.ports[port], data)
            _say_and_reset(target.ports[port], data)
        assert len(app.requests) == seen


def test_those_who_say_nothing_or_drip(mesh: Mesh, target: Sidecar) -> None:
    """Each has its deadline, on the two ports that the mesh and the app reach."""
    with _harmless(mesh, target):
        socks = []
        for port in ("inbound", "outbound"):
            for data in (b"", HELLO[:1], HELLO[:100], b"GET / HT"):
                sock = _connect(target.ports[port])
                sock.sendall(data)
                socks.append(sock)
        for _ in range(3):
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(b"\x00")
        for sock in socks:
            with sock, contextlib.suppress(ConnectionError):
                while sock.recv(65536):  # until the sidecar ends it
                    pass


def test_peers_who_leave_after_the_handshake(mesh: Mesh, target: Sidecar) -> None:
    """With a good certificate: without a word, with garbage in TLS, and with garbage instead of TLS."""
    context = mesh.context("edge")
    with _harmless(mesh, target):
        for data in GARBAGE.values():
            for leave in (socket.socket.close, _reset):
                sock = context.wrap_socket(_connect(target.ports["inbound"]))
                with contextlib.suppress(OSError):
                    sock.sendall(data)
                leave(sock)
            tls = context.wrap_socket(_connect(target.ports["inbound"]))
            with _raw(tls) as raw, contextlib.suppress(OSError):
                raw.sendall(data or b"\x17\x03\x03\x00\x10" + bytes(16))  # a record that does not decrypt
                while raw.recv(65536):
                    pass


def _raw(tls: ssl.SSLSocket) -> socket.socket:
    return socket.socket(fileno=tls.detach())


def test_many_of_them_cost_no_memory(mesh: Mesh, target: Sidecar) -> None:
    """500 connections of every kind to every port: memory stays where it was."""
    kinds = list(GARBAGE.values())

    def one(number: int) -> None:
        way = (_say, _say_and_reset)[number % 2]
        way(target.ports[PORTS[number % len(PORTS)]], kinds[(number // 2) % len(kinds)])

    with ThreadPoolExecutor(8) as callers, _harmless(mesh, target):
        list(callers.map(one, range(150)))  # what is made once is made now, and every pair of kind and port has come
        before, lines = target.anonymous_bytes, len(target.lines)
        list(callers.map(one, range(ROUNDS)))
    grown = target.anonymous_bytes - before
    assert grown < MEMORY_BYTES
    assert len(target.lines) - lines < 20, "nor does it fill the log"


def test_many_at_once(mesh: Mesh, app: App, target: Sidecar) -> None:
    """Open side by side, then all reset at the same moment."""
    with _harmless(mesh, target):
        seen = len(app.requests)
        socks = []
        for number in range(200):
            sock = _connect(target.ports[PORTS[number % len(PORTS)]])
            with contextlib.suppress(ConnectionError):
                sock.sendall(list(GARBAGE.values())[number % len(GARBAGE)][:1000])
            socks.append(sock)
        _is_served(mesh, target)
        assert len(app.requests) == seen + 2
        for sock in socks:
            _reset(sock)

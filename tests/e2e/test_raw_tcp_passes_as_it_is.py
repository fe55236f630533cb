"""Raw TCP: opened once by CONNECT with a token inside mTLS, then bytes both ways; whoever speaks first is heard."""

import contextlib
import hashlib
import random
import socket
import threading
import time
from typing import Any

import pytest
from support.apps import RawApp
from support.mesh import Mesh
from support.sidecar import wait_until
from support.tcp import Path, inbound, outbound, path_to, token_service


class Talker:
    """An app that speaks first, then echoes; ``bye`` ends it."""

    def __init__(self) -> None:
        self.ended: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        connection.sendall(b"220 ready\r\n")
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                got = (got + data)[-64:]
                if data == b"bye":
                    connection.sendall(b"farewell")
                    return
                connection.sendall(data)
            self.ended.append(got)
            return
        self.ended.append(b"reset")


def count_all(connection: socket.socket) -> int:
    """Read to an end in good order; how many bytes."""
    count = 0
    while piece := connection.recv(1 << 20):
        count += len(piece)
    return count


@pytest.fixture(scope="module")
def talker() -> Talker:
    """What the app does."""
    return Talker()


@pytest.fixture(scope="module")
def app(mesh: Mesh, talker: Talker) -> RawApp:
    """The app."""
    return mesh.raw_app(talker)


@pytest.fixture(scope="module")
def path(mesh: Mesh, app: RawApp) -> Path:
    """Two sidecars."""
    return path_to(mesh, app.port)


def test_the_server_may_speak_first(path: Path) -> None:
    """Nothing waits for the client: its greeting is there before the client has said a word."""
    for _ in range(5):
        with path.connect() as wire:
            assert wire.take(11) == b"220 ready\r\n"


def _ended(mesh: Mesh, name: str, request_bytes: int) -> dict[str, Any]:
    """The record of the end of a tunnel that has carried so many; waits for it."""

    def look() -> list[dict[str, Any]]:
        return [each for each in mesh.records(name) if each.get("request_bytes") == request_bytes]

    wait_until(look, "its record")
    return look()[0]


def test_bytes_pass_both_ways(path: Path, mesh: Mesh) -> None:
    """Any bytes, also what looks like HTTP or TLS, sent before the greeting has come; and the end comes through."""
    wire = path.connect().send(b"early")
    assert wire.take(16) == b"220 ready\r\nearly"
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00", bytes(range(256)) * 4000):
        assert wire.send(data).take(len(data)) == data
    sent = 5 + 27 + 5 + 256 * 4000
    assert wire.send(b"bye").rest() == b"farewell"
    sides = (path.edge, path.db)
    wait_until(lambda: not any(side.metric("svidecar_tunnels") for side in sides), "no tunnel is left")
    for name in ("edge", "db"):
        carried = _ended(mesh, name, sent + 3)
        asked = next(each for each in mesh.records(name) if each.get("trace_id") == carried["trace_id"])
        assert (asked["kind"], asked["decision"], asked["status"], asked["method"]) == (
            "request",
            "allow",
            200,
            "CONNECT",
        )
        assert (carried["kind"], carried["decision"], carried["reason"]) == ("tunnel", "allow", "")
        assert (carried["request_bytes"], carried["response_bytes"]) == (sent + 3, sent + 11 + 8)
        if name == "db":
            assert (asked["route"], asked["rule"]) == ("db:5432", "edge may query")
            assert asked["peer"] == "spiffe://example.org/edge"


def test_the_token_is_asked_for_once_and_goes_no_further(path: Path) -> None:
    """One of the token service serves many connections; the app sees bytes of the client alone."""
    with path.connect() as wire:
        wire.take(11)
    asked = len(path.service.asked)
    wire = path.connect()
    wire.take(11)
    assert len(path.service.asked) == asked
    assert path.service.asked[-1]["scope"] == "db.query"
    assert wire.send(b"x").take(1) == b"x"


def test_megabytes_keep_their_order(path: Path) -> None:
    """10 MB each way, in pieces of any size."""
    data = random.Random(1).randbytes(10_000_000)
    wire = path.connect()
    assert wire.take(11)
    sender = threading.Thread(target=wire.sock.sendall, args=(data,))
    sender.start()
    assert hashlib.sha256(wire.take(len(data))).digest() == hashlib.sha256(data).digest()
    sender.join()


def test_the_end_of_the_client_reaches_the_app(path: Path, talker: Talker) -> None:
    """All of what it sent, then the end in good order; in between, the app may still answer."""
    wire = path.connect()
    wire.take(11)
    wire.send(b"last words").sock.shutdown(socket.SHUT_WR)
    assert wire.rest() == b"last words"
    wait_until(lambda: b"last words" in talker.ended, "the end of the app")


def test_a_client_that_is_gone_is_no_end_in_good_order(path: Path, talker: Talker) -> None:
    """A reset is a reset on the other side: nobody takes half a file for a whole one."""
    talker.ended.clear()
    wire = path.connect()
    wire.take(11)
    wire.send(b"half")
    assert wire.take(4) == b"half"
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    wire.close()
    wait_until(lambda: b"reset" in talker.ended, "the end of the app")


def test_an_app_that_is_gone_is_no_end_in_good_order(mesh: Mesh) -> None:
    """The same the other way."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"half")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    path = path_to(mesh, mesh.raw_app(script).port)
    wire = path.connect()
    assert wire.take(4) == b"half"
    wire.send(b"x")
    with pytest.raises(ConnectionResetError):
        wire.sock.recv(1)


def test_each_side_is_as_fast_as_the_other_reads(mesh: Mesh) -> None:
    """Where one side does not read, the other is held back and not kept in memory; when it reads on, nothing is lost."""
    size = 48 * 1024 * 1024
    go = threading.Event()
    got: list[int] = []

    def script(connection: socket.socket) -> None:
        go.wait(20)
        got.append(count_all(connection))

    path = path_to(mesh, mesh.raw_app(script).port)
    wire = path.connect()
    before = path.edge.anonymous_bytes, path.db.anonymous_bytes
    wire.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < size:
            sent += wire.sock.send(b"c" * 65536)
    assert path.edge.anonymous_bytes - before[0] < 16 * 1024 * 1024
    assert path.db.anonymous_bytes - before[1] < 16 * 1024 * 1024
    go.set()
    wire.sock.settimeout(20)
    while sent < size:
        sent += wire.sock.send(b"c" * min(65536, size - sent))
    wire.close()
    wait_until(lambda: bool(got), "the app has read all", 20)
    assert got == [size]


def test_what_was_sent_is_delivered_to_a_slow_app(mesh: Mesh) -> None:
    """The client fills every buffer and is gone before the app reads: all comes, also what TLS would cut after seconds."""
    got: list[int] = []
    gone = threading.Event()

    def script(connection: socket.socket) -> None:
        gone.wait(20)
        time.sleep(4)
        got.append(count_all(connection))

    path = path_to(mesh, mesh.raw_app(script).port)
    wire = path.connect()
    wire.sock.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += wire.sock.send(bytes(65536))
    wire.close()
    gone.set()
    wait_until(lambda: bool(got), "the app has read all", 20)
    assert got == [sent]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_every_loop_carries_it(mesh: Mesh, app: RawApp, loop: str) -> None:
    """The fast one is that of all the other tests."""
    path = path_to(mesh, app.port, event_loop=loop)
    wire = path.connect().send(b"early")
    assert wire.take(16) == b"220 ready\r\nearly"
    data = bytes(range(256)) * 4000
    assert wire.send(data).take(len(data)) == data
    assert wire.send(b"bye").rest() == b"farewell"
    half = path.connect()
    half.take(11)
    half.send(b"x").sock.shutdown(socket.SHUT_WR)
    assert half.rest() == b"x"


def test_a_tunnel_is_open_while_it_is_used(mesh: Mesh, app: RawApp) -> None:
    """Idle is when nothing moves in either direction; then both sides are told by a reset, and the log by the reason."""
    service = token_service(mesh)
    db = mesh.start("db", inbound(app.port))
    edge = mesh.start("edge", outbound(db, service), timeouts="{tcp_idle: 2s}")
    wire = mesh.plain(edge.ports["tcp0"])
    wire.take(11)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert wire.send(b"x").take(1) == b"x"
        time.sleep(0.1)
    with pytest.raises(ConnectionResetError):
        wire.sock.recv(1)
    edge.wait_for_decision(decision="error", reason="tunnel_idle", direction="outbound")
    assert edge.metric("svidecar_tunnel_seconds_count", reason="tunnel_idle") == 1


def test_ending_waits_for_tunnels(mesh: Mesh, app: RawApp) -> None:
    """SIGTERM: no new connection; an open one goes on within the grace, and its end is the end of the process."""
    service = token_service(mesh)
    db = mesh.start("db", inbound(app.port), shutdown="{grace: 20s, quiet: 100ms}")
    edge = mesh.start("edge", outbound(db, service), shutdown="{grace: 20s, quiet: 100ms}")
    wire = mesh.plain(edge.ports["tcp0"])
    wire.take(11)
    db.signal(15)
    edge.signal(15)
    db.wait_for_log("ending")
    edge.wait_for_log("ending")
    time.sleep(0.5)
    assert wire.send(b"still here").take(10) == b"still here"
    assert wire.send(b"bye").rest() == b"farewell"
    assert (edge.wait(), db.wait()) == (0, 0)

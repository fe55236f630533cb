"""What fails behind us is told apart: down, too slow to connect, too slow to answer, reset; and nobody waits for ever."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.apps import RawApp, answering, read_head
from support.mesh import INBOUND, LEDGER, Mesh, outbound
from support.sidecar import SOON_S, Sidecar, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TIMEOUTS = "timeouts: {connect: 2s, first_byte: 1s, stream_idle: 1s, app_idle: 1s, linger: 0s}\n"


@pytest.fixture(scope="module")
def release() -> Iterator[threading.Event]:
    """Ends what the app waits for."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(scope="module")
def app(mesh: Mesh, release: threading.Event) -> RawApp:
    """An app that is late, by the path."""

    def script(connection: socket.socket) -> None:
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            if b"/late" in head:
                release.wait(20)
            elif b"/interim" in head:
                connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
                release.wait(20)
            elif b"/stops" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                release.wait(20)
            elif b"/drips" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                for _ in range(5):
                    time.sleep(0.25)
                    connection.sendall(b"x")
            elif b"/reset" in head:
                return
            else:
                connection.sendall(OK)

    return mesh.raw_app(script)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port) + TIMEOUTS)


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/any/late", 504, "upstream_timeout"),
        ("/any/interim", 504, "upstream_timeout"),
        ("/any/reset", 502, "upstream_reset"),
    ],
)
def test_an_app_that_fails(mesh: Mesh, orders: Sidecar, target: str, status: int, reason: str) -> None:
    """Its caller gets an answer in time, and keeps the connection."""
    wire = mesh.connect(orders.ports["inbound"])
    began = time.monotonic()
    answer = wire.ask("GET", target, mesh.bearer())
    assert (answer.status, answer.reason) == (status, reason)
    assert time.monotonic() - began < 1 + SOON_S
    assert orders.decisions(reason=reason, decision="error", direction="inbound") >= 1
    assert wire.ask("GET", "/any/good", mesh.bearer()).status == 200


def test_an_answer_that_stops(mesh: Mesh, orders: Sidecar) -> None:
    """Cut short after ``stream_idle``; one that drips is not."""
    wire = mesh.connect(orders.ports["inbound"])
    with pytest.raises((AssertionError, ConnectionError)):
        wire.ask("GET", "/any/stops", mesh.bearer())
    orders.wait_for_decision(reason="upstream_timeout")
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/any/drips", mesh.bearer()).body == b"xxxxx"


def test_an_app_that_is_down(mesh: Mesh) -> None:
    """502, for each caller, until it is there; then 200 without a restart."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # it is ours, and refuses until we listen
        ledger = mesh.start("ledger", INBOUND.format(app=server.getsockname()[1]) + TIMEOUTS)
        wire = mesh.connect(ledger.ports["inbound"])
        answer = wire.ask("GET", "/any/x", mesh.bearer())
        assert (answer.status, answer.reason) == (502, "upstream_down")
        answer = wire.ask("POST", "/orders", mesh.bearer(), b"x" * 1000)
        assert (answer.status, answer.reason, answer.closes) == (502, "upstream_down", False)
        server.listen()
        wire.send(b"GET /any/x HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token())
        connection, _ = server.accept()
        with connection:
            read_head(connection)
            connection.sendall(OK)
            assert wire.reply().status == 200


def test_who_does_not_accept_or_does_not_shake_hands(mesh: Mesh) -> None:
    """A full queue, a server that never speaks TLS, a name that does not resolve: each within ``connect``."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    blocked = [socket.socket() for _ in range(4)]
    for sock in blocked:  # fill the kernel's queue: nobody accepts
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    silent = socket.create_server(("127.0.0.1", 0))
    http = socket.create_server(("127.0.0.1", 0))
    destinations = [
        f'host: full, address: "127.0.0.1:{full.getsockname()[1]}", protection: plain',
        f'host: silent, address: "127.0.0.1:{silent.getsockname()[1]}", spiffe_id: {LEDGER}',
        f'host: http, address: "127.0.0.1:{http.getsockname()[1]}", spiffe_id: {LEDGER}',
        'host: nowhere, address: "nowhere.invalid:80", protection: plain',
        'host: refused, address: "127.0.0.1:1", protection: plain',
    ]

    def speak_http() -> None:
        connection, _ = http.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    speaker = threading.Thread(target=speak_http, daemon=True)
    speaker.start()
    edge = mesh.start("edge", outbound(*destinations) + "tokens: {keys: jwks.json}\n" + TIMEOUTS)
    expected = {
        "full": (504, "upstream_timeout"),
        "silent": (504, "upstream_timeout"),
        "http": (502, "upstream_untrusted"),
        "nowhere": (502, "upstream_down"),
        "refused": (502, "upstream_down"),
    }
    wires = {host: mesh.plain(edge.ports["outbound"]) for host in expected}
    for host, wire in wires.items():
        wire.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert {host: (a.status, a.reason) for host, a in ((h, w.reply()) for h, w in wires.items())} == expected
    for sock in (full, silent, http, *blocked):
        sock.close()
    speaker.join(5)


def test_idle_connections_are_closed_before_the_app_does(mesh: Mesh) -> None:
    """After ``app_idle``, so that no request meets an app that is closing."""
    app = mesh.raw_app(answering())
    wire = mesh.connect(mesh.start("idle", INBOUND.format(app=app.port) + TIMEOUTS).ports["inbound"])
    for _ in range(2):
        assert wire.ask("GET", "/any/x", mesh.bearer()).status == 200
    assert app.accepted == 1, "reused while it is fresh"
    wait_until(lambda: app.open == 0, "closed from our side")
    assert wire.ask("GET", "/any/x", mesh.bearer()).status == 200
    assert app.accepted == 2


def test_too_many_connections_to_the_app(mesh: Mesh, app: RawApp) -> None:
    """At the limit each request has its connection; one more is refused, not queued without end."""
    busy = mesh.start(
        "busy", INBOUND.format(app=app.port) + "limits: {upstream_connections: 2}\ntimeouts: {first_byte: 3s}\n"
    )
    wires = [mesh.connect(busy.ports["inbound"]) for _ in range(3)]
    late = b"GET /any/late HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token()
    before = app.accepted
    wires[0].send(late)
    wires[1].send(late)
    wait_until(lambda: app.accepted == before + 2, "both are at the app")
    answer = wires[2].ask("GET", "/any/good", mesh.bearer())
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "upstream_overloaded", "1")
    assert [wire.reply().status for wire in wires[:2]] == [504, 504]
    assert wires[2].ask("GET", "/any/good", mesh.bearer()).status == 200

"""Who sends or reads too slowly ends with a reason, and holds nothing after that."""

import socket
import ssl
import time

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, outbound
from support.sidecar import SOON_S, Sidecar, wait_until
from support.wire import Truncated, Wire

TIMEOUTS = "timeouts: {head: 500ms, idle: 1s, body: 500ms, stream_idle: 800ms, linger: 100ms}\n"
PATIENT = "timeouts: {head: 2s, idle: 3s, body: 2s}\nlimits: {body_rate: 100}\n"
TUNED = "tls: {handshake_timeout: 500ms}\nlimits: {body_rate: 100}\n"
BIG = 16 * 1024 * 1024
"""More than what the kernel holds for a caller that does not read."""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """An app that gives much, where it is asked to, and reads bodies."""

    def script(connection: socket.socket) -> None:
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            if b"POST" in head:
                while connection.recv(65536):
                    pass
                return
            body = b"b" * (BIG if b"/big" in head else 2)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return mesh.raw_app(script)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """A sidecar of little patience, on both sides."""
    plain = outbound(f'host: app, address: "127.0.0.1:{app.port}", protection: plain')
    return mesh.start("orders", INBOUND.format(app=app.port) + plain + TIMEOUTS + TUNED)


@pytest.fixture(scope="module")
def patient(mesh: Mesh, app: RawApp) -> Sidecar:
    """Another, whose times are long enough to come shortly before their end, also on a busy machine."""
    return mesh.start("patient", INBOUND.format(app=app.port) + PATIENT)


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of the peer that policy admits."""
    return mesh.connect(orders.ports["inbound"])


def _drip(wire: Wire, data: bytes, pause_s: float = 0.05) -> float:
    """Send byte by byte until an answer comes; give the seconds that it took."""
    began = time.monotonic()
    wire.sock.settimeout(pause_s)
    for at in range(len(data)):
        try:
            wire.send(data[at : at + 1])
            wire._buffer += wire.sock.recv(65536)
        except TimeoutError:
            continue
        break
    wire.sock.settimeout(10)
    return time.monotonic() - began


def test_a_head_that_drips(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """Each byte comes soon after the last: the time of a head is that of the whole of it."""
    took = _drip(wire, b"GET /any/1 HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 100)
    answer = wire.reply()
    assert (answer.status, answer.reason, answer.closes) == (408, "head_timeout", True)
    assert 0.4 < took < SOON_S
    assert wire.ends()
    assert orders.decisions(reason="head_timeout", decision="deny", direction="inbound") >= 1
    assert mesh.records("orders", 1)


def test_a_head_has_its_whole_time_whenever_it_begins(mesh: Mesh, patient: Sidecar) -> None:
    """Also when the connection has been idle for nearly as long as it may."""
    wire = mesh.connect(patient.ports["inbound"])
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    time.sleep(2.1)  # of the 3 s that it may be idle
    head = b"GET /any/1 HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token()
    wire.send(head[:20])
    time.sleep(1.2)  # of the 2 s that a head may take
    assert wire.send(head[20:]).reply().status == 200


def test_a_second_head_that_drips(mesh: Mesh, wire: Wire) -> None:
    """Behind a good request on the same connection."""
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    _drip(wire, b"GET /any/1 HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 100)
    assert wire.reply().reason == "head_timeout"


def test_an_empty_line_is_no_head(mesh: Mesh, patient: Sidecar) -> None:
    """What may come before a request, in two pieces: then the connection is idle, and the next head has all its time."""
    wire, idle = (mesh.connect(patient.ports["inbound"]).send(b"\r") for _ in range(2))
    time.sleep(0.5)
    began = time.monotonic()
    for each in (wire, idle):
        each.send(b"\n")
    time.sleep(1.7)  # more than 2 s after the first byte
    assert wire.send(b"GET /any/1 HT").sock.pending() == 0  # type: ignore[attr-defined]
    time.sleep(0.9)  # more than 2 s after a deadline of before would have begun
    assert wire.send(b"TP/1.1\r\nHost: a\r\n\r\n").reply().reason == "token_missing"
    assert idle.ends(), "without a word: it was idle"
    assert time.monotonic() - began > 2.5


def test_an_idle_connection_is_closed_without_a_word(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """Before the first request and after one."""
    began = time.monotonic()
    other = mesh.connect(orders.ports["inbound"])
    assert other.ask("GET", "/any/1", mesh.bearer()).status == 200
    assert wire.ends()
    assert other.ends()
    assert 0.8 < time.monotonic() - began < 1 + SOON_S


def test_a_body_that_drips(mesh: Mesh, patient: Sidecar) -> None:
    """Each byte comes long before the pause that is allowed, and still it is cut; one that brings its rate is not."""
    head = b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token()
    drips = mesh.connect(patient.ports["inbound"]).send(head)
    assert 1.8 < _drip(drips, b"x" * 200) < 7, "20 bytes a second, of 100; without that, it takes all of these 10 s"
    answer = drips.reply()
    assert (answer.status, answer.reason, answer.closes) == (408, "body_timeout", True)
    flows = mesh.connect(patient.ports["inbound"]).send(head)
    for _ in range(60):  # 6 bytes every 50 ms: for longer than the other one had
        flows.send(b"x" * 6)
        time.sleep(0.05)
    assert patient.decisions(reason="body_timeout", direction="inbound") == 1


def test_a_body_that_stops(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """408, the app's half of it is cut."""
    head = b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nTxn-Token: %b\r\n\r\nhalf" % mesh.mint.token()
    answer = wire.send(head).reply()
    assert (answer.status, answer.reason, answer.closes) == (408, "body_timeout", True)
    assert wire.ends()
    assert orders.decisions(reason="body_timeout", decision="deny", direction="inbound") >= 1


def test_a_handshake_that_drips(mesh: Mesh, orders: Sidecar) -> None:
    """A slow loris below TLS: whole it has ``handshake_timeout``, however it is cut."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = mesh.context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    wire = mesh.plain(orders.ports["inbound"])
    before = orders.decisions(reason="handshake_timeout")
    wire.sock.settimeout(0.05)
    began = time.monotonic()
    with pytest.raises((ConnectionError, AssertionError)):
        for byte in outgoing.read():
            wire.send(bytes([byte]))
            try:
                assert wire.sock.recv(1)
            except TimeoutError:
                continue
    assert 0.3 < time.monotonic() - began < SOON_S
    wait_until(lambda: orders.decisions(reason="handshake_timeout") == before + 1, "its reason")
    assert orders.metric("svidecar_tls_handshake_seconds_count", role="server", result="handshake_timeout") >= 1


def test_who_pipelines_and_does_not_read(mesh: Mesh, orders: Sidecar) -> None:
    """Held back when its answers wait, and cut when they have waited too long, however much it still would send."""
    before = orders.open_connections("outbound")
    wire = _small_window(mesh.plain(orders.ports["outbound"]))
    wire.sock.settimeout(0.3)
    requests = b"GET /x HTTP/1.1\r\nHost: unknown\r\n\r\n" * 1000
    rest, blocked, until = requests, 0, time.monotonic() + 20
    with pytest.raises(ConnectionError):
        while time.monotonic() < until:
            try:
                rest = rest[wire.sock.send(rest) :] or requests
            except TimeoutError:
                blocked += 1
    assert blocked
    wait_until(lambda: orders.open_connections("outbound") <= before, "it is cut", 5)


def _small_window(wire: Wire) -> Wire:
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return wire


@pytest.mark.parametrize("close", ["", "Connection: close\r\n"], ids=["keep-alive", "close"])
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_who_does_not_read(mesh: Mesh, orders: Sidecar, direction: str, close: str) -> None:
    """An answer that nobody takes: the connection is cut after ``stream_idle``, and the app's with it."""
    port = orders.ports[direction]
    wire = _small_window(mesh.connect(port) if direction == "inbound" else mesh.plain(port))
    wire.send(f"GET /any/big HTTP/1.1\r\nHost: app\r\n{close}Txn-Token: {mesh.bearer()['Txn-Token']}\r\n\r\n".encode())
    wait_until(lambda: orders.open_connections(direction) >= 1, "it is served")
    wait_until(lambda: orders.open_connections(direction) == 0, "it is cut", 6)
    with pytest.raises((Truncated, ConnectionError)):
        wire.reply()

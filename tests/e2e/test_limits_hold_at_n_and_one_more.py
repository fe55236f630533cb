"""Every limit of a message and of a listener: what is as large as it passes, one more is refused with its reason (law 8)."""

import socket
import ssl

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, outbound
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

LIMITS = "limits: {head: 4KiB, fields: 20, target: 300, chunk_line: 32, trailer: 100}\ntimeouts: {linger: 0s}\n"
HEAD, FIELDS, TARGET, CHUNK_LINE, TRAILER = 4096, 20, 300, 32, 100


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar with small limits."""
    return mesh.start("orders", INBOUND.format(app=app.port) + LIMITS)


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of the peer that policy admits."""
    return mesh.connect(orders.ports["inbound"])


def _refused(orders: Sidecar, wire: Wire, status: int, reason: str) -> None:
    answer = wire.reply()
    assert (answer.status, answer.reason, answer.closes) == (status, reason, True)
    assert wire.ends()
    assert orders.decisions(reason=reason, direction="inbound", decision="deny") >= 1


@pytest.mark.parametrize("more", [0, 1])
def test_the_size_of_a_head(mesh: Mesh, orders: Sidecar, wire: Wire, more: int) -> None:
    """From the request line to the empty line; refused before it has ended, too."""
    head = b"GET /any/1 HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\nX-Pad: " % mesh.mint.token()
    wire.send(head + b"x" * (HEAD + more - len(head) - 4) + b"\r\n\r\n")
    if more:
        _refused(orders, wire, 431, "head_too_large")
        wire = mesh.connect(orders.ports["inbound"]).send(head + b"x" * HEAD)
        _refused(orders, wire, 431, "head_too_large")
    else:
        assert wire.reply().status == 200


@pytest.mark.parametrize("more", [0, 1])
def test_the_number_of_fields(mesh: Mesh, orders: Sidecar, wire: Wire, more: int) -> None:
    """Host and the token count as well."""
    wire.send(
        b"GET /any/1 HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n" % mesh.mint.token()
        + b"X: 1\r\n" * (FIELDS - 2 + more)
        + b"\r\n"
    )
    if more:
        _refused(orders, wire, 431, "too_many_fields")
    else:
        assert wire.reply().status == 200


@pytest.mark.parametrize("more", [0, 1])
def test_the_size_of_a_target(mesh: Mesh, orders: Sidecar, wire: Wire, more: int) -> None:
    """In origin-form; refused at once when the line has not ended, too."""
    target = "/any/" + "x" * (TARGET - 5 + more)
    wire.send(b"GET %b HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n\r\n" % (target.encode(), mesh.mint.token()))
    if more:
        _refused(orders, wire, 414, "target_too_long")
        _refused(orders, mesh.connect(orders.ports["inbound"]).send(b"GET /" + b"x" * 1000), 414, "target_too_long")
    else:
        assert wire.reply().status == 200


def _chunked(mesh: Mesh, body: bytes) -> bytes:
    return (
        b"POST /any/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token()
        + body
    )


@pytest.mark.parametrize("more", [0, 1])
def test_the_size_of_a_chunk_line(mesh: Mesh, orders: Sidecar, wire: Wire, more: int) -> None:
    """Extensions count."""
    wire.send(_chunked(mesh, b"2;" + b"x" * (CHUNK_LINE - 2 + more) + b"\r\nhi\r\n0\r\n\r\n"))
    if more:
        _refused(orders, wire, 400, "bad_framing")
    else:
        assert wire.reply().json["body"] == "hi"


@pytest.mark.parametrize("more", [0, 1])
def test_the_size_of_trailers(mesh: Mesh, orders: Sidecar, wire: Wire, more: int) -> None:
    """The lines with their ends, without the empty line."""
    wire.send(_chunked(mesh, b"2\r\nhi\r\n0\r\nX: " + b"x" * (TRAILER - 3 + more) + b"\r\n\r\n"))
    if more:
        _refused(orders, wire, 431, "head_too_large")
    else:
        assert wire.reply().status == 200


def test_the_head_of_an_answer(mesh: Mesh) -> None:
    """The same limits hold behind us."""
    padding = {"n": 0}

    def script(connection: socket.socket) -> None:
        while connection.recv(65536):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Pad: "
            connection.sendall(head + b"x" * (HEAD - len(head) - 4 + padding["n"]) + b"\r\n\r\n")

    raw = mesh.raw_app(script)
    ledger = mesh.start("ledger", INBOUND.format(app=raw.port) + LIMITS)
    wire = mesh.connect(ledger.ports["inbound"])
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    padding["n"] = 1
    answer = wire.ask("GET", "/any/1", mesh.bearer())
    assert (answer.status, answer.reason) == (502, "upstream_bad_response")


def test_the_number_of_connections(mesh: Mesh, app: App) -> None:
    """Three are served, the fourth is closed and counted; when one ends, another may come. The same outbound."""
    yaml = INBOUND.format(app=app.port) + outbound(f'host: app, address: "127.0.0.1:{app.port}", protection: plain')
    small = mesh.start("small", yaml + "limits: {connections: 3}\n")
    for direction in ("inbound", "outbound"):
        port = small.ports[direction]
        _three_and_no_more(mesh, small, port, direction)


def _three_and_no_more(mesh: Mesh, small: Sidecar, port: int, direction: str) -> None:
    def connect() -> Wire:
        return mesh.connect(port) if direction == "inbound" else mesh.plain(port)

    def ask(wire: Wire) -> int:
        return wire.ask("GET", "/any/1", mesh.bearer(), host="app").status

    wires = [connect() for _ in range(3)]
    assert [ask(wire) for wire in wires] == [200] * 3
    try:
        fourth = connect()
        assert fourth.ends()
    except (ConnectionError, ssl.SSLError):
        pass
    small.wait_for_decision(reason="overloaded", direction=direction)
    assert ask(wires[0]) == 200, "those that are open go on"
    wires.pop().close()
    wait_until(lambda: small.open_connections(direction) == 2, "one has ended")
    assert ask(connect()) == 200


def test_the_number_of_handshakes(mesh: Mesh, app: App) -> None:
    """Two that do not speak hold both places; the next one waits in the kernel, and is served when they are cut."""
    yaml = INBOUND.format(app=app.port) + "limits: {handshakes: 2}\ntls: {handshake_timeout: 800ms}\n"
    few = mesh.start("few", yaml)
    silent = [mesh.plain(few.ports["inbound"]) for _ in range(2)]
    waiting = mesh.connect(few.ports["inbound"])  # behind them in the queue of the kernel
    assert waiting.ask("GET", "/any/1", mesh.bearer()).status == 200
    few.wait_for_decision(2, reason="handshake_timeout", direction="inbound", decision="deny")
    assert few.metric("svidecar_connections", direction="inbound", state="handshaking") == 0
    assert all(wire.ends() for wire in silent)

"""``Upgrade: websocket`` becomes a tunnel after it was authorised, never before, and ends with its token (specs 6.7)."""

import socket
import threading
import time

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, new_trace, orders_at, outbound
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


class Echo:
    """An app that switches and echoes; by the path it also talks first, refuses, or switches to something else."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.ended = 0

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            self.heads.append(head)
            if b"/refuses" in head or b"Upgrade: websocket" not in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
                continue
            if b"/other" in head:
                connection.sendall(SWITCH.replace(b"websocket", b"h2c"))
                continue
            first = b"HTTP/1.1 103 Early Hints\r\n\r\n" if b"/hints" in head else b""
            connection.sendall(first + SWITCH + (b"hello" if b"/talks" in head else b""))
            while data := connection.recv(65536):
                if data == b"bye":
                    connection.sendall(b"farewell")
                    break
                connection.sendall(data)
            self.ended += 1
            return


@pytest.fixture(scope="module")
def echo() -> Echo:
    """What the app does."""
    return Echo()


@pytest.fixture(scope="module")
def app(mesh: Mesh, echo: Echo) -> RawApp:
    """The app."""
    return mesh.raw_app(echo)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port))


@pytest.fixture(scope="module")
def edge(mesh: Mesh, orders: Sidecar) -> Sidecar:
    """The sidecar beside the caller."""
    return mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")


@pytest.fixture
def wire(mesh: Mesh, edge: Sidecar) -> Wire:
    """A connection through both."""
    return mesh.plain(edge.ports["outbound"])


def test_bytes_pass_both_ways(mesh: Mesh, echo: Echo, wire: Wire) -> None:
    """Any bytes, also what looks like HTTP, and megabytes of them; the end of one side is the end of both."""
    trace = new_trace()
    answer = wire.ask("GET", "/any/ws", mesh.bearer() | UPGRADE | trace)
    assert (answer.status, answer.get("upgrade"), answer.get("connection")) == (101, "websocket", "Upgrade")
    assert answer.get("sec-websocket-accept") == "x"
    assert b"Sec-WebSocket-Key: dGhl" in echo.heads[-1]
    assert b"Connection: Upgrade\r\n" in echo.heads[-1]
    for data in (b"\x81\x02hi", b"GET /orders/1 HTTP/1.1\r\n\r\n", bytes(range(256)) * 400):
        assert wire.send(data).take(len(data)) == data
    ended = echo.ended
    assert wire.send(b"bye").rest() == b"farewell"
    wait_until(lambda: echo.ended > ended, "the app's end")
    record = mesh.record("orders", trace)
    assert (record["status"], record["decision"]) == (101, "allow")
    assert record["request_bytes"] == record["response_bytes"] - len("farewell") + len("bye")


def test_bytes_that_come_with_the_switch(mesh: Mesh, wire: Wire) -> None:
    """The app talks first, in the same piece as its 101; the caller does not wait for the 101."""
    token = mesh.bearer()["Txn-Token"]
    fields = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    data = f"GET /any/talks HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n{fields}\r\n".encode()
    wire.send(data + b"early")
    assert wire.reply().status == 101
    assert wire.take(10) == b"helloearly"


def test_a_hint_before_the_switch(mesh: Mesh, wire: Wire) -> None:
    """An interim answer in the same piece stays before the 101."""
    answer = wire.ask("GET", "/any/hints", mesh.bearer() | UPGRADE)
    assert (answer.status, [i.status for i in answer.interims]) == (101, [103])
    assert wire.send(b"x").take(1) == b"x"


def test_the_caller_goes_away(mesh: Mesh, echo: Echo, orders: Sidecar, wire: Wire) -> None:
    """The app is told, and no connection stays."""
    wire.ask("GET", "/any/ws", mesh.bearer() | UPGRADE)
    ended = echo.ended
    wire.close()
    wait_until(lambda: echo.ended > ended, "the app's end")
    assert orders.open_connections() >= 0


@pytest.mark.parametrize(
    ("target", "fields", "reason"),
    [("/any/ws", {}, "token_missing"), ("/nothing", {"token": "good"}, "route_not_allowed")],
)
def test_no_byte_before_it_is_authorised(
    mesh: Mesh, echo: Echo, orders: Sidecar, target: str, fields: dict[str, str], reason: str
) -> None:
    """A refused upgrade is an HTTP refusal, and what was sent behind it is no tunnel."""
    seen = len(echo.heads)
    wire = mesh.connect(orders.ports["inbound"])
    head = UPGRADE | (mesh.bearer() if fields else {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    wire.send(f"GET {target} HTTP/1.1\r\nHost: orders\r\n{lines}\r\n".encode() + b"\x81\x02hi\r\n\r\n")
    assert wire.reply().reason == reason
    assert wire.reply().reason == "bad_request", "it is read as HTTP, for nobody agreed on anything else"
    assert len(echo.heads) == seen


def test_the_app_may_refuse(mesh: Mesh, wire: Wire) -> None:
    """Any other answer is an ordinary one; the connection goes on."""
    assert wire.ask("GET", "/any/refuses", mesh.bearer() | UPGRADE).body == b"no"
    assert wire.ask("GET", "/any/x", mesh.bearer()).body == b"no"


def test_the_app_may_not_switch_to_something_else(mesh: Mesh, wire: Wire, orders: Sidecar) -> None:
    """Not to a protocol that was not offered, and not at all where none was."""
    assert wire.ask("GET", "/any/other", mesh.bearer() | UPGRADE).status == 502

    def script(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(SWITCH)

    raw = mesh.raw_app(script)
    ledger = mesh.start("ledger", INBOUND.format(app=raw.port))
    tls = mesh.connect(ledger.ports["inbound"])
    assert tls.ask("GET", "/any/x", mesh.bearer()).status == 502
    assert orders.decisions(decision="error") >= 1


@pytest.mark.parametrize(
    "fields",
    [
        {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"},
        {"Connection": "Upgrade", "Upgrade": "h2c, websocket"},
        {"Connection": "Upgrade", "Upgrade": "TLS/1.3"},
        {"Upgrade": "websocket"},
        {"Connection": "close", "Upgrade": "websocket"},
    ],
    ids=["h2c", "a list", "TLS", "not in Connection", "close"],
)
def test_other_upgrades_are_stripped(mesh: Mesh, echo: Echo, wire: Wire, fields: dict[str, str]) -> None:
    """h2c first of all: what is behind it nobody could judge. The request itself is served."""
    assert wire.ask("GET", "/any/x", mesh.bearer() | fields).body == b"no"
    assert b"upgrade" not in echo.heads[-1].lower()
    assert b"http2-settings" not in echo.heads[-1].lower()


def test_an_upgrade_with_a_body_or_another_method(mesh: Mesh, echo: Echo, wire: Wire) -> None:
    """RFC 6455 knows GET without a body alone."""
    raw = mesh.bearer() | UPGRADE
    assert wire.ask("POST", "/any/x", raw).body == b"no"
    assert b"upgrade" not in echo.heads[-1].lower()
    chunked = "".join(f"{n}: {v}\r\n" for n, v in (raw | {"Transfer-Encoding": "chunked"}).items())
    wire.send(f"GET /any/x HTTP/1.1\r\nHost: orders\r\n{chunked}\r\n0\r\n\r\n".encode())
    assert wire.reply().body == b"no"
    assert b"upgrade" not in echo.heads[-1].lower()


def test_connect_and_trace_are_refused(mesh: Mesh, app: RawApp, edge: Sidecar, orders: Sidecar) -> None:
    """CONNECT in any form, TRACE with a token in it; nobody is called."""
    accepted = app.accepted
    for target in ("ledger:443", "orders:80", "/any/x", "*", "http://orders/any/x"):
        for wire in (mesh.plain(edge.ports["outbound"]), mesh.connect(orders.ports["inbound"])):
            answer = wire.ask("CONNECT", target, mesh.bearer())
            assert (answer.status, answer.reason, answer.closes) == (501, "method_refused", True), target
    answer = mesh.plain(edge.ports["outbound"]).ask("TRACE", "/any/x", mesh.bearer())
    assert (answer.status, answer.reason) == (501, "method_refused")
    assert mesh.connect(orders.ports["inbound"]).ask("TRACE", "/any/x", mesh.bearer()).status in {403, 501}
    assert app.accepted == accepted


def test_it_ends_with_its_token(mesh: Mesh, wire: Wire) -> None:
    """However busy it is: an authority that has ended is none."""
    expires = time.time() + 4
    token = mesh.bearer(iat=int(expires) - 10, exp=int(expires))
    assert wire.ask("GET", "/any/ws", token | UPGRADE).status == 101
    with pytest.raises((ConnectionError, AssertionError)):
        while time.time() < expires + 15:
            assert wire.send(b"x").take(1) == b"x"
            time.sleep(0.02)
    assert time.time() >= int(expires) - 0.1


def test_each_side_is_as_fast_as_the_other_reads(mesh: Mesh) -> None:
    """Where one side does not read, the other is held back and not kept in memory; when it reads on, nothing is lost."""
    size = 48 * 1024 * 1024
    go = threading.Event()
    got = []

    def app(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(SWITCH)
        go.wait(20)
        left = size
        while left and (piece := connection.recv(min(left, 1 << 20))):
            left -= len(piece)
        got.append(size - left)
        sent = 0
        connection.settimeout(0.5)
        try:
            while sent < size:
                sent += connection.send(b"a" * min(1 << 16, size - sent))
        except TimeoutError:
            got.append(sent)
            connection.settimeout(20)
            connection.sendall(b"a" * (size - sent))

    orders = mesh.start("orders", INBOUND.format(app=mesh.raw_app(app).port))
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/ws", mesh.bearer() | UPGRADE).status == 101
    before = orders.anonymous_bytes
    wire.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < size:
            wire.send(b"c" * 16384)
            sent += 16384
    assert orders.anonymous_bytes - before < 16 * 1024 * 1024
    go.set()
    wire.sock.settimeout(20)
    # The record that was held back may have left in part: openssl goes on with it.
    while sent < size:
        wire.send(b"c" * 16384)
        sent += 16384
    wait_until(lambda: len(got) == 2, "the app was held back", 20)
    assert orders.anonymous_bytes - before < 16 * 1024 * 1024
    assert got[0] == size
    assert got[1] < size
    assert len(wire.take(size)) == size

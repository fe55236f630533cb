"""`limits.bytes` holds a connection of HTTP: all bodies both ways, and nobody takes a part for the whole."""

import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.apps import RawApp, read_head
from support.mesh import Mesh, new_trace
from support.sidecar import Sidecar, wait_until
from support.wire import Truncated, Wire

N = 1000
OK = b"HTTP/1.1 200 OK\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

RULES = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    mode: {mode}
    {limits}
    routes: [{{match: "* {path}/**"}}, {{match: "POST /facts", facts: {{n: "body:/n"}}}}]
"""


@dataclass
class Answering:
    """An app: ``/any/KIND/N`` is answered with N bytes, framed so. ``bodies`` are what it was sent, whole or not."""

    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            self.heads.append(head)
            path = head.split(b" ")[1].split(b"/")
            self._take(connection, head)
            self._answer(connection, path[2] if len(path) > 3 else b"empty", int(path[3]) if len(path) > 3 else 0)

    def _take(self, connection: socket.socket, head: bytes) -> None:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = b""
        if b"transfer-encoding" in fields:
            with contextlib.suppress(ConnectionError):
                while not body.endswith(b"0\r\n\r\n") and (piece := connection.recv(65536)):
                    body += piece
        else:
            length = int(fields.get(b"content-length", b"0"))
            while len(body) < length and (piece := connection.recv(65536)):
                body += piece
        self.bodies.append(body)

    def _answer(self, connection: socket.socket, kind: bytes, count: int) -> None:
        data = b"a" * count
        if kind == b"counted":
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % count + data)
        elif kind == b"chunked":
            connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, count, 300):
                piece = data[at : at + 300]
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
        elif kind == b"close":
            connection.sendall(OK + b"\r\n" + data)
            connection.shutdown(socket.SHUT_WR)
        elif kind == b"ws":
            connection.sendall(SWITCH)
            while piece := connection.recv(65536):
                connection.sendall(piece)
        else:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.fixture(scope="module")
def told() -> Answering:
    """What the app was told."""
    return Answering()


@pytest.fixture(scope="module")
def app(mesh: Mesh, told: Answering) -> RawApp:
    """The app."""
    return mesh.raw_app(told)


def rules(app: RawApp, limits: str = f"limits: {{bytes: {N}}}", path: str = "/any", mode: str = "enforce") -> str:
    """A sidecar before the app."""
    return RULES.format(app=app.port, limits=limits, path=path, mode=mode)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar, whose connections carry N bytes."""
    return mesh.start("orders", rules(app))


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of the peer."""
    return mesh.connect(orders.ports["inbound"])


def bearer(mesh: Mesh, **claims: object) -> dict[str, str]:
    """A token of this mesh's rule."""
    return mesh.bearer(**({"scope": "orders.read"} | claims))


def test_all_requests_both_ways(mesh: Mesh, orders: Sidecar, told: Answering, wire: Wire) -> None:
    """The byte with number n passes, and its answer is the last; nothing of n + 1 reaches the app, and the reason is told."""
    token = bearer(mesh)
    assert wire.ask("POST", "/any/counted/200", token, b"b" * 300).body == b"a" * 200
    assert wire.ask("POST", "/any/chunked/100", token, b"b" * 100).body == b"a" * 100
    assert wire.ask("POST", "/any/empty/0", token, b"b" * 299).status == 204
    trace, asked = new_trace(), len(told.heads)
    answer = wire.ask("POST", "/any/empty/0", token | trace, b"bb")
    assert (answer.status, answer.reason, answer.closes) == (403, "bytes_spent", True)
    assert wire.ends()
    assert len(told.heads) == asked
    record = mesh.record("orders", trace)
    assert (record["decision"], record["reason"], record["rule"]) == ("deny", "bytes_spent", "edge may order")
    orders.wait_for_decision(decision="deny", reason="bytes_spent", rule="edge may order")


@pytest.mark.parametrize("kind", ["counted", "chunked"])
def test_the_last_byte_is_the_last_of_the_connection(mesh: Mesh, wire: Wire, told: Answering, kind: str) -> None:
    """Whole, and whoever sends more has to connect again. What was pipelined behind it is not served."""
    asked = len(told.heads)
    token = bearer(mesh)["Txn-Token"]
    one = "GET /any/%s/%d HTTP/1.1\r\nHost: orders\r\nTxn-Token: " + token + "\r\n\r\n"
    wire.send((one % (kind, N) + one % (kind, 1)).encode())
    answer = wire.reply()
    assert (answer.status, len(answer.body)) == (200, N)
    assert answer.closes is (kind == "counted"), "of the other nobody knows it before"
    assert wire.ends()
    assert len(told.heads) == asked + 1


def test_another_connection_has_its_own(mesh: Mesh, orders: Sidecar) -> None:
    """It is a limit of one connection, no quota of the peer."""
    for _ in range(3):
        assert mesh.connect(orders.ports["inbound"]).ask("GET", f"/any/counted/{N}", bearer(mesh)).status == 200


def test_an_answer_that_says_it_is_larger(mesh: Mesh, wire: Wire) -> None:
    """Is not begun."""
    answer = wire.ask("GET", f"/any/counted/{N + 1}", bearer(mesh))
    assert (answer.status, answer.reason, answer.closes) == (403, "bytes_spent", True)
    assert wire.ends()


def test_an_answer_that_streams_is_cut(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """After n bytes, without its last chunk."""
    trace = new_trace()
    lines = "".join(f"{name}: {value}\r\n" for name, value in (bearer(mesh) | trace).items())
    wire.send(f"GET /any/chunked/{N + 1} HTTP/1.1\r\nHost: orders\r\n{lines}\r\n".encode())
    assert wire.head().status == 200
    data = wire.rest()
    assert data.count(b"a") <= N
    assert not data.endswith(b"0\r\n\r\n")
    record = mesh.record("orders", trace)
    assert (record["status"], record["decision"], record["reason"]) == (200, "deny", "bytes_spent")
    assert record["response_bytes"] == N
    with pytest.raises((Truncated, ConnectionError)):
        mesh.connect(orders.ports["inbound"]).ask("GET", f"/any/close/{N + 1}", bearer(mesh))


def test_a_caller_of_http_1_0_is_reset(mesh: Mesh, wire: Wire) -> None:
    """The mere end of its connection would be the end of the answer; its TLS has no close_notify either."""
    wire.send(
        f"GET /any/close/{N + 1} HTTP/1.0\r\nHost: orders\r\nTxn-Token: {bearer(mesh)['Txn-Token']}\r\n\r\n".encode()
    )
    assert isinstance(wire.sock, ssl.SSLSocket)
    wire.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # it is there since Python 2.6
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        while wire.sock.recv(65536):
            pass


def test_a_body_of_unknown_length_is_cut(mesh: Mesh, told: Answering, wire: Wire) -> None:
    """The app never sees its end; the caller is told why."""
    fields = bearer(mesh) | {"Transfer-Encoding": "chunked"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    asked, seen = len(told.heads), len(told.bodies)
    wire.send(f"POST /any/empty/0 HTTP/1.1\r\nHost: orders\r\n{lines}\r\n".encode())
    wait_until(lambda: len(told.heads) > asked, "the app has the head")
    for _ in range(4):
        wire.send(b"fa\r\n" + b"b" * 250 + b"\r\n")
    wire.send(b"1\r\nb\r\n0\r\n\r\n")
    answer = wire.reply()
    assert (answer.status, answer.reason, answer.closes) == (403, "bytes_spent", True)
    wait_until(lambda: len(told.bodies) > seen, "the app's connection was cut")
    assert told.bodies[-1].count(b"b") <= N
    assert not told.bodies[-1].endswith(b"0\r\n\r\n")


def test_a_body_that_is_read_before_it_is_judged(mesh: Mesh, wire: Wire, told: Answering) -> None:
    """A fact is taken from it; it counts as every other."""
    body = b'{"n": 7, "pad": "%b"}' % (b"b" * 400)
    token = bearer(mesh, tctx={"n": 7}) | {"Content-Type": "application/json"}
    assert wire.ask("POST", "/facts", token, body).status == 204
    assert wire.ask("POST", "/facts", token, body).status == 204
    asked = len(told.heads)
    assert wire.ask("POST", "/facts", token, body).reason == "bytes_spent"
    assert len(told.heads) == asked


def test_what_has_no_body_costs_nothing(mesh: Mesh, wire: Wire) -> None:
    """HEAD, whatever length its answer names; refusals, whose bodies are ours."""
    for _ in range(5):
        assert wire.ask("GET", "/nothing", bearer(mesh)).status == 403
        assert wire.ask("GET", "/any/empty/0", bearer(mesh)).status == 204
    assert wire.ask("GET", f"/any/counted/{N}", bearer(mesh)).status == 200


def test_a_websocket_has_what_is_left(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """What was carried before it counts, and its record says what ended it."""
    assert wire.ask("POST", "/any/counted/300", bearer(mesh), b"b" * 300).status == 200
    trace = new_trace()
    assert wire.ask("GET", "/any/ws/0", bearer(mesh) | UPGRADE | trace).status == 101
    assert wire.send(b"x" * 200).take(200) == b"x" * 200
    wire.send(b"y")
    assert wire.ends()
    record = mesh.record("orders", trace)
    assert (record["status"], record["decision"], record["reason"]) == (101, "deny", "bytes_spent")
    assert record["request_bytes"] == record["response_bytes"] == 200
    orders.wait_for_decision(decision="deny", reason="bytes_spent")


def test_audit_mode_lets_nobody_carry_more(mesh: Mesh, app: RawApp) -> None:
    """What it lets pass are refusals of the rules; limits are none (policy/modes.py)."""
    orders = mesh.start("orders", rules(app, mode="audit"))
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", f"/any/counted/{N + 1}", bearer(mesh)).reason == "bytes_spent"


@pytest.fixture
def reload(mesh: Mesh, app: RawApp) -> tuple[Sidecar, Callable[..., None]]:
    """A sidecar of this test's own, and how its rules change."""
    orders = mesh.start("orders", rules(app, limits=""))

    def change(**parts: str) -> None:
        before = orders.metric("svidecar_reload_total", result="ok")
        mesh.config("orders", rules(app, **parts))
        orders.signal(signal.SIGHUP)
        wait_until(lambda: orders.metric("svidecar_reload_total", result="ok") > before, "reloaded")

    return orders, change


def test_another_policy_holds_what_is_open(mesh: Mesh, reload: tuple[Sidecar, Callable[..., None]]) -> None:
    """A limit, a lower one and none: from then on. What passed while there was none was counted by nobody."""
    orders, change = reload
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", f"/any/counted/{2 * N}", bearer(mesh)).status == 200
    change()
    assert wire.ask("GET", "/any/counted/600", bearer(mesh)).status == 200
    change(limits=f"limits: {{bytes: {2 * N}}}")
    assert wire.ask("GET", f"/any/counted/{N}", bearer(mesh)).status == 200
    change(limits="")
    assert wire.ask("GET", f"/any/counted/{N}", bearer(mesh)).status == 200
    change()
    assert wire.ask("GET", "/any/counted/600", bearer(mesh)).status == 200
    change(limits="limits: {bytes: 500}")
    answer = wire.ask("GET", "/any/empty/0", bearer(mesh))
    assert (answer.status, answer.reason, answer.closes) == (403, "bytes_spent", True)


def test_an_answer_in_progress_is_held_to_a_new_limit(
    mesh: Mesh, app: RawApp, reload: tuple[Sidecar, Callable[..., None]]
) -> None:
    """It is cut where the new policy ends it."""
    orders, change = reload
    begun, go = threading.Event(), threading.Event()

    def slowly(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(OK + b"Content-Length: 5000\r\n\r\nb")
        begun.set()
        go.wait(20)
        connection.sendall(b"b" * 4999)

    before, app.script = app.script, slowly
    try:
        wire = mesh.connect(orders.ports["inbound"])
        wire.send(f"GET /any/x/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: {bearer(mesh)['Txn-Token']}\r\n\r\n".encode())
        assert wire.head().status == 200
        assert begun.wait(10)
        change()
        go.set()
        assert wire.rest().count(b"b") == N + 1
    finally:
        app.script = before


@pytest.mark.parametrize(
    ("parts", "reason"),
    [({"path": "/other"}, "route_not_allowed"), ({"limits": "limits: {bytes: 5}"}, "bytes_spent")],
    ids=["its route is gone", "its limit is lower"],
)
def test_a_websocket_is_judged_again(
    mesh: Mesh, reload: tuple[Sidecar, Callable[..., None]], parts: dict[str, str], reason: str
) -> None:
    """A policy that allows it goes on; one that does not, or less, ends it."""
    orders, change = reload
    wire = mesh.connect(orders.ports["inbound"])
    trace = new_trace()
    assert wire.ask("GET", "/any/ws/0", bearer(mesh) | UPGRADE | trace).status == 101
    assert wire.send(b"xxxx").take(4) == b"xxxx"
    change(limits="limits: {time: 60s}")
    assert wire.send(b"x").take(1) == b"x"
    change(**parts)
    if reason == "bytes_spent":
        wire.send(b"y")
    assert wire.ends()
    record = mesh.record("orders", trace)
    assert (record["decision"], record["reason"]) == ("deny", reason)

"""A reused connection that dies before the first byte of an answer: GET is sent again, once; POST never (RFC 9110 9.2.2)."""

import socket
import struct

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Fragile:
    """An app whose connections serve one request and die at the second one, in the way that a test says."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.how = "fin"
        self.always = False

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        self.heads.append(read_head(connection))
        if not self.always:
            connection.sendall(OK)
            self.heads.append(read_head(connection))
        if self.how == "rst":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.how == "interim":
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        elif self.how == "half a head":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-")

    def seen(self, target: str) -> int:
        """How often this target was asked for."""
        return sum(f" {target} ".encode() in head for head in self.heads)


@pytest.fixture
def fragile() -> Fragile:
    """What the app does."""
    return Fragile()


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """The app; each test gives it a script of its own."""
    return mesh.raw_app(lambda _: None)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port))


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar, app: RawApp, fragile: Fragile) -> Wire:
    """A connection after one good request: the sidecar has an idle connection to the app, which will die."""
    app.script = fragile
    wire = mesh.connect(orders.ports["inbound"])
    while not fragile.seen("/any/first"):  # what another test left idle dies with it
        wire.ask("GET", "/any/first", mesh.bearer())
    return wire


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_is_sent_again(mesh: Mesh, wire: Wire, fragile: Fragile, how: str, method: str) -> None:
    """Over a new connection; the caller sees an answer and nothing else."""
    fragile.how = how
    answer = wire.ask(method, "/any/second", mesh.bearer())
    assert answer.status == 200
    assert fragile.seen("/any/second") == 2


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(("method", "body"), [("POST", b""), ("PATCH", b""), ("POST", b"x"), ("PUT", b"x")])
def test_any_other_request_is_not(mesh: Mesh, wire: Wire, fragile: Fragile, how: str, method: str, body: bytes) -> None:
    """It may have been done; and a body that went out is not kept."""
    fragile.how = how
    answer = wire.ask(method, "/any/second", mesh.bearer(), body)
    assert (answer.status, answer.reason) == (502, "upstream_reset")
    assert fragile.seen("/any/second") == 1


@pytest.mark.parametrize("how", ["interim", "half a head"])
def test_not_after_the_first_byte(mesh: Mesh, wire: Wire, fragile: Fragile, how: str) -> None:
    """An answer that has begun is not begun again."""
    fragile.how = how
    answer = wire.ask("GET", "/any/second", mesh.bearer())
    assert (answer.status, answer.reason) == (502, "upstream_reset")
    assert fragile.seen("/any/second") == 1


def test_only_once(mesh: Mesh, wire: Wire, fragile: Fragile) -> None:
    """Where the new connection dies too, that is the answer."""
    fragile.always = True
    answer = wire.ask("GET", "/any/second", mesh.bearer())
    assert (answer.status, answer.reason) == (502, "upstream_reset")
    assert fragile.seen("/any/second") == 2


def test_never_on_a_fresh_connection(mesh: Mesh, orders: Sidecar, app: RawApp, fragile: Fragile) -> None:
    """An app that dies of a request is not asked again."""
    app.cut()
    app.script = fragile
    fragile.always = True
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/any/second", mesh.bearer())
    if fragile.seen("/any/second") == 2:  # one that another test left idle had not died yet
        return
    assert (answer.status, answer.reason) == (502, "upstream_reset")
    assert fragile.seen("/any/second") == 1


def test_through_mtls_too(mesh: Mesh, app: RawApp, orders: Sidecar) -> None:
    """The sidecar of the destination ends while its connection is idle; the next request opens another one."""
    app.script = _serve
    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")
    wire = mesh.plain(edge.ports["outbound"])
    for _ in range(3):
        assert wire.ask("GET", "/any/x", mesh.bearer()).status == 200


def _serve(connection: socket.socket) -> None:
    while read_head(connection).endswith(b"\r\n\r\n"):
        connection.sendall(OK)

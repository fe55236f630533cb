"""What the app reads about its caller was written by the sidecar: nothing of the kind passes from a caller (laws 3, 4)."""

import hashlib
import socket

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh
from support.pki import der
from support.sidecar import Sidecar
from support.wire import Wire


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecar."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar."""
    return mesh.start("orders", INBOUND.format(app=app.port) + "timeouts: {linger: 100ms}\n")


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of the peer that policy admits."""
    return mesh.connect(orders.ports["inbound"])


def _own(mesh: Mesh) -> str:
    digest = hashlib.sha256(der(mesh.svids["edge"].certificate)).hexdigest()
    return f"By=spiffe://example.org/orders;Hash={digest};URI=spiffe://example.org/edge"


def test_the_app_reads_who_called(mesh: Mesh, app: App, wire: Wire) -> None:
    """In Envoy's text form."""
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    assert app.fields("x-forwarded-client-cert") == [_own(mesh)]


def test_what_a_caller_claims_is_dropped(mesh: Mesh, app: App, wire: Wire) -> None:
    """In any case, any number, and before or after: the app reads ours alone."""
    forged = b"By=spiffe://example.org/orders;Hash=00;URI=spiffe://example.org/admin"
    for name in (b"X-Forwarded-Client-Cert", b"x-forwarded-client-cert", b"X-FORWARDED-CLIENT-CERT"):
        head = b"GET /any/1 HTTP/1.1\r\nHost: orders\r\n%b: %b\r\n" % (name, forged)
        head += b"%b: %b\r\nClient-Cert: :AAAA:\r\nclient-cert-chain: :AAAA:, :BBBB:\r\n" % (name, forged)
        assert wire.send(head + b"Txn-Token: " + mesh.mint.token() + b"\r\n\r\n").reply().status == 200
        assert app.fields("x-forwarded-client-cert") == [_own(mesh)]
        assert not app.fields("client-cert")
        assert not app.fields("client-cert-chain")


@pytest.mark.parametrize(
    "name",
    [
        "X_Forwarded_Client_Cert",
        "x_forwarded-client_cert",
        "Txn_Token",
        "TXN_TOKEN",
        "Client_Cert",
        "Content_Length",
        "Transfer_Encoding",
        "Txn.Token",
        "X~Forwarded~Client~Cert",
    ],
)
def test_twins_are_refused(mesh: Mesh, app: App, wire: Wire, name: str) -> None:
    """A gateway that turns ``_`` into ``-`` would read them as ours."""
    seen = len(app.requests)
    answer = wire.ask("GET", "/any/1", mesh.bearer() | {name: "x"})
    assert (answer.status, answer.reason, answer.closes) == (400, "owned_field", True)
    assert wire.ends()
    assert len(app.requests) == seen


@pytest.mark.parametrize(
    "option",
    [
        "Txn-Token",
        "txn-token",
        "close, Txn-Token",
        "X-Forwarded-Client-Cert",
        "Client-Cert",
        "Host",
        "Authorization",
        "traceparent",
    ],
)
def test_connection_may_not_name_what_must_arrive(mesh: Mesh, app: App, wire: Wire, option: str) -> None:
    """A naive hop would drop the field after it was checked."""
    seen = len(app.requests)
    answer = wire.ask("GET", "/any/1", mesh.bearer() | {"Connection": option})
    assert (answer.status, answer.reason) == (400, "owned_field")
    assert wire.ends()
    assert len(app.requests) == seen


def test_connection_is_applied_to_the_rest(mesh: Mesh, app: App, wire: Wire) -> None:
    """What it names goes, and itself, and every other field of one hop."""
    fields = {
        "Connection": "X-Hop, keep-alive",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "TE": "gzip",
        "X-Stays": "1",
    }
    assert wire.ask("GET", "/any/1", mesh.bearer() | fields).status == 200
    for gone in ("connection", "x-hop", "keep-alive", "proxy-connection", "te", "upgrade"):
        assert not app.fields(gone), gone
    assert app.fields("x-stays") == ["1"]


def test_the_token_arrives_byte_for_byte(mesh: Mesh, app: App, wire: Wire) -> None:
    """And the order and the bytes of ordinary fields stay."""
    token = mesh.mint.token()
    head = b"GET /any/1?q=%%41 HTTP/1.1\r\nHost: orders\r\nX-A: 1\r\nX-B:  2 \r\nX-A:\t3\r\ntXn-ToKen: %b\r\nCookie: a=b; c=\xe4\r\n\r\n"
    assert wire.send(head % token).reply().status == 200
    assert app.fields("txn-token") == [token.decode()]
    assert app.fields("x-a") == ["1", "3"]
    assert app.fields("x-b") == ["2"]
    assert app.fields("cookie") == ["a=b; c=\xe4"]
    assert app.requests[-1]["target"] == "/any/1?q=%41"


def test_what_the_app_says_of_itself_stays_here(mesh: Mesh) -> None:
    """A token or an identity in an answer does not travel back."""
    answer = (
        b"HTTP/1.1 200 OK\r\nTxn-Token: secret\r\nX-Forwarded-Client-Cert: x\r\nX-Ok: 1\r\nContent-Length: 0\r\n\r\n"
    )

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    raw = mesh.raw_app(script)
    sidecar = mesh.start("ledger", INBOUND.format(app=raw.port))
    reply = mesh.connect(sidecar.ports["inbound"]).ask("GET", "/any/1", mesh.bearer())
    assert reply.get("x-ok") == "1"
    assert reply.get("txn-token") == reply.get("x-forwarded-client-cert") == ""

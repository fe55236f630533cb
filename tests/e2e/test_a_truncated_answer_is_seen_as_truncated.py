"""Where an answer ends before its framing says so, no caller may take what came as the whole of it."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, LEDGER, Mesh, load_svid, new_trace, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import Truncated

OK = b"HTTP/1.1 200 OK\r\n"
CUTS = {
    "counted": OK + b"Content-Length: 10\r\n\r\nhalf",
    "chunked, between chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "chunked, in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
    "chunked, before the trailers end": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: 1\r\n",
    "chunked, then garbage": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nXYZ\r\n",
}


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """An app that gives half an answer, by the path, and closes."""

    def script(connection: socket.socket) -> None:
        head = read_head(connection)
        connection.sendall(list(CUTS.values())[int(head.split(b" ")[1].rpartition(b"/")[2])])

    return mesh.raw_app(script)


@pytest.fixture(scope="module")
def chain(mesh: Mesh, app: RawApp) -> dict[str, Sidecar]:
    """Two sidecars, and one of them alone."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    return {"orders": orders, "edge": mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")}


@pytest.mark.parametrize("name", CUTS)
def test_through_two_sidecars(mesh: Mesh, chain: dict[str, Sidecar], name: str) -> None:
    """The end of the connection comes before the end of the answer; both logs have the reason."""
    trace = new_trace()
    wire = mesh.plain(chain["edge"].ports["outbound"])
    with pytest.raises((Truncated, ConnectionError)):
        wire.ask("GET", f"/any/{list(CUTS).index(name)}", mesh.bearer() | trace)
    for service in ("edge", "orders"):
        record = mesh.record(service, trace)
        assert (record["status"], record["decision"]) == (200, "error")
        assert record["reason"] in {"upstream_reset", "upstream_bad_response"}


@pytest.mark.parametrize("name", [name for name in CUTS if name != "counted"])
def test_for_a_caller_of_http_1_0(mesh: Mesh, chain: dict[str, Sidecar], name: str) -> None:
    """It reads to the end of the connection, so only a reset tells it: over plain TCP and over TLS."""
    token = mesh.bearer()["Txn-Token"]
    target = f"/any/{list(CUTS).index(name)}"
    data = f"GET {target} HTTP/1.0\r\nHost: orders\r\nTxn-Token: {token}\r\n\r\n".encode()
    plain = mesh.plain(chain["edge"].ports["outbound"]).send(data)
    with pytest.raises(ConnectionResetError):
        while plain.sock.recv(65536):
            pass
    tls = mesh.connect(chain["orders"].ports["inbound"])
    assert isinstance(tls.sock, ssl.SSLSocket)
    tls.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]  # it is there since Python 2.6
    tls.send(data)
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        while tls.sock.recv(65536):
            pass


@pytest.fixture(scope="module")
def ragged(mesh: Mesh) -> Iterator[int]:
    """A TLS server of the mesh whose answer ends with the connection: with close_notify for /whole, without for /cut."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=mesh.ca.bundle_pem.decode())
    load_svid(context, mesh.ca.svid(LEDGER), mesh.folder)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                tls = context.wrap_socket(sock, server_side=True)
                head = read_head(tls)
                tls.sendall(OK + b"\r\nall that there is")
                if b"/whole" in head:
                    tls.settimeout(2)
                    tls.unwrap()
                tls.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize("loop", ["uvloop+aiofastnet", "uvloop", "asyncio"])
def test_an_end_of_tcp_is_no_end_of_tls(mesh: Mesh, ragged: int, loop: str) -> None:
    """Without close_notify anybody on the way could have cut the answer (specs 6.8)."""
    destination = f'host: ledger, address: "127.0.0.1:{ragged}", spiffe_id: {LEDGER}'
    yaml = outbound(destination) + "tokens: {keys: jwks.json}\n"
    shop = mesh.start(f"shop-{len(loop)}", yaml, event_loop=loop)
    whole = mesh.plain(shop.ports["outbound"]).ask("GET", "/whole", host="ledger")
    assert whole.body == b"all that there is"
    with pytest.raises((Truncated, ConnectionError)):
        mesh.plain(shop.ports["outbound"]).ask("GET", "/cut", host="ledger")

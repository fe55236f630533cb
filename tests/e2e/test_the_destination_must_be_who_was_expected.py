"""Outbound, a request leaves only for a peer that has proved to be the SPIFFE ID of its destination, and not before."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from support.mesh import LEDGER, Mesh, load_svid, outbound
from support.pki import Authority, Svid
from support.sidecar import Sidecar, wait_until

OTHER = "other.org"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """A TLS server with an SVID that keeps what it is sent after the handshake, and answers."""

    def __init__(self, mesh: Mesh, svid: Svid, trusts: Authority | None = None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=(trusts or mesh.ca).bundle_pem.decode())
        load_svid(self.context, svid, mesh.folder)
        self.received = b""
        self.ended = 0
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            sock.settimeout(10)
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError), self.context.wrap_socket(sock, server_side=True) as tls:
            while piece := tls.recv(65536):
                self.received += piece
                tls.sendall(ANSWER)
        self.ended += 1

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(5)


@pytest.fixture(scope="module")
def servers(mesh: Mesh) -> Iterator[dict[str, Recorder]]:
    """Servers by what is wrong with them."""
    other = Authority.make(OTHER)
    (mesh.folder / "other.pem").write_bytes(other.bundle_pem)
    made = {
        "right": Recorder(mesh, mesh.ca.svid(LEDGER)),
        "another workload": Recorder(mesh, mesh.ca.svid("spiffe://example.org/orders")),
        "the workload's child": Recorder(mesh, mesh.ca.svid(LEDGER + "/child")),
        "foreign CA": Recorder(mesh, Authority.make("example.org").svid(LEDGER)),
        "other domain's CA": Recorder(mesh, other.svid(LEDGER)),
        "expired": Recorder(mesh, mesh.ca.svid(LEDGER, lifetime_s=-5)),
        "two URIs": Recorder(mesh, mesh.ca.svid(LEDGER, more_uris=["spiffe://example.org/x"])),
        "a CA": Recorder(
            mesh, mesh.ca.svid(LEDGER, is_ca=True, usage=frozenset({"digital_signature", "key_cert_sign"}))
        ),
        "refuses us": Recorder(mesh, mesh.ca.svid(LEDGER), trusts=Authority.make("example.org")),
    }
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def edge(mesh: Mesh, servers: dict[str, Recorder]) -> Sidecar:
    """A sidecar with a destination for each server."""
    destinations = [
        f'host: s{number}, address: "127.0.0.1:{server.port}", spiffe_id: {LEDGER}'
        for number, server in enumerate(servers.values())
    ]
    files = "svid: edge/svid.pem, key: edge/svid_key.pem, bundle: edge/svid_bundle.pem"
    return mesh.start(
        "edge",
        outbound(*destinations) + "tokens: {keys: jwks.json}\ntimeouts: {connect: 1s}\n",
        identity=f"{{files: {{{files}, federated: {{{OTHER}: other.pem}}}}}}",
    )


WRONG = ("another workload", "the workload's child", "foreign CA", "other domain's CA", "expired", "two URIs", "a CA")


@pytest.mark.parametrize("name", WRONG)
def test_no_byte_of_the_request_is_sent(mesh: Mesh, edge: Sidecar, servers: dict[str, Recorder], name: str) -> None:
    """The recording server sees a handshake at the most, and then the end."""
    server, host = servers[name], f"s{list(servers).index(name)}"
    ended = server.ended
    answer = mesh.plain(edge.ports["outbound"]).ask("POST", "/secret", mesh.bearer(), b"secret" * 1000, host=host)
    assert (answer.status, answer.reason) == (502, "upstream_untrusted")
    wait_until(lambda: server.ended > ended, "the server's end")
    assert server.received == b""
    assert edge.decisions(reason="upstream_untrusted", direction="outbound", decision="error", rule=host) == 1


def test_the_right_one_gets_it(mesh: Mesh, edge: Sidecar, servers: dict[str, Recorder]) -> None:
    """The same request, to the workload that was expected."""
    answer = mesh.plain(edge.ports["outbound"]).ask("GET", "/secret", mesh.bearer(), host="s0")
    assert answer.status == 200
    assert b"GET /secret HTTP/1.1\r\nHost: s0\r\n" in servers["right"].received


def test_who_refuses_our_identity(mesh: Mesh, edge: Sidecar, servers: dict[str, Recorder]) -> None:
    """It does not know our CA. Its alert and its reset race (TLS 1.3 judges us after our handshake); both are told so."""
    host = f"s{list(servers).index('refuses us')}"
    answer = mesh.plain(edge.ports["outbound"]).ask("GET", "/secret", mesh.bearer(), host=host)
    assert answer.status == 502
    assert (answer.reason, answer.json["detail"]) in {
        ("upstream_refused_us", "the upstream does not accept our certificate"),
        ("upstream_reset", "the upstream ended the connection without an answer: its policy may not admit us"),
    }
    assert servers["refuses us"].received == b""


def test_connections_are_not_shared_between_identities(mesh: Mesh, servers: dict[str, Recorder]) -> None:
    """One address, two destinations: the idle connection of the first is not lent to the second."""
    right = servers["right"]
    address = f'address: "127.0.0.1:{right.port}"'
    both = outbound(f"host: a, {address}, spiffe_id: {LEDGER}", f"host: b, {address}, spiffe_id: {LEDGER}-2")
    wire = mesh.plain(mesh.start("shop", both + "tokens: {keys: jwks.json}\n").ports["outbound"])
    assert wire.ask("GET", "/one", host="a").status == 200
    before = right.received
    answer = wire.ask("GET", "/two", host="b")
    assert (answer.status, answer.reason) == (502, "upstream_untrusted")
    assert right.received == before

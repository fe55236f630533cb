"""Who is calling is what TLS has proved under the bundle of the caller's own trust domain, and nothing else (law 2)."""

import socket
import ssl
import time

import pytest
from support.apps import App
from support.mesh import EDGE, INBOUND, Mesh
from support.pki import Authority, Svid
from support.sidecar import Sidecar, wait_until
from support.wire import request

OTHER = "other.org"


@pytest.fixture(scope="module")
def other() -> Authority:
    """The CA of another trust domain, which is federated with ours."""
    return Authority.make(OTHER)


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecar."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App, other: Authority) -> Sidecar:
    """A sidecar that trusts both domains, each for itself."""
    (mesh.folder / "other.pem").write_bytes(other.bundle_pem)
    files = "svid: orders/svid.pem, key: orders/svid_key.pem, bundle: orders/svid_bundle.pem"
    policy = "  - {name: partners, peers: ['spiffe://other.org/*'], scopes: [orders.read], routes: [{match: 'GET /partner'}]}\n"
    yaml = INBOUND.format(app=app.port) + policy + "timeouts: {linger: 100ms}\n"
    return mesh.start("orders", yaml, identity=f"{{files: {{{files}, federated: {{{OTHER}: other.pem}}}}}}")


def _refused(mesh: Mesh, orders: Sidecar, svid: Svid | None, reason: str) -> None:
    """Expect no answer, and the reason in the metrics and the log."""
    before = orders.decisions(reason=reason, direction="inbound", decision="deny")
    context = mesh.context()
    if svid is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        if svid is None:
            with context.wrap_socket(socket.create_connection(("127.0.0.1", orders.ports["inbound"]))) as tls:
                tls.settimeout(10)
                tls.sendall(request("GET", "/orders/1", mesh.bearer()))
                assert tls.recv(1)
        else:
            mesh.connect(orders.ports["inbound"], svid=svid).ask("GET", "/orders/1", mesh.bearer())
    wait_until(lambda: orders.decisions(reason=reason, decision="deny") == before + 1, f"the reason {reason}")


def test_who_is_proved_is_served(mesh: Mesh, orders: Sidecar, app: App, other: Authority) -> None:
    """Of the own domain and of the federated one, each under its own authority; also through an intermediate."""
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    below = mesh.ca.intermediate().svid(EDGE)
    assert mesh.connect(orders.ports["inbound"], svid=below).ask("GET", "/orders/1", mesh.bearer()).status == 200
    partner = other.svid("spiffe://other.org/shop")
    answer = mesh.connect(orders.ports["inbound"], svid=partner).ask(
        "GET", "/partner", mesh.bearer(scope="orders.read")
    )
    assert answer.status == 200
    assert "URI=spiffe://other.org/shop" in app.fields("x-forwarded-client-cert")[0]


def test_a_foreign_ca(mesh: Mesh, orders: Sidecar) -> None:
    """An authority that nobody here knows, with our names in it."""
    _refused(mesh, orders, Authority.make("example.org").svid(EDGE), "untrusted_chain")


def test_the_ca_of_one_domain_cannot_name_workloads_of_another(mesh: Mesh, orders: Sidecar, other: Authority) -> None:
    """Both roots are trusted, so TLS succeeds: the identity of ``edge`` under the other domain's root is refused."""
    _refused(mesh, orders, other.svid(EDGE), "untrusted_chain")
    _refused(mesh, orders, mesh.ca.svid("spiffe://other.org/shop"), "untrusted_chain")
    _refused(mesh, orders, other.intermediate("example.org").svid(EDGE), "untrusted_chain")


def test_a_domain_without_a_bundle(mesh: Mesh, orders: Sidecar) -> None:
    """Signed by our root, of a domain that nobody speaks for."""
    _refused(mesh, orders, mesh.ca.svid("spiffe://third.org/edge"), "unknown_trust_domain")


def test_no_certificate(mesh: Mesh, orders: Sidecar) -> None:
    """A client that shows none."""
    _refused(mesh, orders, None, "certificate_missing")


def test_expired_and_not_yet_valid(mesh: Mesh, orders: Sidecar) -> None:
    """By the clock of the sidecar."""
    _refused(mesh, orders, mesh.ca.svid(EDGE, lifetime_s=-5), "certificate_expired")
    _refused(mesh, orders, mesh.ca.svid(EDGE, now=time.time() + 1800), "certificate_expired")


@pytest.mark.parametrize(
    "shape",
    [
        {"more_uris": ["spiffe://example.org/admin"]},
        {"is_ca": True},
        {"usage": frozenset({"digital_signature", "key_cert_sign"})},
        {"uri": "https://example.org/edge"},
        {"uri": "spiffe://example.org"},
        {"uri": "spiffe://example.org/edge/../admin"},
        {"uri": "spiffe://example.org:443/edge"},
        {"uri": "", "dns": ["edge.example.org"]},
    ],
    ids=["two URIs", "a CA", "may sign", "https", "no path", "dots", "a port", "DNS alone"],
)
def test_a_certificate_that_is_no_svid(mesh: Mesh, orders: Sidecar, shape: dict[str, object]) -> None:
    """Signed by our own CA, and yet nobody."""
    uri = str(shape.pop("uri", EDGE))
    _refused(mesh, orders, mesh.ca.svid(uri, **shape), "not_an_svid")  # type: ignore[arg-type]


def test_plaintext_to_the_mtls_port(mesh: Mesh, orders: Sidecar) -> None:
    """A request without TLS gets no HTTP answer, and is counted for what it is."""
    wire = mesh.plain(orders.ports["inbound"]).send(request("GET", "/orders/1", mesh.bearer()))
    assert b"HTTP/1.1" not in wire.rest()
    orders.wait_for_decision(reason="plaintext")


def test_what_ended_with_the_certificate(mesh: Mesh, orders: Sidecar) -> None:
    """A connection lives no longer than the SVID that opened it: its last answer says so; silent, it is closed."""
    began = time.monotonic()
    wire, silent = (mesh.connect(orders.ports["inbound"], svid=mesh.ca.svid(EDGE, lifetime_s=5)) for _ in range(2))
    while not (answer := wire.ask("GET", "/orders/1", mesh.bearer())).closes:
        assert (answer.status, time.monotonic() < began + 15) == (200, True)
        time.sleep(0.05)
    assert answer.status == 200, "the SVID had not ended yet"
    assert wire.ends()
    assert silent.ends()


def test_tls_versions_and_resumption(mesh: Mesh, orders: Sidecar) -> None:
    """TLS 1.3 only by default; no session is given that could skip the verification."""
    context = mesh.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(socket.create_connection(("127.0.0.1", orders.ports["inbound"]), timeout=10))
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert isinstance(wire.sock, ssl.SSLSocket)
    assert wire.sock.version() == "TLSv1.3"
    assert wire.sock.session is None or not wire.sock.session.has_ticket

"""Bundles of foreign domains are fetched and kept fresh; each proves its own workloads, and on no side anybody else's.

Two authorities, ``example.org`` and ``other.org``, each with its bundle endpoint: one known by its SVID, one by the Web
PKI. A sidecar in each domain, federated with the other.
"""

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from support import pki
from support.apps import App
from support.authority import RunningAuthority, call, running_authority
from support.mesh import Mesh, load_svid, outbound
from support.ports import free_port
from support.sidecar import SOON_S, Sidecar, wait_until
from support.wire import Wire

A, B = "example.org", "other.org"
HINT = "refresh_hint_s: 1\n"


@dataclass
class Domain:
    """A trust domain: its authority, and the hand that holds the authority's key where a test means harm."""

    name: str
    authority: RunningAuthority

    @property
    def ca(self) -> pki.Authority:
        """Its CA, in the hands of a test."""
        state = self.authority.state
        key = load_pem_private_key((state / "ca_key.pem").read_bytes(), None)
        certificate = load_pem_x509_certificate((state / "ca.pem").read_bytes())
        return pki.Authority(trust_domain=self.name, certificate=certificate, key=key, anchors=(certificate,))  # type: ignore[arg-type]

    def files(self, workload: str) -> str:
        """The identity of a workload, for the YAML of its sidecar."""
        folder = self.authority.state / "workloads" / workload
        return f"files: {{svid: {folder}/svid.pem, key: {folder}/svid_key.pem, bundle: {folder}/svid_bundle.pem}}"

    @property
    def bundles_at(self) -> int:
        """The port of its bundle endpoint."""
        return int(self.authority.facts["bundle_endpoint"])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the CA of the Web, and a certificate of ``localhost`` under it."""
    folder = tmp_path_factory.mktemp("web")
    root = pki.Authority.make("web")
    leaf = root.svid("", dns=["localhost"])
    (folder / "roots.pem").write_bytes(root.bundle_pem)
    (folder / "localhost.pem").write_bytes(leaf.chain_pem)
    (folder / "localhost_key.pem").write_bytes(leaf.key_pem)
    return folder


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory, web: Path) -> Iterator[tuple[Domain, Domain]]:
    """Both of them. ``example.org`` shows a certificate of the Web, ``other.org`` an SVID."""
    folder = tmp_path_factory.mktemp("d")
    by_web = (
        f"{{listen: '127.0.0.1:0', profile: https_web, certificate: {web}/localhost.pem, key: {web}/localhost_key.pem}}"
    )
    first = HINT + f"listen: 127.0.0.1:0\nbundle_endpoint: {by_web}\nworkloads: [{{name: orders}}, {{name: edge}}]\n"
    second = HINT + (
        "listen: 127.0.0.1:0\nbundle_endpoint: {listen: '127.0.0.1:0'}\nworkloads:\n  - {name: shop}\n"
        f"  - {{name: me, selectors: ['unix:uid:{os.getuid()}']}}\n"
    )
    with running_authority(folder / "a", first, A) as a, running_authority(folder / "b", second, B) as b:
        yield Domain(A, a), Domain(B, b)


def by_svid(domain: Domain, spiffe_id: str | None = None, bundle: Path | None = None) -> str:
    """Federate with a domain whose endpoint shows an SVID."""
    return (
        f"{{trust_domain: {domain.name}, url: 'https://127.0.0.1:{domain.bundles_at}/', profile: https_spiffe, "
        f"spiffe_id: '{spiffe_id or f'spiffe://{domain.name}/tts'}', bundle: {bundle or domain.authority.state / 'bundle.pem'}}}"
    )


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app of both."""
    return mesh.app()


INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
timeouts: {{linger: 100ms}}
policy:
  - {{name: all, peers: ["spiffe://example.org/*", "spiffe://other.org/*"], scopes: [orders.read, orders.write], routes: [{{match: "GET /**"}}]}}
"""


@pytest.fixture(scope="module")
def orders(mesh: Mesh, domains: tuple[Domain, Domain], app: App) -> Sidecar:
    """A sidecar of example.org, federated with other.org by its SVID."""
    a, b = domains
    identity = f"{{{a.files('orders')}, federation: [{by_svid(b)}]}}"
    made = mesh.start("orders", INBOUND.format(app=app.port), identity=identity)
    made.wait_for_log("took the bundle of other.org")
    return made


@pytest.fixture(scope="module")
def shop(mesh: Mesh, domains: tuple[Domain, Domain], app: App, orders: Sidecar, web: Path) -> Sidecar:
    """A sidecar of other.org, federated with example.org by the Web PKI; it calls ``orders``."""
    a, b = domains
    relation = f"{{trust_domain: {A}, url: 'https://localhost:{a.bundles_at}/bundle'}}"
    call_orders = f'host: orders, address: "127.0.0.1:{orders.ports["inbound"]}", spiffe_id: spiffe://{A}/orders'
    config = mesh.config(
        "shop",
        INBOUND.format(app=app.port) + outbound(call_orders),
        trust_domain=B,
        identity=f"{{{b.files('shop')}, federation: [{relation}]}}",
    )
    made = Sidecar(config, SSL_CERT_FILE=str(web / "roots.pem"))
    mesh._sidecars.append(made)
    made.wait_until_ready().wait_for_log("took the bundle of example.org")
    return made


def connect(mesh: Mesh, sidecar: Sidecar, svid: pki.Svid) -> Wire:
    """A connection of whoever this SVID says; who answers is not its concern."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    load_svid(context, svid, mesh.folder)
    sock = socket.create_connection(("127.0.0.1", sidecar.ports["inbound"]), timeout=10)
    try:
        wire = Wire(context.wrap_socket(sock))
    except BaseException:
        sock.close()
        raise
    mesh.also_close(wire.close)
    return wire


def peer(mesh: Mesh, sidecar: Sidecar, svid: pki.Svid) -> int:
    """Call a sidecar; give the status."""
    return connect(mesh, sidecar, svid).ask("GET", "/x", mesh.bearer()).status


def refused(mesh: Mesh, sidecar: Sidecar, svid: pki.Svid, reason: str) -> None:
    """Expect the connection to end without an answer, with this reason."""
    before = sidecar.decisions(reason=reason, direction="inbound", decision="deny")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        assert peer(mesh, sidecar, svid) not in range(600)
    wait_until(lambda: sidecar.decisions(reason=reason, decision="deny") > before, reason)


def test_each_proves_its_own(
    mesh: Mesh, domains: tuple[Domain, Domain], orders: Sidecar, shop: Sidecar, app: App
) -> None:
    """Both profiles: workloads of both domains are served at both sidecars, as who they are."""
    a, b = domains
    for sidecar in (orders, shop):
        for domain, name in ((a, "edge"), (b, "shop")):
            assert peer(mesh, sidecar, domain.ca.svid(f"spiffe://{domain.name}/{name}")) == 200
            assert f"URI=spiffe://{domain.name}/{name}" in app.fields("x-forwarded-client-cert")[0]


def test_neither_signs_for_the_other_on_the_way_in(
    mesh: Mesh, domains: tuple[Domain, Domain], orders: Sidecar, shop: Sidecar
) -> None:
    """Domain B's CA signs an ID of domain A, and the other way round: refused by the sidecars of both, always."""
    a, b = domains
    for sidecar in (orders, shop):
        for signer, victim in ((a, B), (b, A)):
            refused(mesh, sidecar, signer.ca.svid(f"spiffe://{victim}/edge"), "untrusted_chain")
            below = signer.ca.intermediate(victim)  # beyond the path length of the root, too
            refused(mesh, sidecar, below.svid(f"spiffe://{victim}/edge"), "untrusted_chain")


def test_neither_signs_for_the_other_on_the_way_out(
    mesh: Mesh, domains: tuple[Domain, Domain], orders: Sidecar, shop: Sidecar, web: Path
) -> None:
    """Who answers at the address of ``orders`` with B's word for an ID of A gets no request; the real one does.

    Whoever calls: a workload of A, or one of B, whose own CA it is that signed.
    """
    a, b = domains
    assert mesh.plain(shop.ports["outbound"]).ask("GET", "/x").status == 401  # no token leaves its domain
    assert orders.decisions(reason="token_missing", direction="inbound") == 1
    for number, signer in enumerate((a, b)):
        victim = domains[1 - number].name
        served = _TlsServer(mesh, signer.ca.svid(f"spiffe://{victim}/orders"), a.ca, b.ca)
        try:
            body = outbound(
                f'host: orders, address: "127.0.0.1:{served.port}", spiffe_id: spiffe://{A}/orders',
                f'host: shop, address: "127.0.0.1:{served.port}", spiffe_id: spiffe://{B}/orders',
            )
            by_web = f"{{trust_domain: {A}, url: 'https://localhost:{a.bundles_at}/bundle'}}"
            for side, name, relation in ((a, "edge", by_svid(b)), (b, "shop", by_web)):
                identity = f"{{{side.files(name)}, federation: [{relation}]}}"
                config = mesh.config(f"caller{number}{name}", body, trust_domain=side.name, identity=identity)
                caller = mesh.run(config, SSL_CERT_FILE=str(web / "roots.pem")).wait_until_ready()
                caller.wait_for_log("took the bundle of ")
                for host in ("orders", "shop"):
                    reply = mesh.plain(caller.ports["outbound"]).ask("GET", "/x", host=host)
                    assert (reply.status, reply.reason) == (502, "upstream_untrusted")
                assert served.received == b""
        finally:
            served.close()


def test_the_endpoint_must_be_who_was_expected(mesh: Mesh, domains: tuple[Domain, Domain], app: App, web: Path) -> None:
    """Another ID, another CA, a name that the Web does not vouch for: no bundle is taken, and nobody of it believed."""
    a, b = domains
    wrong = {
        "id": by_svid(b, spiffe_id=f"spiffe://{B}/other"),
        "ca": by_svid(b, bundle=a.authority.state / "bundle.pem"),
        "web": f"{{trust_domain: {B}, url: 'https://localhost:{b.bundles_at}/'}}",
        "plain": f"{{trust_domain: {B}, url: 'https://127.0.0.1:{app.port}/'}}",
    }
    for name, relation in wrong.items():
        identity = f"{{{a.files('orders')}, federation: [{relation}]}}"
        config = mesh.config(f"wrong{name}", INBOUND.format(app=app.port), identity=identity)
        sidecar = Sidecar(config, SSL_CERT_FILE=str(web / "roots.pem"))
        try:
            sidecar.wait_until_ready().wait_for_log("federation: the bundle of other.org was not fetched: ")
            assert sidecar.metric("svidecar_federation_fetches_total", trust_domain=B, result="ok") == 0
            assert sidecar.metric("svidecar_federation_fetches_total", trust_domain=B) >= 1
            assert "Traceback" not in sidecar.log
            refused(mesh, sidecar, b.ca.svid(f"spiffe://{B}/shop"), "untrusted_chain")
        finally:
            sidecar.stop()


def test_a_fetched_domain_may_have_crls_in_a_file(
    mesh: Mesh, tmp_path: Path, domains: tuple[Domain, Domain], app: App
) -> None:
    """They are read before its bundle is there, and hold for what it proves."""
    a, b = domains
    gone, stays = (b.ca.svid(f"spiffe://{B}/{name}") for name in ("gone", "stays"))
    (tmp_path / "crl.pem").write_bytes(b.ca.crl(gone.certificate))
    files = a.files("orders").replace("}", f", federated_crls: {{{B}: {tmp_path}/crl.pem}}, poll: 50ms}}")
    made = mesh.start("revoker", INBOUND.format(app=app.port), identity=f"{{{files}, federation: [{by_svid(b)}]}}")
    made.wait_for_log("took the bundle of other.org")
    assert peer(mesh, made, stays) == 200
    refused(mesh, made, gone, "certificate_revoked")
    open_connection = connect(mesh, made, stays)
    assert open_connection.ask("GET", "/x", mesh.bearer()).status == 200
    (tmp_path / "crl.pem").write_bytes(b.ca.crl(gone.certificate, stays.certificate))
    open_connection.sock.settimeout(3)
    assert open_connection.sock.recv(1) == b""
    refused(mesh, made, stays, "certificate_revoked")


def test_it_is_kept_fresh_and_its_age_is_told(orders: Sidecar) -> None:
    """By the publisher's hint of a second."""
    name = "svidecar_federation_fetches_total"
    before = orders.metric(name, trust_domain=B, result="ok")
    wait_until(lambda: orders.metric(name, trust_domain=B, result="ok") >= before + 2, "fetches")
    assert orders.metric("svidecar_federation_age_seconds", trust_domain=B) < SOON_S


def test_a_new_bundle_is_taken_and_an_endpoint_that_is_gone_changes_nothing(
    mesh: Mesh, tmp_path: Path, domains: tuple[Domain, Domain], app: App, web: Path
) -> None:
    """A root that is published no more proves nobody, on open connections too; without an answer the last good stays."""
    a, _ = domains
    by_web = f"certificate: {web}/localhost.pem, key: {web}/localhost_key.pem"
    port = free_port()
    config = (
        HINT + f"listen: 127.0.0.1:0\nbundle_endpoint: {{listen: '127.0.0.1:{port}', profile: https_web, {by_web}}}\n"
    )
    name = "third.org"
    with running_authority(tmp_path / "one", config, name) as one:
        old = Domain(name, one).ca
        identity = f"{{{a.files('orders')}, federation: [{{trust_domain: {name}, url: 'https://localhost:{port}/'}}]}}"
        yaml = INBOUND.format(app=app.port).replace("other.org/*", f"{name}/*")
        made = Sidecar(mesh.config("thirds", yaml, identity=identity), SSL_CERT_FILE=str(web / "roots.pem"))
        mesh._sidecars.append(made)
        made.wait_until_ready().wait_for_log(f"took the bundle of {name}")
        open_connection = connect(mesh, made, old.svid(f"spiffe://{name}/x"))
        assert open_connection.ask("GET", "/x", mesh.bearer()).status == 200
    fetches = "svidecar_federation_fetches_total"
    wait_until(
        lambda: made.metric(fetches, result="upstream_down") + made.metric(fetches, result="upstream_reset") >= 1
    )
    assert peer(mesh, made, old.svid(f"spiffe://{name}/x")) == 200
    assert open_connection.ask("GET", "/x", mesh.bearer()).status == 200
    with running_authority(tmp_path / "two", config, name) as two:
        wait_until(lambda: made.log.count(f"took the bundle of {name}") == 2, "the new bundle")
        assert peer(mesh, made, Domain(name, two).ca.svid(f"spiffe://{name}/x")) == 200
        refused(mesh, made, old.svid(f"spiffe://{name}/x"), "untrusted_chain")
        open_connection.sock.settimeout(20)
        assert open_connection.sock.recv(1) == b""


def test_the_authority_hands_foreign_bundles_on(tmp_path: Path, domains: tuple[Domain, Domain]) -> None:
    """Federated itself, it tells its workloads by the Workload API, X.509 and JWT, each under its own domain."""
    _, b = domains
    uid = os.getuid()
    config = f"listen: 127.0.0.1:0\nworkloads:\n  - {{name: w, selectors: ['unix:uid:{uid}']}}\nfederation:\n  - {by_svid(b)}\n"
    with running_authority(tmp_path / "c", config, "third.org") as made:
        made.wait_for_log("took the bundle of other.org")
        (svids,) = call(made.socket, "FetchX509SVID")
        assert set(svids["federated_bundles"]) == {f"spiffe://{B}"}
        assert [svid["spiffe_id"] for svid in svids["svids"]] == ["spiffe://third.org/w"]
        (jwt,) = call(made.socket, "FetchJWTBundles")
        assert set(jwt["bundles"]) == {f"spiffe://{B}", "spiffe://third.org"}
        foreign = call(b.authority.socket, "FetchJWTSVID", "audience=w")[0]["svids"][0]["svid"]
        (valid,) = call(made.socket, "ValidateJWTSVID", "audience=w", f"svid={foreign}")
        assert valid["spiffe_id"] == f"spiffe://{B}/me"
        # a foreign SVID opens no door of the token service
        for name in ("shop", None):
            assert "denied" in _fetch_jwks(made, b, name)


def test_what_is_published(domains: tuple[Domain, Domain], web: Path) -> None:
    """A SPIFFE bundle for everybody, without a client certificate: sequence, hint, X.509 and JWT authorities."""
    a, _ = domains
    script = (
        "import ssl,urllib.request,sys;c=ssl.create_default_context(cafile=sys.argv[2]);"
        "r=urllib.request.urlopen(sys.argv[1],context=c,timeout=5);print(r.headers['content-type']);print(r.read().decode())"
    )
    url = f"https://localhost:{a.bundles_at}/anything"
    done = subprocess.run(
        [sys.executable, "-c", script, url, str(web / "roots.pem")], capture_output=True, text=True, check=True
    )
    kind, _, raw = done.stdout.partition("\n")
    document: dict[str, Any] = json.loads(raw)
    assert (kind, document["spiffe_refresh_hint"]) == ("application/json", 1)
    assert document["spiffe_sequence"] > 0
    assert [(key["use"], "kid" in key, "x5c" in key) for key in document["keys"]] == [
        ("x509-svid", False, True),
        ("jwt-svid", True, False),
    ]
    assert raw.encode() == (a.authority.state / "bundle.json").read_bytes() + b"\n"


class _TlsServer:
    """A TLS server with an SVID that keeps what it is sent."""

    def __init__(self, mesh: Mesh, svid: pki.Svid, *trusted: pki.Authority) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata="".join(one.bundle_pem.decode() for one in trusted))
        load_svid(context, svid, mesh.folder)
        self.received = b""

        def script(sock: Any) -> None:
            try:
                with context.wrap_socket(sock, server_side=True) as tls:
                    self.received += tls.recv(65536)
            except OSError:
                pass

        self._app = mesh.raw_app(script)
        self.port = self._app.port

    def close(self) -> None:
        """It ends with the mesh."""


def _fetch_jwks(authority: RunningAuthority, of: Domain, workload: str | None) -> str:
    """Ask the token service of ``authority`` with an SVID of another domain; say what came of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.state / "bundle.pem")
    folder = of.authority.state / "workloads" / (workload or "tts")
    context.load_cert_chain(folder / "svid.pem", folder / "svid_key.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", authority.facts["port"], context=context, timeout=5)
    try:
        connection.request("GET", "/jwks")
        return f"answered {connection.getresponse().status}"
    except (OSError, http.client.HTTPException):
        return "denied"
    finally:
        connection.close()

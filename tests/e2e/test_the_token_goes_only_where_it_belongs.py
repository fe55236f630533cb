"""The token that the app copied goes on unchanged inside the trust domain, and never leaves it (law 3, specs 1.17)."""

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, new_trace, orders_at, outbound
from support.pki import Authority
from support.sidecar import Sidecar
from support.wire import Wire

OTHER = "other.org"


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app that every destination ends at."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """The sidecar in our domain."""
    return mesh.start("orders", INBOUND.format(app=app.port))


@pytest.fixture(scope="module")
def foreign(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar that shows the identity of another trust domain, and demands tokens as ours do."""
    other = Authority.make(OTHER)
    (mesh.folder / "other.pem").write_bytes(other.bundle_pem)
    folder = mesh.folder / "partner"
    mesh.write("partner", other.svid("spiffe://other.org/partner"), other)
    (folder / "ours.pem").write_bytes(mesh.ca.bundle_pem)
    yaml = (
        INBOUND.format(app=app.port).replace("keys: jwks.json", "keys: jwks.json").replace("example.org", "example.org")
    )
    files = "svid: partner/svid.pem, key: partner/svid_key.pem, bundle: partner/svid_bundle.pem"
    identity = f"{{files: {{{files}, federated: {{example.org: partner/ours.pem}}}}}}"
    return mesh.start("partner", yaml, trust_domain=OTHER, identity=identity)


@pytest.fixture(scope="module")
def edge(mesh: Mesh, app: App, orders: Sidecar, foreign: Sidecar) -> Sidecar:
    """Destinations in the domain, outside of it, and unprotected."""
    files = "svid: edge/svid.pem, key: edge/svid_key.pem, bundle: edge/svid_bundle.pem"
    return mesh.start(
        "edge",
        outbound(
            orders_at(orders),
            f'host: partner, address: "127.0.0.1:{foreign.ports["inbound"]}", spiffe_id: spiffe://other.org/partner',
            f'host: legacy, address: "127.0.0.1:{app.port}", protection: plain',
        )
        + "tokens: {keys: jwks.json}\n",
        identity=f"{{files: {{{files}, federated: {{{OTHER}: other.pem}}}}}}",
    )


@pytest.fixture
def wire(mesh: Mesh, edge: Sidecar) -> Wire:
    """A connection of the app beside ``edge``."""
    return mesh.plain(edge.ports["outbound"])


def test_within_the_domain_it_goes_on_byte_for_byte(mesh: Mesh, app: App, wire: Wire) -> None:
    """Whatever is in it: the sidecar does not read it on the way out."""
    token = mesh.mint.token()
    assert wire.ask("GET", "/orders/1", {"tXN-tOKEN": token.decode()}).status == 200
    assert app.fields("txn-token") == [token.decode()]
    assert app.fields("authorization") == []


def test_to_another_trust_domain_it_is_stripped(mesh: Mesh, foreign: Sidecar, wire: Wire) -> None:
    """Over mTLS, to a workload that would take it: what it answers is that none came."""
    answer = wire.ask("GET", "/any/1", mesh.bearer(), host="partner")
    assert (answer.status, answer.reason) == (401, "token_missing")
    assert foreign.decisions(reason="token_missing", direction="inbound") == 1


@pytest.mark.parametrize("name", ["Txn-Token", "txn-token", "TXN-TOKEN"])
def test_over_plain_http_it_is_stripped(mesh: Mesh, app: App, wire: Wire, name: str) -> None:
    """As is every other field that we own; what is not ours, the app's own credentials, passes."""
    token = mesh.mint.token().decode()
    fields = {name: token, "X-Forwarded-Client-Cert": "By=x", "Client-Cert": ":AAAA:", "Authorization": "Bearer own"}
    assert wire.ask("GET", "/x", fields, host="legacy").status == 200
    assert token not in str(app.requests[-1])
    assert app.fields("x-forwarded-client-cert") == app.fields("client-cert") == app.fields("txn-token") == []
    assert app.fields("authorization") == ["Bearer own"]


def test_two_tokens_do_not_leave(mesh: Mesh, app: App, wire: Wire) -> None:
    """Refused here already, whatever the other side would say."""
    seen = len(app.requests)
    token = mesh.mint.token()
    head = b"GET /orders/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\nTxn-Token: %b\r\n\r\n" % (token, token)
    answer = wire.send(head).reply()
    assert (answer.status, answer.reason) == (400, "token_repeated")
    assert len(app.requests) == seen


def test_the_callers_identity_fields_are_the_sidecars_alone(mesh: Mesh, app: App, wire: Wire) -> None:
    """An app that forges its own identity is corrected by the next sidecar."""
    forged = {"X-Forwarded-Client-Cert": "By=x;URI=spiffe://example.org/admin"}
    assert wire.ask("GET", "/orders/1", mesh.bearer() | forged).status == 200
    assert len(app.fields("x-forwarded-client-cert")) == 1
    assert app.fields("x-forwarded-client-cert")[0].endswith("URI=spiffe://example.org/edge")


def test_the_log_of_a_token_that_left(mesh: Mesh, wire: Wire) -> None:
    """Outbound, no claim is trusted: nothing of the token stands in the log."""
    trace = new_trace()
    wire.ask("GET", "/orders/1", mesh.bearer(txn="not-here") | trace)
    record = mesh.record("edge", trace)
    assert "txn" not in record
    assert "token_sha256" not in record
    assert mesh.record("orders", trace)["txn"] == "not-here"

"""When bundles change, whoever they prove no more is cut within a second, and nobody else notices."""

from dataclasses import replace

import pytest
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.pki import Authority, write_svid
from support.sidecar import SOON_S, Sidecar, wait_until
from support.streams import lives_s, stream, streaming_app
from support.wire import Wire

OTHER = "other.org"
FILES = (
    "{{files: {{svid: {name}/svid.pem, key: {name}/svid_key.pem, bundle: {name}/svid_bundle.pem, poll: 50ms, "
    "federated: {{other.org: {name}/other.org.pem}}}}}}"
)


@pytest.fixture
def other() -> Authority:
    """The authority of a foreign trust domain."""
    return Authority.make(OTHER)


@pytest.fixture
def orders(mesh: Mesh, other: Authority) -> Sidecar:
    """A sidecar that believes both domains."""
    _write(mesh, other)
    yaml = INBOUND.format(app=mesh.raw_app(streaming_app).port)
    yaml = yaml.replace("spiffe://example.org/edge", "spiffe://example.org/edge, spiffe://other.org/edge")
    return mesh.start("orders", yaml, identity=FILES.format(name="orders"))


def _write(mesh: Mesh, other: Authority, own: Authority | None = None) -> None:
    """Give ``orders`` these authorities; its SVID stays what it is where they prove it."""
    own = own or mesh.ca
    svid = mesh.svids.get("orders") or own.svid("spiffe://example.org/orders")
    mesh.svids["orders"] = svid
    write_svid(mesh.folder / "orders", svid, own, federated={OTHER: other})


def _connect(mesh: Mesh, orders: Sidecar, authority: Authority) -> Wire:
    svid = authority.svid(f"spiffe://{authority.trust_domain}/edge")
    return mesh.connect(orders.ports["inbound"], svid=svid)


def _taken(orders: Sidecar, before: float) -> None:
    wait_until(lambda: orders.metric("svidecar_svid_rotations_total") > before, "the bundles")


def test_an_authority_that_leaves_takes_its_own_with_it(mesh: Mesh, other: Authority, orders: Sidecar) -> None:
    """Streams and idle connections of the other domain end; those of our own go on, byte by byte."""
    ours, theirs = (stream(mesh, _connect(mesh, orders, ca)) for ca in (mesh.ca, other))
    idle = _connect(mesh, orders, other)
    assert idle.ask("GET", "/any/1", mesh.bearer()).status == 200
    before = orders.metric("svidecar_svid_rotations_total")
    _write(mesh, Authority.make(OTHER))
    _taken(orders, before)
    assert lives_s(theirs) < SOON_S
    assert idle.ends()
    assert ours.take(6 * 40)
    assert orders.decisions(reason="untrusted_chain", direction="inbound") == 2


def test_another_authority_of_the_same_domain_changes_nothing(mesh: Mesh, other: Authority, orders: Sidecar) -> None:
    """As when a CA is rotated: the newest joins, and nobody's connection ends."""
    wires = [stream(mesh, _connect(mesh, orders, ca)) for ca in (mesh.ca, other)]
    before = orders.metric("svidecar_svid_rotations_total")
    joined = replace(other, anchors=(*other.anchors, *Authority.make(OTHER, subject="the next").anchors))
    _write(mesh, joined)
    _taken(orders, before)
    for wire in wires:
        assert wire.take(6 * 40)


def test_an_authority_that_is_issued_again_still_proves(mesh: Mesh, other: Authority, orders: Sidecar) -> None:
    """The same name and key in another certificate: the DER is gone, and the chain finds another way to its end."""
    theirs = stream(mesh, _connect(mesh, orders, other))
    before = orders.metric("svidecar_svid_rotations_total")
    _write(mesh, other.renewed())
    _taken(orders, before)
    assert theirs.take(6 * 40)
    before = orders.metric("svidecar_svid_rotations_total")
    _write(mesh, Authority.make(OTHER))
    _taken(orders, before)
    assert lives_s(theirs) < SOON_S


def test_servers_too(mesh: Mesh) -> None:
    """A kept connection to a server that bundles prove no more is not used again, and what it sends is cut."""
    second = Authority.make("example.org", subject="the second CA")
    both = replace(mesh.ca, anchors=(*mesh.ca.anchors, *second.anchors))
    mesh.write("there", second.svid("spiffe://example.org/there"), both)
    mesh.write("caller", mesh.ca.svid("spiffe://example.org/caller"), both)
    yaml = INBOUND.format(app=mesh.raw_app(streaming_app).port).replace("example.org/edge", "example.org/caller")
    there = orders_at(mesh.start("there", yaml), host="there", spiffe_id="spiffe://example.org/there")
    caller = mesh.start("caller", outbound(there) + "tokens: {keys: jwks.json}\n")
    wire, kept = mesh.plain(caller.ports["outbound"]), mesh.plain(caller.ports["outbound"])
    token = mesh.bearer()
    assert wire.ask("GET", "/any/1", token, host="there").status == 200
    stream(mesh, kept, host="there")
    before = caller.metric("svidecar_svid_rotations_total")
    mesh.write("caller", mesh.svids["caller"], mesh.ca)
    _taken(caller, before)
    assert lives_s(kept) < SOON_S
    assert wire.ask("GET", "/any/1", token, host="there").reason == "upstream_untrusted"

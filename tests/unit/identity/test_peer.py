"""Who a chain proves: each way in which somebody could pass for somebody else."""

import hashlib
import sys
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pki import Authority, Svid, der

from proxy.errors import (
    CertificateExpired,
    CertificateMissing,
    ConnectionRefusal,
    NotAnSvid,
    UnknownTrustDomain,
    UntrustedChain,
)
from proxy.identity.bundle import Bundle
from proxy.identity.path import MAX_CERTIFICATES
from proxy.identity.peer import Peer, confirm, identify, verify_path

NOW = time.time()
URI = "spiffe://example.org/orders"
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
GOOD = CA.svid(URI)


def bundles(*authorities: Authority) -> dict[str, Bundle]:
    """The bundle of each."""
    return {a.trust_domain: Bundle.from_pem(a.trust_domain, a.bundle_pem) for a in authorities}


def chain(svid: Svid, authority: Authority) -> list[bytes]:
    """What TLS verifies: the chain shown, and the anchor behind it."""
    return [*svid.chain_der, der(authority.anchors[0])]


def prove(svid: Svid, authority: Authority, *known: Authority, now: float = NOW) -> Peer:
    """Identify an SVID by the bundle of its authority, or of those that are known instead."""
    return identify(chain(svid, authority), bundles(*(known or (authority,))), now)


def path(svid: Svid, *authorities: Authority, now: float = NOW) -> None:
    """Validate what an SVID shows against authorities of example.org."""
    anchors = tuple(anchor for a in authorities for anchor in a.anchors)
    verify_path(svid.chain, Bundle(trust_domain="example.org", authorities=anchors), now)


def test_peer() -> None:
    """A good chain proves one workload, until its certificate ends."""
    peer = prove(GOOD, CA, CA, OTHER)
    assert peer == Peer(
        spiffe_id=peer.spiffe_id,
        uri=URI,
        certificate_sha256=hashlib.sha256(der(GOOD.certificate)).hexdigest(),
        serial=GOOD.certificate.serial_number,
        not_after=GOOD.certificate.not_valid_after_utc.timestamp(),
    )
    assert str(peer.spiffe_id) == URI


def test_peer_is_small() -> None:
    """Ten thousand connections hold ten thousand of them: no certificate, nothing mutable, less than 1 KiB."""
    peer = prove(GOOD, CA)
    parts = (
        peer,
        peer.spiffe_id,
        peer.spiffe_id.trust_domain,
        peer.spiffe_id.path,
        *(getattr(peer, s) for s in peer.__slots__ if s != "anchor"),  # of the bundle: all share it
        *peer.issued,
        *(part for issued in peer.issued for part in issued),
    )
    assert any(peer.anchor is der for der in bundles(CA)["example.org"].by_der) or peer.anchor == der(CA.certificate)
    assert sum(sys.getsizeof(part) for part in parts) < 1024
    with pytest.raises(AttributeError):
        peer.uri = "spiffe://example.org/ledger"  # type: ignore[misc]


def test_intermediates() -> None:
    """Intermediates stand between, and the earliest end counts."""
    short = CA.intermediate(lifetime_s=60.0)
    svid = short.svid(URI)
    assert prove(svid, short).not_after == short.certificate.not_valid_after_utc.timestamp()
    path(svid, CA)


def test_anchor_that_is_not_self_signed() -> None:
    """A bundle may hold an intermediate as its authority."""
    anchor = OTHER.intermediate("example.org").as_anchor()
    svid = anchor.svid(URI)
    assert prove(svid, anchor).uri == URI
    path(svid, anchor)


def test_nothing_shown() -> None:
    """No chain is no identity."""
    with pytest.raises(CertificateMissing):
        identify([], bundles(CA), NOW)


def test_foreign_authority_signs_our_domain() -> None:
    """A known authority of other.org signs an ID of example.org: TLS verifies it, the law of domains does not."""
    forged = OTHER.svid(URI)
    with pytest.raises(UntrustedChain):
        prove(forged, OTHER, CA, OTHER)
    with pytest.raises(UntrustedChain):
        path(forged, CA)


def test_foreign_intermediate_that_names_our_domain() -> None:
    """An intermediate of other.org with the ID of example.org does not bridge the two."""
    bridge = OTHER.intermediate("example.org")
    with pytest.raises(UntrustedChain):
        prove(bridge.svid(URI), bridge, CA, OTHER)


def test_our_authority_signs_another_domain() -> None:
    """Our authority signs an ID of other.org: it is not other.org's."""
    with pytest.raises(UntrustedChain):
        prove(CA.svid("spiffe://other.org/orders"), CA, CA, OTHER)


def test_intermediate_of_another_domain() -> None:
    """An intermediate that our authority gave to other.org makes no identity of ours."""
    delegated = CA.intermediate("other.org")
    with pytest.raises(NotAnSvid):
        prove(delegated.svid(URI), delegated, CA, OTHER)
    with pytest.raises(NotAnSvid):
        path(delegated.svid(URI), CA)


def test_unknown_trust_domain() -> None:
    """A domain without a bundle is nobody's, even where its authority is also in another bundle."""
    with pytest.raises(UnknownTrustDomain):
        prove(CA.svid("spiffe://third.org/orders"), CA, CA, OTHER)


def test_authority_of_the_same_name() -> None:
    """Another key under the name of our authority is not our authority: exact DER counts."""
    twin = Authority.make("example.org")
    assert twin.certificate.subject == CA.certificate.subject
    with pytest.raises(UntrustedChain):
        prove(twin.svid(URI), twin, CA)
    with pytest.raises(UntrustedChain):
        path(twin.svid(URI), CA)


def test_leaf_that_is_an_anchor() -> None:
    """A leaf in the bundle is not proved by itself."""
    anchors = (GOOD.certificate, *CA.anchors)
    own = {"example.org": Bundle(trust_domain="example.org", authorities=anchors)}
    with pytest.raises(UntrustedChain):
        identify([der(GOOD.certificate)], own, NOW)
    with pytest.raises(NotAnSvid):
        identify([der(GOOD.certificate)] * 2, own, NOW)
    with pytest.raises(UntrustedChain):
        verify_path([GOOD.certificate], own["example.org"], NOW)


def test_authority_as_a_peer() -> None:
    """A signing certificate must not authenticate (X509-SVID 3.2), whatever ID it carries."""
    for uri in (URI, "spiffe://example.org"):
        with pytest.raises(NotAnSvid):
            prove(CA.svid(uri, is_ca=True), CA)


def test_leaf_that_signs() -> None:
    """A workload that signs for another with its own key is refused: it has no cA."""
    mallory = CA.svid("spiffe://example.org/mallory")
    workload = Authority(
        trust_domain="example.org",
        certificate=mallory.certificate,
        key=mallory.key,
        above=(mallory.certificate,),
        anchors=CA.anchors,
    )
    with pytest.raises(NotAnSvid):
        prove(workload.svid(URI), CA)
    with pytest.raises(ConnectionRefusal):
        path(workload.svid(URI), CA)


@pytest.mark.parametrize(
    "wrong",
    [
        CA.intermediate(is_ca=False),
        CA.intermediate(is_ca=None),
        CA.intermediate(usage=None),
        CA.intermediate(usage=frozenset({"digital_signature"})),
        CA.intermediate(uri="spiffe://example.org/ca"),
    ],
)
def test_wrong_intermediates(wrong: Authority) -> None:
    """Every intermediate is a signing certificate without a path in its ID."""
    with pytest.raises(NotAnSvid):
        prove(wrong.svid(URI), wrong)
    with pytest.raises(ConnectionRefusal):
        path(wrong.svid(URI), CA)


@pytest.mark.parametrize(
    "wrong",
    [
        Authority.make("example.org", is_ca=False),
        Authority.make("example.org", is_ca=None),
        Authority.make("example.org", usage=None),
        Authority.make("example.org", usage=frozenset({"crl_sign"})),
    ],
)
def test_wrong_anchors(wrong: Authority) -> None:
    """What stands in a bundle must be able to sign."""
    with pytest.raises(NotAnSvid):
        prove(wrong.svid(URI), wrong)
    with pytest.raises(UntrustedChain):
        path(wrong.svid(URI), wrong)


def test_time() -> None:
    """Each certificate counts from its first to its last second, both included."""
    start = GOOD.certificate.not_valid_before_utc.timestamp()
    end = GOOD.certificate.not_valid_after_utc.timestamp()
    for now in (start, end):
        assert prove(GOOD, CA, now=now)
        path(GOOD, CA, now=now)
    for now in (start - 1, end + 1):
        with pytest.raises(CertificateExpired):
            prove(GOOD, CA, now=now)
        with pytest.raises(CertificateExpired):
            path(GOOD, CA, now=now)


def test_time_of_the_others() -> None:
    """An intermediate or a root that has ended ends what is below it."""
    for ended in (CA.intermediate(lifetime_s=-1800.0), Authority.make("example.org", lifetime_s=-1800.0)):
        svid = ended.svid(URI)
        with pytest.raises(CertificateExpired):
            prove(svid, ended)
        with pytest.raises(CertificateExpired):
            path(svid, ended)


def test_longest_chain() -> None:
    """Ten certificates with leaf and anchor, not eleven."""
    authority = CA
    for _ in range(MAX_CERTIFICATES - 2):
        authority = authority.intermediate()
    longest = authority.svid(URI)
    assert prove(longest, authority)
    path(longest, CA)
    longer = authority.intermediate().svid(URI)
    with pytest.raises(UntrustedChain):
        prove(longer, authority)
    with pytest.raises(UntrustedChain):
        path(longer, CA)


def test_anchor_of_another_bundle_on_the_way() -> None:
    """Where another domain's bundle holds our intermediate TLS stops there: our own path is found all the same."""
    below = CA.intermediate()
    svid = below.svid(URI)
    stopped = [der(svid.certificate), der(below.certificate)]
    assert identify(stopped, bundles(CA, OTHER), NOW).uri == URI


def test_another_issue_of_our_root() -> None:
    """A root that was issued again under its key: an SVID proves itself by the issue that the bundle holds."""
    again = CA.renewed(lifetime_s=7200.0)
    assert der(again.certificate) != der(CA.certificate)
    peer = identify([der(GOOD.certificate), der(again.certificate)], bundles(CA), NOW)
    assert peer.uri == URI


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_key_types(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """The keys that SPIRE and others issue."""
    svid = CA.svid(URI, key=key)
    assert prove(svid, CA)
    path(svid, CA)


def test_empty_bundle() -> None:
    """A bundle without authorities trusts nobody."""
    empty = Bundle(trust_domain="example.org", authorities=())
    with pytest.raises(UntrustedChain):
        verify_path(GOOD.chain, empty, NOW)
    with pytest.raises(UntrustedChain):
        identify(chain(GOOD, CA), {"example.org": empty}, NOW)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300)
@given(st.integers(0, 2), st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_damaged_chains(which: int, at: int, damage: bytes) -> None:
    """However a chain is damaged, a ConnectionRefusal comes out, or the peer that it was."""
    below = CA.intermediate()
    damaged = chain(below.svid(URI), below)
    raw = damaged[which]
    damaged[which] = raw[:at] + damage + raw[at + len(damage) :]
    try:
        peer = identify(damaged, bundles(CA), NOW)
    except ConnectionRefusal:
        return
    assert peer.spiffe_id.trust_domain == "example.org"


def test_a_domain_whose_bundle_was_taken_away() -> None:
    """Whoever it proved before is proved no more, and by nobody else's bundle either."""
    peer = prove(GOOD, CA)
    confirm(peer, bundles(CA, OTHER))
    for left in ({}, bundles(OTHER)):
        with pytest.raises(UnknownTrustDomain):
            confirm(peer, left)


def test_an_authority_that_left_its_bundle() -> None:
    """What it proved has to be looked for anew: here there is no other way."""
    peer = prove(GOOD, CA)
    with pytest.raises(UntrustedChain):
        confirm(peer, bundles(Authority.make("example.org")))

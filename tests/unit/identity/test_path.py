"""Path validation: what RFC 5280 demands, and what SPIFFE leaves open."""

import time

import pytest
from cryptography import x509
from support.pki import Authority, Svid

from proxy.errors import CertificateExpired, UntrustedChain
from proxy.identity.bundle import Bundle
from proxy.identity.peer import verify_path

NOW = time.time()
URI = "spiffe://example.org/orders"
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), True)


def path(svid: Svid, *authorities: Authority, now: float = NOW) -> None:
    """Validate what an SVID shows against authorities of example.org."""
    anchors = tuple(anchor for a in authorities for anchor in a.anchors)
    verify_path(svid.chain, Bundle(trust_domain="example.org", authorities=anchors), now)


@pytest.mark.parametrize("identifiers", [True, False])
def test_two_authorities_of_one_name(identifiers: bool) -> None:  # noqa: FBT001
    """During a rotation a bundle holds two authorities of one name: SVIDs of both are good, with or without key identifiers."""
    old, new = (Authority.make("example.org", subject="CA", identifiers=identifiers) for _ in range(2))
    for authority in (old, new):
        path(authority.svid(URI, identifiers=identifiers), old, new)


def test_path_length() -> None:
    """The pathLen of an authority is held."""
    tight = Authority.make("example.org", path_length=0)
    path(tight.svid(URI), tight)
    with pytest.raises(UntrustedChain):
        path(tight.intermediate().svid(URI), tight)
    with pytest.raises(UntrustedChain):
        path(CA.intermediate(path_length=0).intermediate().svid(URI), CA)


def test_unknown_critical_extension() -> None:
    """A critical extension that we do not know is refused wherever it stands (RFC 5280 4.2)."""
    root = Authority.make("example.org", extensions=[UNKNOWN_CRITICAL])
    for svid, authority in (
        (CA.svid(URI, extensions=[UNKNOWN_CRITICAL]), CA),
        (CA.intermediate(extensions=[UNKNOWN_CRITICAL]).svid(URI), CA),
        (root.svid(URI), root),
    ):
        with pytest.raises(UntrustedChain, match="critical"):
            path(svid, authority)


def test_name_constraints() -> None:
    """DNS constraints are held; what cannot be evaluated (a URI, a directory name) is refused, and said."""
    dns = x509.NameConstraints([x509.DNSName("example.org")], None)
    within = CA.intermediate(extensions=[(dns, True)])
    path(within.svid(URI, dns=["orders.example.org"]), CA)
    uri = x509.NameConstraints([x509.UniformResourceIdentifier("example.org")], None)
    name = x509.NameConstraints(None, [x509.DirectoryName(OTHER.certificate.subject)])
    mail = x509.NameConstraints([x509.RFC822Name("example.org")], None)
    for svid in (
        CA.intermediate(extensions=[(mail, True)]).svid(URI),
        CA.intermediate(extensions=[(uri, False)]).svid(URI),
        within.svid(URI, dns=["orders.other.org"]),
        CA.intermediate(extensions=[(uri, True)]).svid(URI),
        CA.intermediate(extensions=[(name, True)]).svid(URI),
    ):
        with pytest.raises(UntrustedChain, match="name constraint"):
            path(svid, CA)


def test_certificates_without_identifiers() -> None:
    """Key identifiers, a subject and extended key usage are not demanded (X509-SVID has them optional)."""
    bare = Authority.make("example.org", identifiers=False)
    path(bare.svid(URI, identifiers=False, extended=None, subject="", san_critical=True), bare)
    path(bare.svid(URI, identifiers=False, subject="CA of example.org"), bare)


def test_root_in_the_chain() -> None:
    """Some tools write the root behind the leaf: it does no harm, and proves nothing that the bundle does not hold."""
    below = CA.intermediate()
    shown = [*below.svid(URI).chain, CA.certificate]
    verify_path(shown, Bundle.from_pem("example.org", CA.bundle_pem), NOW)
    with pytest.raises(UntrustedChain):
        verify_path(shown, Bundle.from_pem("other.org", OTHER.bundle_pem), NOW)


def test_details_hold_no_name_of_the_peer() -> None:
    """What a certificate says reaches no log through the message."""
    secret = Authority.make("example.org", subject="s3cret").svid(URI, subject="s3cret")
    with pytest.raises(UntrustedChain) as caught:
        path(secret, CA)
    assert "s3cret" not in caught.value.detail


def test_forged_chain_that_ends_in_our_anchor() -> None:
    """Adding our root behind a foreign leaf proves nothing where TLS did not verify the signatures."""
    forged = Authority.make("example.org").svid(URI)
    with pytest.raises(UntrustedChain):
        path(forged, CA)
    with pytest.raises(UntrustedChain):
        verify_path([*forged.chain, CA.certificate], Bundle.from_pem("example.org", CA.bundle_pem), NOW)


def test_reasons() -> None:
    """An ended authority is told as such only if it was the one that signed, for names repeat."""
    ended = Authority.make("example.org", lifetime_s=-1800.0)
    with pytest.raises(CertificateExpired):
        path(ended.svid(URI), ended, CA)
    with pytest.raises(UntrustedChain):
        path(Authority.make("example.org").svid(URI), ended, CA)

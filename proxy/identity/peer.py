"""Who is at the other end: from the chain that TLS has verified to a SPIFFE ID (X509-SVID 5).

TLS has one store for all trust domains, so what it verified says only that *somebody* known signed. Here the chain must
end in the bundle of the trust domain that the leaf claims, and every rule of X509-SVID is held. The anchor is compared
as exact DER: OpenSSL put its own copy of it at the end of the chain.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509

from proxy.errors import (
    CertificateMissing,
    UnknownTrustDomain,
    UntrustedChain,
)
from proxy.identity.bundle import Bundle, Bundles
from proxy.identity.certificate import check_intermediates, check_signing, read_der
from proxy.identity.path import MAX_CERTIFICATES, earliest_end, find_path
from proxy.identity.revocation import Issued, issued_by
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.svid import check_leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A verified workload. ``not_after`` is the earliest end of any certificate that proved it; none is kept.

    ``anchor`` and ``issued`` are what ``confirm`` needs to judge it again: the authority as DER, which all peers of one
    bundle share, and the names by which CRLs would call the certificates below it.
    """

    spiffe_id: SpiffeId
    uri: str
    certificate_sha256: str
    serial: int
    not_after: float
    anchor: bytes = field(default=b"", repr=False, compare=False)
    issued: tuple[Issued, ...] = field(default=(), repr=False, compare=False)


def identify(chain: Sequence[bytes], bundles: Bundles, now: float) -> Peer:
    """Return who a verified chain proves: DER, leaf first, anchor last.

    Raises CertificateMissing, NotAnSvid, UnknownTrustDomain, UntrustedChain, CertificateExpired, CertificateRevoked or
    RevocationUnknown.
    """
    if not chain:
        raise CertificateMissing("the peer showed no certificate")
    if not 2 <= len(chain) <= MAX_CERTIFICATES:
        # A chain of one is a leaf that stands in a bundle itself: an authority, which must not authenticate.
        raise UntrustedChain(f"a chain has 2 to {MAX_CERTIFICATES} certificates")
    leaf = read_der(chain[0])
    spiffe_id = check_leaf(leaf)
    bundle = bundles.get(spiffe_id.trust_domain)
    if bundle is None:
        raise UnknownTrustDomain("no bundle is known for the trust domain that the leaf claims")
    path = _anchored_path(leaf, chain, bundle, now)
    not_after = earliest_end(path, now)
    issued = issued_by(path)
    bundle.revocations.place(path[1:])
    bundle.revocations.check(issued, now)
    return Peer(
        spiffe_id=spiffe_id,
        uri=str(spiffe_id),
        certificate_sha256=hashlib.sha256(chain[0]).hexdigest(),
        serial=leaf.serial_number,
        not_after=not_after,
        anchor=bundle.der_of(path[-1]),
        issued=issued,
    )


def confirm(peer: Peer, bundles: Bundles) -> None:
    """Judge a peer whose connection is open by newer bundles: a look-up, so that thousands are judged in a moment.

    What it proved when it came holds as long as the authority does that it led to. Whether a CRL has grown old is asked
    of new connections alone: an operator who is late with it loses no traffic that was proved in time.

    Raises:
        UnknownTrustDomain, CertificateRevoked: it is proved no more.
        UntrustedChain: not by this authority; ``identify`` may find another path.

    """
    bundle = bundles.get(peer.spiffe_id.trust_domain)
    if bundle is None:
        raise UnknownTrustDomain("the bundle of the peer's trust domain was taken away")
    if peer.anchor not in bundle.by_der:
        raise UntrustedChain("the authority that proved the peer has left the bundle")
    bundle.revocations.check_serials(peer.issued)


def verify_path(certificates: Sequence[x509.Certificate], bundle: Bundle, now: float) -> None:
    """Validate a presented chain, leaf first, against one bundle, in full (RFC 5280 6).

    Raises UntrustedChain, CertificateExpired or NotAnSvid.
    """
    find_path(certificates, bundle, now)


def _anchored_path(
    leaf: x509.Certificate, chain: Sequence[bytes], bundle: Bundle, now: float
) -> Sequence[x509.Certificate]:
    above = [read_der(raw) for raw in chain[1:-1]]
    anchor = bundle.by_der.get(chain[-1])
    if anchor is None:
        # OpenSSL stops at the first certificate that any bundle holds. Another domain's bundle may hold an intermediate
        # of this one, or another issue of its root: neither may shut this domain out, so look for a path of its own.
        return find_path([leaf, *above, read_der(chain[-1])], bundle, now)
    check_intermediates(above, bundle.trust_domain)
    check_signing(anchor)
    return [leaf, *above, anchor]

"""Which authorities TLS is given.

OpenSSL takes the first authority whose name and key identifier fit as the issuer, and does not try a second when its
signature does not verify. A federated domain could so shut us out of our own: by publishing an authority with the name
of ours. Such a shadow is left out of the TLS store (its domain's peers are then refused, and nobody else's). Names that
only peers' intermediates have are not known here, and cannot be guarded.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.errors import NotAnSvid
from proxy.identity.certificate import find, public_key, read_extensions
from proxy.identity.store import Identity


def tls_anchors(identity: Identity) -> list[bytes]:
    """Return the authorities of all bundles as DER, our own first, without those that shadow others."""
    own = identity.svid.spiffe_id.trust_domain
    known = [*identity.bundles[own].authorities, *identity.svid.certificates[1:]]
    anchors = list(identity.bundles[own].by_der)
    for trust_domain in sorted(identity.bundles.keys() - {own}):
        bundle = identity.bundles[trust_domain]
        taken = [authority for authority in bundle.authorities if not any(_shadows(authority, k) for k in known)]
        known += taken
        anchors += [authority.public_bytes(Encoding.DER) for authority in taken]
    return list(dict.fromkeys(anchors))


def _shadows(authority: x509.Certificate, known: x509.Certificate) -> bool:
    """Say whether OpenSSL could take it for ``known``, and fail: the same name, and no identifier that tells apart."""
    if authority.subject != known.subject or public_key(authority) == public_key(known):
        return False
    identifier = _key_identifier(authority)
    return identifier is None or identifier == _key_identifier(known) or _key_identifier(known) is None


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        found = find(read_extensions(certificate), x509.SubjectKeyIdentifier)
    except NotAnSvid:
        return None
    return found.value.digest if found else None

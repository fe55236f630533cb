"""CRLs of a trust domain: which certificates its authorities have taken back (RFC 5280 section 5 and 6.3).

A CRL counts for the authority that signed it alone: a serial number is unique among the certificates of one issuer, not
beyond. So each list stands under the key of its issuer, and a chain is compared certificate by certificate. A list that
we cannot read in full is refused, never used in part: a delta, one for a part of the certificates, one on behalf of
other issuers (each says so by a critical extension or by an issuing distribution point).

Who signs a list must be known beforehand: an authority of the bundle, or an intermediate of our own SVID. That of
another intermediate is refused in a file: its signer is seen only when a peer shows it, and until then the list could
be neither believed nor passed over.
"""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.errors import CertificateRevoked, IdentityInvalid, NotAnSvid, RevocationUnknown
from proxy.identity.certificate import UNREADABLE, find, public_key, read_extensions

_PEM_BEGIN = b"-----BEGIN X509 CRL-----"
_PEM_END = b"-----END X509 CRL-----"

MAX_REVOKED = 20_000
"""In the lists of one trust domain, about 0.7 MB of CRL. SVIDs live an hour: who has more has another trouble."""

Issued = tuple[bytes, int]
"""A certificate as CRLs name it: the ``key_id`` of its issuer, and its serial number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """What the authorities of one trust domain have taken back. None of it, unless told otherwise.

    ``next_update`` is the earliest of its lists, in seconds since 1970; ``is_strict``: past it nobody is believed.
    """

    serials: Mapping[bytes, frozenset[int]] = field(default_factory=dict, repr=False)
    next_update: float = float("inf")
    is_strict: bool = True

    def check(self, issued: Iterable[Issued], now: float) -> None:
        """Compare the certificates of a chain, all but its anchor.

        Raises:
            CertificateRevoked: one of them was taken back; also by a list that is old.
            RevocationUnknown: the list is old, and such a one proves nothing more.

        """
        self.check_serials(issued)
        if self.is_strict and not now <= self.next_update:
            raise RevocationUnknown("the CRL of the trust domain has passed its next update")

    def check_serials(self, issued: Iterable[Issued]) -> None:
        """Compare them, however old the lists are. Raises CertificateRevoked."""
        if self.serials and any(serial in self.serials.get(issuer, ()) for issuer, serial in issued):
            raise CertificateRevoked("a certificate of the chain was revoked by its issuer")


NOTHING_REVOKED = Revocations()


def key_id(certificate: x509.Certificate) -> bytes:
    """Return what tells the key of an authority from any other, in whatever certificate it stands. Raises NotAnSvid."""
    key = public_key(certificate)
    if key is None:
        raise NotAnSvid("the key of an authority cannot be used")
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def issued_by(path: Sequence[x509.Certificate]) -> tuple[Issued, ...]:
    """Return the certificates of a path, leaf first and anchor last, as CRLs name them; the anchor has no issuer."""
    return tuple((key_id(issuer), below.serial_number) for below, issuer in itertools.pairwise(path))


def read_crls_pem(
    raw: bytes, authorities: Sequence[x509.Certificate], now: float, *, is_strict: bool = True
) -> Revocations:
    """Read every CRL of a PEM text, at least one. Raises IdentityInvalid."""
    blocks = [block + _PEM_END for block in raw.split(_PEM_END)[:-1]]
    if not blocks or len(blocks) != raw.count(_PEM_BEGIN):
        raise IdentityInvalid("holds no PEM CRL, or one that is cut off")
    try:
        found = [x509.load_pem_x509_crl(block) for block in blocks]
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL that cannot be read") from error
    return _collect(found, authorities, now, is_strict=is_strict)


def read_crls_der(
    raws: Iterable[bytes], authorities: Sequence[x509.Certificate], now: float, *, is_strict: bool = True
) -> Revocations:
    """Read CRLs as the Workload API sends them, DER each. Raises IdentityInvalid."""
    try:
        found = [x509.load_der_x509_crl(raw) for raw in raws]
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL that cannot be read") from error
    return _collect(found, authorities, now, is_strict=is_strict)


def _collect(
    crls: Sequence[x509.CertificateRevocationList],
    authorities: Sequence[x509.Certificate],
    now: float,
    *,
    is_strict: bool,
) -> Revocations:
    serials: dict[bytes, frozenset[int]] = {}
    next_update, count = float("inf"), 0
    for crl in crls:
        issuer = key_id(_signer(crl, authorities))
        next_update = min(next_update, _check_dates(crl, now))
        found = _serials(crl, MAX_REVOKED - count)
        count += len(found)
        serials[issuer] = serials.get(issuer, frozenset()) | found
    return Revocations(serials=serials, next_update=next_update, is_strict=is_strict)


def _signer(crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> x509.Certificate:
    """Names repeat (every SPIRE root has the same), so the signature decides, among those that may sign CRLs."""
    for authority in authorities:
        if authority.subject == crl.issuer and _may_sign(authority) and _is_signed_by(crl, authority):
            return authority
    raise IdentityInvalid("holds a CRL that no authority of the bundle has signed, or that it may not sign (cRLSign)")


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        usage = find(read_extensions(authority), x509.KeyUsage)
    except NotAnSvid:
        return False
    return usage is not None and usage.value.crl_sign


def _is_signed_by(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = public_key(authority)
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except (*UNREADABLE, UnsupportedAlgorithm):
        return False


def _check_dates(crl: x509.CertificateRevocationList, now: float) -> float:
    """Return its next update. One that is past is no fault here: what it names stays revoked."""
    try:
        began, ends = crl.last_update_utc, crl.next_update_utc
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL whose dates cannot be read") from error
    if ends is None:
        raise IdentityInvalid("holds a CRL without nextUpdate (RFC 5280 5.1.2.5): nobody could tell when it is old")
    if began.timestamp() > now:
        raise IdentityInvalid("holds a CRL of the future: a clock is wrong, here or where it was signed")
    return ends.timestamp()


def _serials(crl: x509.CertificateRevocationList, room: int) -> frozenset[int]:
    try:
        if any(e.critical or isinstance(e.value, x509.IssuingDistributionPoint) for e in crl.extensions):
            raise IdentityInvalid("holds a CRL that is not whole: a delta, or for a part of the certificates")
        if len(crl) > room:
            raise IdentityInvalid(f"holds CRLs with more than {MAX_REVOKED} certificates")
        entries = list(crl)
        if any(extension.critical for entry in entries for extension in entry.extensions):
            raise IdentityInvalid("holds a CRL that speaks of certificates of other issuers")
        return frozenset(entry.serial_number for entry in entries)
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL with an entry or extension that cannot be read") from error

"""CRLs of a trust domain: which certificates its authorities have taken back (RFC 5280 section 5 and 6.3).

A CRL counts for the authority that signed it alone: a serial number is unique among the certificates of one issuer, not
beyond. So each list stands under the key of its issuer, and a chain is compared certificate by certificate. A list that
we cannot read in full is refused, never used in part: a delta, one for a part of the certificates, one on behalf of
other issuers (each says so by a critical extension or by an issuing distribution point).

Who has signed a list is an authority of the bundle, an intermediate of our own SVID, or somebody whom we do not know
yet: another intermediate, or the CA of a domain whose bundle is fetched. Such a list waits. It counts from the moment
at which a peer shows a valid chain with the certificate of that signer in it, for that peer first of all. A list that
bears the name of a known signer and not its signature is refused, and does not wait.
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


MAX_SHOWN = 1024
"""Signers that are remembered, with the lists that are theirs: intermediates come and go, and each is found again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A list whose signer is not known."""

    crl: x509.CertificateRevocationList = field(repr=False)
    serials: frozenset[int] = field(repr=False)
    next_update: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """What the authorities of one trust domain have taken back. None of it, unless told otherwise.

    ``next_update`` is the earliest of its lists, in seconds since 1970; ``is_strict``: past it nobody is believed.
    ``waiting`` are lists of others; each has a next update of its own, which counts for whom it would name alone.
    """

    serials: Mapping[bytes, frozenset[int]] = field(default_factory=dict, repr=False)
    next_update: float = float("inf")
    is_strict: bool = True
    waiting: tuple[Waiting, ...] = ()
    _shown: set[x509.Certificate] = field(default_factory=set, init=False, repr=False, compare=False)
    _placed: dict[bytes, list[Waiting]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def grows_old_at(self) -> float:
        """The earliest next update of all lists."""
        return min([self.next_update, *(one.next_update for one in self.waiting)])

    def misses(self, issued: Iterable[Issued]) -> bool:
        """Whether lists wait and ``place`` was not shown every issuer of these certificates."""
        return bool(self.waiting) and any(issuer not in self._placed for issuer, _ in issued)

    def place(self, signers: Iterable[x509.Certificate]) -> None:
        """Learn which of the lists that wait these have signed. Each is of a chain that was verified."""
        if not self.waiting:
            return
        if len(self._shown) >= MAX_SHOWN:  # before the first: those of one chain are judged together
            self._shown.clear()
            self._placed.clear()
        for signer in signers:
            if signer in self._shown:
                continue
            self._shown.add(signer)
            theirs = [one for one in self.waiting if _has_signed(signer, one.crl)]
            self._placed.setdefault(key_id(signer), []).extend(theirs)

    def check(self, issued: Iterable[Issued], now: float) -> None:
        """Compare the certificates of a chain, all but its anchor.

        Raises:
            CertificateRevoked: one of them was taken back; also by a list that is old.
            RevocationUnknown: the list is old, and such a one proves nothing more.

        """
        self.check_serials(issued)
        ends = [one.next_update for issuer, _ in issued for one in self._placed.get(issuer, ())]
        if self.is_strict and not now <= min([self.next_update, *ends]):
            raise RevocationUnknown("the CRL of the trust domain has passed its next update")

    def check_serials(self, issued: Iterable[Issued]) -> None:
        """Compare them, however old the lists are. Raises CertificateRevoked."""
        if any(serial in self.serials.get(issuer, ()) or self._is_named(issuer, serial) for issuer, serial in issued):
            raise CertificateRevoked("a certificate of the chain was revoked by its issuer")

    def _is_named(self, issuer: bytes, serial: int) -> bool:
        return any(serial in one.serials for one in self._placed.get(issuer, ()))


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
        found = [_named(x509.load_pem_x509_crl(block)) for block in blocks]
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL that cannot be read") from error
    return _collect(found, authorities, now, is_strict=is_strict)


def read_crls_der(
    raws: Iterable[bytes], authorities: Sequence[x509.Certificate], now: float, *, is_strict: bool = True
) -> Revocations:
    """Read CRLs as the Workload API sends them, DER each. Raises IdentityInvalid."""
    try:
        found = [_named(x509.load_der_x509_crl(raw)) for raw in raws]
    except UNREADABLE as error:
        raise IdentityInvalid("holds a CRL that cannot be read") from error
    return _collect(found, authorities, now, is_strict=is_strict)


def _named(crl: x509.CertificateRevocationList) -> x509.CertificateRevocationList:
    _ = crl.issuer  # parsed when it is asked for, as the fields of certificates
    return crl


def _collect(
    crls: Sequence[x509.CertificateRevocationList],
    authorities: Sequence[x509.Certificate],
    now: float,
    *,
    is_strict: bool,
) -> Revocations:
    serials: dict[bytes, frozenset[int]] = {}
    waiting: list[Waiting] = []
    next_update, count = float("inf"), 0
    for crl in crls:
        signer = _signer(crl, authorities)
        ends = _check_dates(crl, now)
        found = _serials(crl, MAX_REVOKED - count)
        count += len(found)
        if signer is None:
            waiting.append(Waiting(crl, found, ends))
            continue
        next_update, issuer = min(next_update, ends), key_id(signer)
        serials[issuer] = serials.get(issuer, frozenset()) | found
    return Revocations(serials=serials, next_update=next_update, is_strict=is_strict, waiting=tuple(waiting))


def _signer(crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """Return who has signed it; None where it is of nobody here, and so must wait.

    Names repeat (every SPIRE root has the same), so the signature decides, among those that may sign CRLs.
    """
    named = [authority for authority in authorities if names_issuer(crl, authority)]
    signer = next((authority for authority in named if _has_signed(authority, crl)), None)
    if named and signer is None:
        raise IdentityInvalid(
            "holds a CRL that no authority of the bundle has signed, or that it may not sign (cRLSign)"
        )
    return signer


def names_issuer(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Say whether a list calls this certificate its issuer: by name and, where both have one, by key identifier.

    An intermediate may have the name of its root; RFC 5280 5.2.1 has every list say whose key it is.
    """
    if crl.issuer != authority.subject:
        return False
    try:
        theirs = find(crl.extensions, x509.AuthorityKeyIdentifier)
        own = find(read_extensions(authority), x509.SubjectKeyIdentifier)
    except (*UNREADABLE, NotAnSvid):
        return True
    wanted = theirs.value.key_identifier if theirs else None
    return own is None or wanted is None or wanted == own.value.digest


def _has_signed(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    return authority.subject == crl.issuer and _may_sign(authority) and _is_signed_by(crl, authority)


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

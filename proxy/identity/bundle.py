"""Trust bundles: the authorities of one trust domain, and of no other (Trust Domain and Bundle 4).

A bundle does not name its trust domain: whoever reads it says so. Roots of different domains are never pooled (law 2):
``other.org`` could then sign an identity of ``example.org``. A SPIRE root names its own domain, so a bundle that pools
such roots is refused here; roots that name none cannot be told apart, and no reader can detect it.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.errors import IdentityInvalid, NotAnSvid
from proxy.identity.certificate import UNREADABLE, read_der, read_fields, signing_domain
from proxy.identity.revocation import NOTHING_REVOKED, Revocations

_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"
_KEY_TYPES = ("EC", "RSA", "OKP")
"""What JWKs of certificates have; an element of any other MUST be ignored (Trust Domain and Bundle 4.2.1). Not a set: a
stranger's value need not be hashable."""

_DER_SEQUENCE = 0x30
_DER_LONG_FORM = 0x80
_DER_LENGTH_BYTES = 4
"""More would be a certificate of 4 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The authorities of ``trust_domain``. Empty is legal, and trusts nobody (Trust Domain and Bundle 4.1.3).

    ``revocations`` is what they have taken back: ``replace(bundle, revocations=read_crls_der(...))``.
    """

    trust_domain: str
    authorities: tuple[x509.Certificate, ...]
    revocations: Revocations = NOTHING_REVOKED
    by_der: Mapping[bytes, x509.Certificate] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_der = {certificate.public_bytes(Encoding.DER): certificate for certificate in self.authorities}
        object.__setattr__(self, "by_der", by_der)
        object.__setattr__(self, "authorities", tuple(by_der.values()))
        for authority in self.authorities:
            _check_domain(authority, self.trust_domain)

    @property
    def ders(self) -> frozenset[bytes]:
        """Every authority as DER."""
        return frozenset(self.by_der)

    def der_of(self, authority: x509.Certificate) -> bytes:
        """Return the one copy of an authority's DER that all may share; empty where it is none of ours."""
        return next((der for der, mine in self.by_der.items() if mine == authority), b"")

    @classmethod
    def from_pem(cls, trust_domain: str, raw: bytes) -> "Bundle":
        """Read concatenated PEM, as spiffe-helper writes it. Raises IdentityInvalid."""
        return cls(trust_domain=trust_domain, authorities=read_pem(raw))

    @classmethod
    def from_der(cls, trust_domain: str, raw: bytes) -> "Bundle":
        """Read concatenated DER, as the Workload API sends it. Raises IdentityInvalid."""
        return cls(trust_domain=trust_domain, authorities=read_ders(split_der(raw)))

    def is_of(self, raw: bytes) -> bool:
        """Whether ``from_der`` would make of it what this is: a rotation brings the same authorities again."""
        return self.revocations is NOTHING_REVOKED and b"".join(self.by_der) == raw

    @classmethod
    def from_jwks(cls, trust_domain: str, raw: bytes) -> "Bundle":
        """Read the x509-svid entries of a SPIFFE bundle (X509-SVID 6.2). Raises IdentityInvalid."""
        return cls(trust_domain=trust_domain, authorities=read_ders(_jwks_ders(raw)))


Bundles = Mapping[str, Bundle]
"""A bundle for each trust domain, under the name that the configuration or the Workload API gave it."""


def read_pem(raw: bytes) -> tuple[x509.Certificate, ...]:
    """Parse every CERTIFICATE block, at least one. Raises IdentityInvalid, also when the last one is cut off."""
    try:
        found = x509.load_pem_x509_certificates(raw)
        for certificate in found:
            read_fields(certificate)
    except UNREADABLE as error:
        raise IdentityInvalid("holds no PEM certificate that can be read") from error
    if len(found) != raw.count(_PEM_BEGIN):
        raise IdentityInvalid("holds a PEM certificate that is cut off")
    return tuple(found)


def read_ders(raws: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Parse each. Raises IdentityInvalid."""
    try:
        return tuple(read_der(raw) for raw in raws)
    except NotAnSvid as error:
        raise IdentityInvalid("holds a certificate that cannot be read") from error


def split_der(raw: bytes) -> list[bytes]:
    """Split concatenated DER into its SEQUENCEs, at least one. Raises IdentityInvalid."""
    found = []
    start = 0
    while start < len(raw):
        end = _der_end(raw, start)
        found.append(raw[start:end])
        start = end
    if not found:
        raise IdentityInvalid("holds no certificate")
    return found


def _der_end(raw: bytes, start: int) -> int:
    head = raw[start : start + 2]
    if len(head) < 2 or head[0] != _DER_SEQUENCE:
        raise IdentityInvalid("is not concatenated DER")
    body, length = start + 2, head[1]
    if length & _DER_LONG_FORM:
        count = length & ~_DER_LONG_FORM
        if not 1 <= count <= _DER_LENGTH_BYTES:
            raise IdentityInvalid("is not concatenated DER")
        length, body = int.from_bytes(raw[body : body + count]), body + count
    if body + length > len(raw):
        raise IdentityInvalid("holds a certificate that is cut off")
    return body + length


def _jwks_ders(raw: bytes) -> list[bytes]:
    try:
        document = json.loads(raw)
        keys = document["keys"]
        ours = [key for key in keys if key.get("use") == "x509-svid" and key.get("kty") in _KEY_TYPES]
        chains = [key["x5c"] for key in ours if key.get("x5c")]
        # Of each x5c the first value alone counts; it is base64, not base64url (RFC 7517 4.7).
        return [base64.b64decode(chain[0], validate=True) for chain in chains]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise IdentityInvalid("is not a SPIFFE bundle: a JSON object with an array named keys") from error


def _check_domain(authority: x509.Certificate, trust_domain: str) -> None:
    try:
        named = signing_domain(authority)
    except NotAnSvid:  # not an SVID is legal for an authority (X509-SVID 3.2, SHOULD)
        return
    if named not in {None, trust_domain}:
        raise IdentityInvalid(
            f"holds an authority of another trust domain than {trust_domain}: give each trust domain a bundle of its "
            "own (spiffe-helper: include_federated_domains = false)"
        )

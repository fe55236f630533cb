"""X509-SVIDs: the rules of a leaf, and our own SVID with its key (X509-SVID 2 to 4)."""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.errors import IdentityInvalid, NotAnSvid
from proxy.identity.bundle import Bundle, read_ders, read_pem, split_der
from proxy.identity.certificate import check_intermediates, find, is_ca, public_key, read_extensions, uris, validity
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId

MIN_RSA_BITS = 2048
"""OpenSSL's security level 2 takes no less, so a smaller key would load and then fail every handshake."""

_REQUIRED_EKU = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class X509Svid:
    """Our own SVID: leaf first, then its intermediates. ``not_after`` is the earliest end of any of them."""

    spiffe_id: SpiffeId
    certificates: tuple[x509.Certificate, ...]
    not_before: float
    not_after: float
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)

    def signers(self, bundle: Bundle) -> tuple[x509.Certificate, ...]:
        """Return who may sign CRLs of a trust domain: its authorities; of our own, our intermediates as well."""
        own = bundle.trust_domain == self.spiffe_id.trust_domain
        return (*bundle.authorities, *self.certificates[1:]) if own else bundle.authorities

    @classmethod
    def from_pem(cls, chain: bytes, key: bytes) -> "X509Svid":
        """Read the files of spiffe-helper. Raises IdentityInvalid or NotAnSvid."""
        return cls.of(read_pem(chain), read_key_pem(key))

    @classmethod
    def from_der(cls, chain: bytes, key: bytes) -> "X509Svid":
        """Read the fields of the Workload API: DER and PKCS#8. Raises IdentityInvalid or NotAnSvid."""
        return cls.of(read_ders(split_der(chain)), read_key_der(key))

    @classmethod
    def of(cls, certificates: tuple[x509.Certificate, ...], key: PrivateKey) -> "X509Svid":
        """Put a chain and its key together. Raises IdentityInvalid or NotAnSvid."""
        leaf = certificates[0]
        spiffe_id = check_leaf(leaf)
        check_intermediates(certificates[1:], spiffe_id.trust_domain)
        if public_key(leaf) != key.public_key():
            raise IdentityInvalid("the key does not belong to the certificate")
        spans = [validity(certificate) for certificate in certificates]
        return cls(
            spiffe_id=spiffe_id,
            certificates=certificates,
            not_before=max(span[0] for span in spans),
            not_after=min(span[1] for span in spans),
            chain_pem=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates),
            key_pem=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def read_key_pem(raw: bytes) -> PrivateKey:
    """Read an unencrypted private key as PEM. Raises IdentityInvalid."""
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityInvalid("holds no unencrypted PEM private key that can be read") from error
    return _usable(key)


def read_key_der(raw: bytes) -> PrivateKey:
    """Read an unencrypted PKCS#8 private key. Raises IdentityInvalid."""
    try:
        key = serialization.load_der_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityInvalid("holds no unencrypted PKCS#8 private key that can be read") from error
    return _usable(key)


def _usable(key: object) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise IdentityInvalid(f"holds an RSA key of less than {MIN_RSA_BITS} bits")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise IdentityInvalid("holds a key that is neither EC, RSA nor Ed25519")


def check_leaf(certificate: x509.Certificate) -> SpiffeId:
    """Hold a leaf to every rule of X509-SVID and return the SPIFFE ID that it claims. Raises NotAnSvid."""
    extensions = read_extensions(certificate)
    if is_ca(extensions):
        raise NotAnSvid("a leaf must not have cA (X509-SVID 4.1)")
    _check_key_usage(extensions)
    _check_extended_key_usage(extensions)
    _check_san_criticality(certificate, extensions)
    return _leaf_id(extensions)


def _check_key_usage(extensions: x509.Extensions) -> None:
    usage = find(extensions, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise NotAnSvid("key usage must be there and critical (X509-SVID 4.3)")
    if not usage.value.digital_signature:
        raise NotAnSvid("a leaf must have digitalSignature (X509-SVID 4.3)")
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise NotAnSvid("a leaf must not have keyCertSign or cRLSign (X509-SVID 4.3)")


def _check_extended_key_usage(extensions: x509.Extensions) -> None:
    usage = find(extensions, x509.ExtendedKeyUsage)
    if usage is not None and not _REQUIRED_EKU.issubset(usage.value):
        raise NotAnSvid("extended key usage must hold serverAuth and clientAuth (X509-SVID 4.4)")


def _check_san_criticality(certificate: x509.Certificate, extensions: x509.Extensions) -> None:
    names = find(extensions, x509.SubjectAlternativeName)
    if names is not None and not names.critical and not certificate.subject.rdns:
        raise NotAnSvid("without a subject the SAN must be critical (X509-SVID 3.1)")


def _leaf_id(extensions: x509.Extensions) -> SpiffeId:
    found = uris(extensions)
    if len(found) != 1:
        raise NotAnSvid("a leaf has exactly one URI SAN (X509-SVID 2)")
    try:
        spiffe_id = SpiffeId.parse(found[0])
    except InvalidSpiffeId as error:
        raise NotAnSvid(f"the URI SAN is not a SPIFFE ID: {error}") from error
    if not spiffe_id.path:
        raise NotAnSvid("the SPIFFE ID of a leaf must have a path (X509-SVID 3.1)")
    return spiffe_id

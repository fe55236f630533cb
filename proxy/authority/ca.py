"""The certificate authority: one root, and SVIDs straight below it (X509-SVID, specs 2.2).

The root lives ten years because nothing here rotates it: its end would be the end of every connection of the trust
domain at once, and a development authority that dies after a year teaches nobody anything. To replace it, end the
authority, move its state away, and start again; every workload then gets its new bundle from the files.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.identity.spiffe_id import SpiffeId

ROOT_LIFETIME_S = 10 * 365 * 86400.0

BACKDATE_S = 10.0
"""SPIRE's cushion: the clock of the one who verifies may be a little behind (specs 3.2)."""

_NAME_CHARS = 64
"""The longest organizationName and commonName (RFC 5280 appendix A.1); a trust domain may have 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSvid:
    """An SVID with its key, as PEM. Seconds of the wall clock."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    not_before: float
    not_after: float

    @property
    def renew_at(self) -> float:
        """Half of its life: what is left is the time in which a renewal may fail and be tried again."""
        return self.not_before + BACKDATE_S + (self.not_after - self.not_before - BACKDATE_S) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The authority's own certificate and key."""

    trust_domain: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def bundle_pem(self) -> bytes:
        """The trust bundle."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as PKCS#8."""
        return _pem(self.key)

    @property
    def not_after(self) -> float:
        """The end of the root, and of everything below it."""
        return self.certificate.not_valid_after_utc.timestamp()

    def issue(self, spiffe_id: SpiffeId, now: float, lifetime_s: float) -> IssuedSvid:
        """Issue an SVID with a new key. It never outlives the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        not_before, not_after = now - BACKDATE_S, min(now + lifetime_s, self.not_after)
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))]), False),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.trust_domain[:_NAME_CHARS])])
        certificate = _sign(subject, self.certificate.subject, key, self.key, (not_before, not_after), extensions)
        return IssuedSvid(
            chain_pem=certificate.public_bytes(serialization.Encoding.PEM),
            key_pem=_pem(key),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )


def make_root(trust_domain: str, now: float) -> Root:
    """Make the root of a new trust domain."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "svidecar"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {trust_domain}"[:_NAME_CHARS]),
        ]
    )
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(key_cert_sign=True, crl_sign=True), True),
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    certificate = _sign(name, name, key, key, (now - BACKDATE_S, now + ROOT_LIFETIME_S), extensions)
    return Root(trust_domain=trust_domain, certificate=certificate, key=key)


def load_root(trust_domain: str, certificate_pem: bytes, key_pem: bytes) -> Root:
    """Take back a root that was made here.

    Raises:
        ValueError: it is not one, it belongs to another trust domain, or the key is another's; the message says which.

    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key is not the one of the certificate")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate was not made by svidecar authority") from error
    if names.get_values_for_type(x509.UniformResourceIdentifier) != [f"spiffe://{trust_domain}"]:
        raise ValueError(f"it belongs to another trust domain than {trust_domain}")
    return Root(trust_domain=trust_domain, certificate=certificate, key=key)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    validity: tuple[float, float],
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(int(validity[0]), UTC))
        .not_valid_after(datetime.fromtimestamp(int(validity[1]), UTC))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())

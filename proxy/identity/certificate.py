"""What is read from a certificate, and the rules of a signing certificate (X509-SVID 3.2 and 4)."""

from collections.abc import Iterable
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from proxy.errors import NotAnSvid
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId

UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises for DER that is not a certificate, or whose extensions cannot be read."""

E = TypeVar("E", bound=x509.ExtensionType)


def read_der(raw: bytes) -> x509.Certificate:
    """Parse one certificate. Raises NotAnSvid."""
    try:
        certificate = x509.load_der_x509_certificate(raw)
        read_fields(certificate)
    except UNREADABLE as error:
        raise NotAnSvid("the certificate is not DER that can be read") from error
    return certificate


def read_fields(certificate: x509.Certificate) -> None:
    """Parse what ``cryptography`` leaves until it is asked for: later it would raise where nobody expects it.

    Raises one of UNREADABLE.
    """
    _ = certificate.subject, validity(certificate)


def read_extensions(certificate: x509.Certificate) -> x509.Extensions:
    """Return all extensions. Raises NotAnSvid where one of them cannot be read or stands twice."""
    try:
        return certificate.extensions
    except UNREADABLE as error:
        raise NotAnSvid("an extension of the certificate cannot be read") from error


def find(extensions: x509.Extensions, kind: type[E]) -> x509.Extension[E] | None:
    """Return the extension of that kind, or None."""
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def validity(certificate: x509.Certificate) -> tuple[float, float]:
    """Return the first and the last second at which it is valid (RFC 5280 4.1.2.5: both inclusive)."""
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    """Return the key, or None where it is of a kind that ``cryptography`` cannot use."""
    try:
        return certificate.public_key()
    except (*UNREADABLE, UnsupportedAlgorithm):
        return None


def is_ca(extensions: x509.Extensions) -> bool:
    """Say whether basicConstraints has cA; without the extension it has not (RFC 5280 4.2.1.9)."""
    constraints = find(extensions, x509.BasicConstraints)
    return constraints is not None and constraints.value.ca


def uris(extensions: x509.Extensions) -> list[str]:
    """Return the URI SANs, of any scheme."""
    names = find(extensions, x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier) if names else []


def check_signing(certificate: x509.Certificate) -> None:
    """Hold a signing certificate to cA and keyCertSign (X509-SVID 4.1, 4.3). Raises NotAnSvid."""
    extensions = read_extensions(certificate)
    if not is_ca(extensions):
        raise NotAnSvid("a signing certificate must have cA")
    usage = find(extensions, x509.KeyUsage)
    if usage is None or not usage.value.key_cert_sign:
        raise NotAnSvid("a signing certificate must have keyCertSign")


def signing_domain(certificate: x509.Certificate) -> str | None:
    """Return the trust domain that a signing certificate names; None where it has no URI SAN (X509-SVID 3.2).

    Raises NotAnSvid where it has two, or a SPIFFE ID with a path.
    """
    found = uris(read_extensions(certificate))
    if not found:
        return None
    if len(found) > 1:
        raise NotAnSvid("a signing certificate must not have more than one URI SAN")
    try:
        spiffe_id = SpiffeId.parse(found[0])
    except InvalidSpiffeId as error:
        raise NotAnSvid(f"the URI SAN of a signing certificate is not a SPIFFE ID: {error}") from error
    if spiffe_id.path:
        raise NotAnSvid("the SPIFFE ID of a signing certificate must not have a path")
    return spiffe_id.trust_domain


def check_intermediates(certificates: Iterable[x509.Certificate], trust_domain: str) -> None:
    """Hold what stands between a leaf of ``trust_domain`` and its anchor to X509-SVID 3.2. Raises NotAnSvid."""
    for certificate in certificates:
        check_signing(certificate)
        if signing_domain(certificate) not in {None, trust_domain}:
            raise NotAnSvid("an intermediate names another trust domain than the leaf")

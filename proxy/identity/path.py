"""Path validation of a presented chain against one bundle (RFC 5280 6, X509-SVID 5.1).

By the verifier of ``cryptography``: it takes anchors that are not self-signed, tries each authority of a repeated name,
checks signatures, validity, cA, pathLen and name constraints (of DNS names and addresses; a path with any other is
refused), and refuses what is critical and unknown.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from proxy.errors import CertificateExpired, NotAnSvid, UntrustedChain
from proxy.identity.bundle import Bundle
from proxy.identity.certificate import UNREADABLE, check_intermediates, check_signing, find, read_extensions, validity
from proxy.identity.svid import check_leaf

MAX_CERTIFICATES = 10
"""Leaf, intermediates and anchor. SPIRE nests two or three deep; each more is work that a stranger makes us do."""


def earliest_end(path: Sequence[x509.Certificate], now: float) -> float:
    """Return when the first of them ends. Raises CertificateExpired if one of them is not valid now."""
    earliest = float("inf")
    for certificate in path:
        not_before, not_after = validity(certificate)
        if not not_before <= now <= not_after:
            raise CertificateExpired("a certificate of the chain is not valid now")
        earliest = min(earliest, not_after)
    return earliest


def find_path(certificates: Sequence[x509.Certificate], bundle: Bundle, now: float) -> Sequence[x509.Certificate]:
    """Return a valid path from a presented chain, leaf first, to an authority of ``bundle``.

    Raises UntrustedChain, CertificateExpired or NotAnSvid.
    """
    if not 1 <= len(certificates) < MAX_CERTIFICATES:
        raise UntrustedChain(f"a chain has at most {MAX_CERTIFICATES} certificates with its anchor")
    leaf, *above = certificates
    check_leaf(leaf)
    earliest_end(certificates, now)
    if not bundle.authorities:
        raise UntrustedChain("the bundle of the trust domain is empty")
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.authorities)))
        .time(datetime.fromtimestamp(now, UTC))
        .max_chain_depth(MAX_CERTIFICATES - 2)
        .extension_policies(ca_policy=_SIGNING, ee_policy=_LEAF)
        .build_client_verifier()
    )
    try:
        path = verifier.verify(leaf, above).chain
    except VerificationError as error:
        if _has_ended_issuer(certificates, bundle, now):
            raise CertificateExpired("the authority that issued it is not valid now") from error
        raise UntrustedChain(_why(str(error))) from error
    if len(path) < 2:
        raise UntrustedChain("the leaf itself is in the bundle")
    check_intermediates(path[1:-1], bundle.trust_domain)
    _check_name_constraints(path[1:])
    return path


def _check_name_constraints(signing: Sequence[x509.Certificate]) -> None:
    """Refuse what the verifier does not evaluate: some versions of it pass over what they do not know."""
    for certificate in signing:
        constraints = find(read_extensions(certificate), x509.NameConstraints)
        if constraints is None:
            continue
        subtrees = [*(constraints.value.permitted_subtrees or ()), *(constraints.value.excluded_subtrees or ())]
        if not all(isinstance(subtree, x509.DNSName | x509.IPAddress) for subtree in subtrees):
            raise UntrustedChain("a name constraint in the path cannot be evaluated")


def _signs(_policy: Policy, certificate: x509.Certificate, _usage: x509.KeyUsage) -> None:
    try:
        check_signing(certificate)
    except NotAnSvid as error:  # the verifier wants a ValueError to go on to the next candidate
        raise ValueError(error.detail) from error


def _has_ended_issuer(certificates: Sequence[x509.Certificate], bundle: Bundle, now: float) -> bool:
    """Only for the reason that is told: names repeat (every SPIRE root has the same), so the signature decides."""
    for authority in bundle.authorities:
        not_before, not_after = validity(authority)
        if not not_before <= now <= not_after and any(_is_issued_by(c, authority) for c in certificates):
            return True
    return False


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _why(error: str) -> str:
    """The verifier's words hold names from the certificate: say only which kind of fault it was."""
    if "name constraint" in error or "nameConstraints" in error:
        return "a name constraint in the path forbids the leaf or cannot be evaluated"
    if "unaccounted-for critical" in error:
        return "a certificate has a critical extension that is not known"
    return "no valid path leads from the leaf to an authority of its trust domain's bundle"


# SPIFFE asks less than the Web PKI (no DNS name, EKU optional, any subject), so nothing is demanded here but what makes
# an authority; check_leaf holds the leaf's rules. Whatever is critical and unknown is refused by the verifier itself.
_LEAF = ExtensionPolicy.permit_all()
_SIGNING = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
)

"""What is read from certificates that others made."""

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pki import Authority, der

from proxy.errors import NotAnSvid, ProxyError
from proxy.identity.certificate import (
    check_intermediates,
    check_signing,
    is_ca,
    read_der,
    read_extensions,
    signing_domain,
)
from proxy.identity.svid import check_leaf

CA = Authority.make("example.org")
LEAF = der(CA.svid("spiffe://example.org/orders").certificate)


@pytest.mark.parametrize("raw", [b"", b"\x30", b"not a certificate", LEAF[:-1], LEAF + b"\0"])
def test_not_a_certificate(raw: bytes) -> None:
    """Anything but exactly one certificate is refused."""
    with pytest.raises(NotAnSvid):
        read_der(raw)


@pytest.mark.filterwarnings("ignore")
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.integers(0, len(LEAF) - 1), st.binary(min_size=1, max_size=4))
def test_damaged_certificates(at: int, damage: bytes) -> None:
    """However a certificate is damaged, it is read or refused: no other exception comes out."""
    raw = (LEAF[:at] + damage + LEAF[at + len(damage) :])[: len(LEAF)]
    try:
        certificate = read_der(raw)
        check_leaf(certificate)
        signing_domain(certificate)
    except ProxyError as error:
        assert isinstance(error, NotAnSvid)  # noqa: PT017 - any other class is the failure that is looked for


def test_ca_without_basic_constraints() -> None:
    """Without the extension a certificate is no CA (RFC 5280 4.2.1.9)."""
    assert is_ca(read_extensions(CA.certificate))
    assert not is_ca(read_extensions(Authority.make("example.org", is_ca=None).certificate))


@pytest.mark.parametrize(
    "wrong",
    [
        Authority.make("example.org", is_ca=False),
        Authority.make("example.org", is_ca=None),
        Authority.make("example.org", usage=None),
        Authority.make("example.org", usage=frozenset({"digital_signature", "crl_sign"})),
    ],
)
def test_signing_certificates(wrong: Authority) -> None:
    """A signing certificate must have cA and keyCertSign."""
    check_signing(CA.certificate)
    with pytest.raises(NotAnSvid):
        check_signing(wrong.certificate)


def test_signing_domain() -> None:
    """A signing certificate may name its trust domain, and then nothing below it."""
    assert signing_domain(CA.certificate) == "example.org"
    assert signing_domain(Authority.make("example.org", uri="").certificate) is None
    for uri in ("spiffe://example.org/ca", "https://example.org", "spiffe://EXAMPLE.org"):
        with pytest.raises(NotAnSvid):
            signing_domain(Authority.make("example.org", uri=uri).certificate)


def test_signing_certificate_with_two_uris() -> None:
    """More than one URI SAN is refused here too."""
    names = [x509.UniformResourceIdentifier(f"spiffe://{domain}") for domain in ("example.org", "other.org")]
    two = Authority.make("example.org", uri="", extensions=[(x509.SubjectAlternativeName(names), False)])
    with pytest.raises(NotAnSvid):
        signing_domain(two.certificate)


def test_intermediates() -> None:
    """An intermediate names the leaf's trust domain, or none."""
    check_intermediates([CA.intermediate().certificate, CA.intermediate(uri="").certificate], "example.org")
    with pytest.raises(NotAnSvid):
        check_intermediates([CA.intermediate("other.org").certificate], "example.org")

"""Our own SVID, and the rules of a leaf: each wrong variant beside the good one."""

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.pki import LEAF_USAGE, Authority, Svid, new_key

from proxy.errors import IdentityInvalid, NotAnSvid
from proxy.identity.bundle import Bundle
from proxy.identity.svid import MIN_RSA_BITS, X509Svid, check_leaf

CA = Authority.make("example.org")
URI = "spiffe://example.org/orders"
GOOD = CA.svid(URI)

RIGHT: dict[str, Svid] = {
    "good": GOOD,
    "with DNS names": CA.svid(URI, dns=["orders", "orders.example.org"]),
    "no subject, critical SAN": CA.svid(URI, subject="", san_critical=True),
    "no extended key usage": CA.svid(URI, extended=None),
    "more extended key usages": CA.svid(
        URI,
        extended=[
            ExtendedKeyUsageOID.SERVER_AUTH,
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ],
    ),
    "digitalSignature alone": CA.svid(URI, usage=frozenset({"digital_signature"})),
    "no basic constraints": CA.svid(URI, is_ca=None),
    "no key identifiers": CA.svid(URI, identifiers=False),
}

WRONG: dict[str, Svid] = {
    "two URI SANs": CA.svid(URI, more_uris=["spiffe://example.org/ledger"]),
    "two URI SANs, one of another scheme": CA.svid(URI, more_uris=["https://example.org"]),
    "the same URI SAN twice": CA.svid(URI, more_uris=[URI]),
    "no URI SAN": CA.svid("", dns=["orders"]),
    "no SAN": CA.svid("", san=False),
    "root path": CA.svid("spiffe://example.org"),
    "trailing slash": CA.svid("spiffe://example.org/"),
    "another scheme": CA.svid("https://example.org/orders"),
    "upper case": CA.svid("spiffe://EXAMPLE.ORG/orders"),
    "NUL in the URI": CA.svid("spiffe://example.org/orders\0"),
    "cA": CA.svid(URI, is_ca=True),
    "keyCertSign": CA.svid(URI, usage=LEAF_USAGE | {"key_cert_sign"}),
    "cRLSign": CA.svid(URI, usage=LEAF_USAGE | {"crl_sign"}),
    "no digitalSignature": CA.svid(URI, usage=frozenset({"key_agreement"})),
    "no key usage": CA.svid(URI, usage=None),
    "key usage not critical": CA.svid(URI, usage_critical=False),
    "serverAuth alone": CA.svid(URI, extended=[ExtendedKeyUsageOID.SERVER_AUTH]),
    "clientAuth alone": CA.svid(URI, extended=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    "anyExtendedKeyUsage": CA.svid(URI, extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    "no subject, SAN not critical": CA.svid(URI, subject="", san_critical=False),
}


@pytest.mark.parametrize("variant", RIGHT)
def test_leaves_that_are_svids(variant: str) -> None:
    """What X509-SVID allows is accepted."""
    assert str(check_leaf(RIGHT[variant].certificate)) == URI


@pytest.mark.parametrize("variant", WRONG)
def test_leaves_that_are_not(variant: str) -> None:
    """What X509-SVID forbids is refused, for a peer and for ourselves."""
    svid = WRONG[variant]
    with pytest.raises(NotAnSvid):
        check_leaf(svid.certificate)
    with pytest.raises(NotAnSvid):
        X509Svid.from_pem(svid.chain_pem, svid.key_pem)


def test_details_hold_no_name_of_the_peer() -> None:
    """What a certificate says reaches no log through the message."""
    with pytest.raises(NotAnSvid) as caught:
        check_leaf(CA.svid("spiffe://s3cret/a b", subject="s3cret").certificate)
    assert "s3cret" not in caught.value.detail


def test_own_svid() -> None:
    """Chain and key are kept as PEM, the key out of sight of a log."""
    svid = X509Svid.from_pem(GOOD.chain_pem, GOOD.key_pem)
    assert str(svid.spiffe_id) == URI
    assert (svid.chain_pem, svid.key_pem) == (GOOD.chain_pem, GOOD.key_pem)
    assert svid.not_after == GOOD.certificate.not_valid_after_utc.timestamp()
    assert "PRIVATE KEY" not in repr(svid)
    assert svid == X509Svid.from_der(b"".join(GOOD.chain_der), GOOD.key_der)


def test_key_and_certificate_in_one_file() -> None:
    """Each is found beside the other, in either order."""
    for both in (GOOD.key_pem + GOOD.chain_pem, GOOD.chain_pem + GOOD.key_pem):
        assert str(X509Svid.from_pem(both, both).spiffe_id) == URI


def test_earliest_end_counts() -> None:
    """An SVID ends with the first of its certificates."""
    short = CA.intermediate(lifetime_s=60.0)
    svid = short.svid(URI, lifetime_s=3600.0)
    loaded = X509Svid.from_pem(svid.chain_pem, svid.key_pem)
    assert loaded.not_after == short.certificate.not_valid_after_utc.timestamp()


def test_another_key() -> None:
    """The key must be the leaf's own: not another one, nor the intermediate's."""
    below = CA.intermediate()
    for other in (new_key(), rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate(), below.key):
        with pytest.raises(IdentityInvalid, match="does not belong"):
            X509Svid.from_pem(GOOD.chain_pem, replace(GOOD, key=other).key_pem)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, MIN_RSA_BITS),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_key_types(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """The keys that SPIRE and others issue."""
    svid = CA.svid(URI, key=key)
    assert X509Svid.from_pem(svid.chain_pem, svid.key_pem)


def test_short_rsa_key() -> None:
    """One bit less than OpenSSL takes is refused here, where a message can say so."""
    svid = CA.svid(URI, key=rsa.generate_private_key(65537, MIN_RSA_BITS - 8))
    with pytest.raises(IdentityInvalid, match="2048"):
        X509Svid.from_pem(svid.chain_pem, svid.key_pem)


def test_keys_that_cannot_be_used() -> None:
    """An encrypted key, and keys that sign nothing here."""
    encrypted = GOOD.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    x25519 = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"
    for raw in (encrypted, x25519, b"", GOOD.chain_pem, GOOD.key_pem[:-40]):
        with pytest.raises(IdentityInvalid):
            X509Svid.from_pem(GOOD.chain_pem, raw)
    for raw in (b"", GOOD.key_pem, GOOD.key_der[:-1]):
        with pytest.raises(IdentityInvalid):
            X509Svid.from_der(b"".join(GOOD.chain_der), raw)


@pytest.mark.parametrize(
    "above",
    [
        CA.intermediate(is_ca=False),
        CA.intermediate(usage=frozenset({"digital_signature"})),
        CA.intermediate(uri="spiffe://example.org/ca"),
        CA.intermediate("other.org"),
    ],
)
def test_wrong_intermediates(above: Authority) -> None:
    """Every intermediate must be a signing certificate of our own trust domain."""
    svid = above.svid(URI)
    with pytest.raises(NotAnSvid):
        X509Svid.from_pem(svid.chain_pem, svid.key_pem)


def test_extension_twice() -> None:
    """A certificate that says two things in one extension is refused, whichever of them another reader takes."""
    good = CA.svid(
        URI, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.18"), b"\x30\x00"), False)]
    )
    raw = good.chain_der[0]
    # 2.5.29.18 (issuer alternative name) becomes a second 2.5.29.17 (subject alternative name).
    damaged = raw.replace(bytes.fromhex("0603551d12"), bytes.fromhex("0603551d11"))
    assert damaged != raw
    with pytest.raises(NotAnSvid):
        X509Svid.from_der(damaged, good.key_der)


def test_who_may_sign_crls() -> None:
    """The authorities of a domain; our intermediates for our own domain, and for no other."""
    below = Authority.make("example.org").intermediate()
    made = below.svid("spiffe://example.org/orders")
    svid = X509Svid.from_pem(made.chain_pem, made.key_pem)
    other = Authority.make("other.org")
    own, foreign = (Bundle.from_pem(ca.trust_domain, ca.bundle_pem) for ca in (below, other))
    assert svid.signers(own) == (*below.anchors, below.certificate)
    assert svid.signers(foreign) == other.anchors

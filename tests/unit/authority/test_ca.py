"""The CA: its certificates, judged by our own reader of SVIDs and by OpenSSL's."""

import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import pki

from proxy.authority.ca import BACKDATE_S, ROOT_LIFETIME_S, Root, load_root, make_root
from proxy.errors import UntrustedChain
from proxy.identity.bundle import Bundle
from proxy.identity.peer import identify, verify_path
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.svid import X509Svid

TD = "example.org"
NOW = float(int(time.time()))
ORDERS = SpiffeId.parse(f"spiffe://{TD}/ns/shop/orders")


@pytest.fixture(scope="module")
def root() -> Root:
    """A root."""
    return make_root(TD, NOW)


def test_the_root_is_a_signing_certificate(root: Root) -> None:
    """Each rule of X509-SVID 4 for a signing certificate, and both key identifiers."""
    extensions = root.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert usage.value.digital_signature is False
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://{TD}"]
    subject_key = extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == subject_key
    assert root.not_after == NOW + ROOT_LIFETIME_S


def test_a_leaf_is_an_svid(root: Root) -> None:
    """Our own reader takes it, path and all; it is valid from a little before now."""
    issued = root.issue(ORDERS, NOW, 3600)
    svid = X509Svid.from_pem(issued.chain_pem, issued.key_pem)
    assert svid.spiffe_id == ORDERS
    assert (svid.not_before, svid.not_after) == (NOW - BACKDATE_S, NOW + 3600)
    assert issued.renew_at == NOW + 1800
    bundle = Bundle.from_pem(TD, root.bundle_pem)
    verify_path(svid.certificates, bundle, NOW)
    chain = [svid.certificates[0].public_bytes(Encoding.DER), root.certificate.public_bytes(Encoding.DER)]
    assert identify(chain, {TD: bundle}, NOW).spiffe_id == ORDERS


def test_a_leaf_has_what_specs_2_2_asks(root: Root) -> None:
    """Critical key usage, both purposes, one URI, a subject that is not the issuer's, both identifiers, P-256."""
    (leaf,) = x509.load_pem_x509_certificates(root.issue(ORDERS, NOW, 60).chain_pem)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_cert_sign, usage.value.crl_sign) == (
        True,
        True,
        False,
        False,
    )
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    assert names == [x509.UniformResourceIdentifier(str(ORDERS))]
    assert leaf.subject != leaf.issuer
    above = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert above == root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)


def test_openssl_agrees(root: Root, tmp_path: Path) -> None:
    """The command line's verify, strict, for both purposes."""
    (tmp_path / "root.pem").write_bytes(root.bundle_pem)
    (tmp_path / "leaf.pem").write_bytes(root.issue(ORDERS, NOW, 3600).chain_pem)
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem", "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == "leaf.pem: OK\n", done.stderr


def test_each_svid_has_a_new_key_and_serial(root: Root) -> None:
    """A rotation replaces the key as well."""
    one, two = root.issue(ORDERS, NOW, 60), root.issue(ORDERS, NOW, 60)
    assert one.key_pem != two.key_pem
    serials = {x509.load_pem_x509_certificate(issued.chain_pem).serial_number for issued in (one, two)}
    assert len(serials) == 2


def test_no_svid_outlives_the_root(root: Root) -> None:
    """A leaf ends with its issuer at the latest."""
    assert root.issue(ORDERS, root.not_after - 10, 3600).not_after == root.not_after


def test_two_roots_of_one_domain_do_not_trust_each_other(root: Root) -> None:
    """The same name is not the same authority."""
    other = make_root(TD, NOW)
    issued = other.issue(ORDERS, NOW, 60)
    svid = X509Svid.from_pem(issued.chain_pem, issued.key_pem)
    with pytest.raises(UntrustedChain):
        verify_path(svid.certificates, Bundle.from_pem(TD, root.bundle_pem), NOW)


def test_the_longest_trust_domain() -> None:
    """255 bytes, though the names of a subject have 64."""
    domain = "d" * 255
    issued = make_root(domain, NOW).issue(SpiffeId(trust_domain=domain, path="/a"), NOW, 60)
    assert X509Svid.from_pem(issued.chain_pem, issued.key_pem).spiffe_id.trust_domain == domain


def test_keys_are_not_in_the_repr(root: Root) -> None:
    """A log line of one of these values gives nothing away."""
    assert "PRIVATE" not in repr(root.issue(ORDERS, NOW, 60))
    assert "PrivateKey" not in repr(root)


def test_a_root_is_taken_back(root: Root) -> None:
    """What was kept is what was made."""
    again = load_root(TD, root.bundle_pem, root.key_pem)
    assert (again.certificate, again.not_after) == (root.certificate, root.not_after)
    assert load_pem_private_key(again.key_pem, None).public_key() == root.key.public_key()


def test_a_root_that_is_not_ours_is_refused(root: Root) -> None:
    """Of another domain, with another key, without a SPIFFE ID, or no certificate at all."""
    stranger = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    bare = pki.Authority.make(TD, uri="")
    bare_key = bare.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for domain, certificate, key, message in (
        ("other.org", root.bundle_pem, root.key_pem, r"another trust domain than other\.org"),
        (TD, root.bundle_pem, stranger, "not the one of the certificate"),
        (TD, pki.pem([bare.certificate]), bare_key, "not made by svidecar"),
        (TD, b"garbage", root.key_pem, "PEM"),
        (TD, root.bundle_pem, b"garbage", "PEM"),
    ):
        with pytest.raises(ValueError, match=message):
            load_root(domain, certificate, key)

"""The throwaway trust domain is a real one."""

import json
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from loadtest import material


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> material.Material:
    """One for all."""
    return material.make(tmp_path_factory.mktemp("pki"))


def test_every_workload_has_one_spiffe_id(made: material.Material) -> None:
    """And its issuer's key identifier, without which a leaf can read as self-signed."""
    leaf = x509.load_pem_x509_certificate(made.edge.certificate.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [material.EDGE]
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def test_the_forged_credential_claims_the_same_id_from_another_ca(made: material.Material) -> None:
    """Only the signature tells them apart."""
    root = x509.load_pem_x509_certificate(made.bundle.read_bytes())
    x509.load_pem_x509_certificate(made.edge.certificate.read_bytes()).verify_directly_issued_by(root)
    with pytest.raises(InvalidSignature):
        x509.load_pem_x509_certificate(made.forged.certificate.read_bytes()).verify_directly_issued_by(root)


def test_the_keys_are_for_us_alone(made: material.Material) -> None:
    """Also those of a throwaway CA."""
    assert all(key.stat().st_mode & 0o077 == 0 for key in Path(made.directory).glob("*.key"))


def test_each_bad_token_is_bad_in_one_way(made: material.Material) -> None:
    """What jwt, a judge from outside, says of each."""
    (jwk,) = json.loads(made.jwks.read_text())["keys"]
    seen = {name: verdict(token, jwt.PyJWK(jwk)) for name, token in made.tokens.items()}
    assert seen == {
        "good": material.SCOPE,
        "forged": "InvalidSignatureError",
        "expired": "ExpiredSignatureError",
        "elsewhere": "InvalidAudienceError",
        "scopeless": "orders.list",
        "untyped": material.SCOPE,
        "nameless": material.SCOPE,
    }
    assert jwt.get_unverified_header(made.token)["typ"] == "txntoken+jwt"


def verdict(token: str, key: jwt.PyJWK) -> str:
    """The scope, or the name of the reason."""
    try:
        return str(jwt.decode(token, key, audience=material.TRUST_DOMAIN)["scope"])
    except jwt.InvalidTokenError as error:
        return type(error).__name__

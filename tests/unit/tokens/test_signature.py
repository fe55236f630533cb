"""signature.py against Project Wycheproof's raw signatures; the keys come in as JWKs, as they do in life."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key
from support.tokens import TokenMint

from proxy.tokens.encoding import encode_base64url
from proxy.tokens.jwk import Key, UnusableKey, read_jwk
from proxy.tokens.signature import ALGORITHM_OF

VECTORS = "wycheproof/testvectors_v1"
SIGNED = b"signed"


def verifies(key: Key, signature: bytes, signed: bytes) -> bool:
    """Whether the key says so."""
    try:
        key.check(signature, signed)
    except InvalidSignature:
        return False
    return True


def jwk_of(group: dict[str, Any], **more: str) -> dict[str, Any]:
    """Make a JWK of the DER key of a group: not every group brings one."""
    public = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
    if isinstance(public, ec.EllipticCurvePublicKey):
        size, numbers = (public.key_size + 7) // 8, public.public_numbers()
        return {"kty": "EC", "x": number(numbers.x, size), "y": number(numbers.y, size)} | more
    if isinstance(public, rsa.RSAPublicKey):
        pair = public.public_numbers()
        return {"kty": "RSA", "n": number(pair.n, 256), "e": number(pair.e, 3)} | more
    return {"kty": "OKP", "crv": "Ed25519", "x": group["publicKeyJwk"]["x"]} | more


def number(value: int, size: int) -> str:
    """Write an integer as JWK does."""
    return encode_base64url(value.to_bytes(size)).decode()


def run(path: Path, **more: str) -> dict[str, int]:
    """Verify every vector of a file and count: right, wrong, and those whose key we do not take."""
    counts = {"right": 0, "wrong": 0, "either": 0, "key refused": 0}
    for group in json.loads(path.read_bytes())["testGroups"]:
        try:
            key = read_jwk(jwk_of(group, **more))
        except UnusableKey:
            counts["key refused"] += len(group["tests"])
            continue
        for test in group["tests"]:
            verdict = verifies(key, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            if test["result"] == "acceptable":
                counts["either"] += 1
            else:
                counts["right" if verdict == (test["result"] == "valid") else "wrong"] += 1
    return counts


@pytest.mark.parametrize(("algorithm", "size"), [("ES256", 32), ("ES384", 48), ("ES512", 66)])
def test_r_and_s_have_one_length(algorithm: str, size: int) -> None:
    """A zero before s, or one less, is the same number, and would be a second token with the same meaning."""
    mint = TokenMint(algorithm=algorithm)
    key, good = read_jwk(mint.jwk), mint.signature(SIGNED)
    while good[size]:  # until s begins with a zero
        good = mint.signature(SIGNED)
    assert verifies(key, good, SIGNED)
    for bad in (good[:size] + b"\0" + good[size:], good[:size] + good[size + 1 :], good + b"\0", good[:size], b""):
        assert not verifies(key, bad, SIGNED)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_an_rsa_signature_is_as_long_as_the_modulus(algorithm: str) -> None:
    """The same for RSA (RFC 8017 section 8)."""
    mint = TokenMint(algorithm=algorithm)
    key, good = read_jwk(mint.jwk), mint.signature(SIGNED)
    assert verifies(key, good, SIGNED)
    for bad in (b"\0" + good, good + b"\0", good[1:], good[:-1], b""):
        assert not verifies(key, bad, SIGNED)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "more", "expected"),
    [
        ("ecdsa_secp256r1_sha256_p1363_test.json", {"crv": "P-256"}, {"right": 262}),
        ("ecdsa_secp384r1_sha384_p1363_test.json", {"crv": "P-384"}, {"right": 280}),
        ("ecdsa_secp521r1_sha512_p1363_test.json", {"crv": "P-521"}, {"right": 318}),
        ("rsa_signature_2048_sha256_test.json", {"alg": "RS256"}, {"right": 256, "either": 1, "key refused": 2}),
        ("rsa_pss_2048_sha256_mgf1_32_test.json", {"alg": "PS256"}, {"right": 108}),
        ("ed25519_test.json", {}, {"right": 151}),
    ],
)
def test_wycheproof(shared_testdata: Path, file: str, more: dict[str, str], expected: dict[str, int]) -> None:
    """Every verdict is Wycheproof's; the two RSA keys that are refused have the public exponent 3."""
    counts = run(shared_testdata / VECTORS / file, **more)
    assert {name: count for name, count in counts.items() if count} == expected


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "crv", "cases"),
    [
        ("ecdsa_secp256r1_sha256_test.json", "P-256", 484),
        ("ecdsa_secp384r1_sha384_test.json", "P-384", 504),
    ],
)
def test_wycheproof_der_signatures_never_verify(shared_testdata: Path, file: str, crv: str, cases: int) -> None:
    """JWS has no DER: even the valid ones of these files are refused."""
    verdicts = []
    for group in json.loads((shared_testdata / VECTORS / file).read_bytes())["testGroups"]:
        key = read_jwk(jwk_of(group, crv=crv))
        verdicts += [verifies(key, bytes.fromhex(t["sig"]), bytes.fromhex(t["msg"])) for t in group["tests"]]
    assert verdicts == [False] * cases


@pytest.mark.parametrize("algorithm", sorted(ALGORITHM_OF))
def test_each_algorithm_verifies_its_own_and_no_other_length(algorithm: str) -> None:
    """A signature verifies whole: not cut, not longer, not empty, not over other bytes."""
    mint = TokenMint(algorithm=algorithm)
    key = read_jwk(mint.jwk)
    signature = mint.signature(b"signed")
    assert verifies(key, signature, b"signed")
    for bad in (signature[:-1], signature + b"\x00", b"\x00" + signature, signature[::-1], b"", bytes(len(signature))):
        assert not verifies(key, bad, b"signed")
    assert not verifies(key, signature, b"signeD")


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_an_ecdsa_signature_in_der_is_refused(algorithm: str) -> None:
    """Only r and s side by side, never ASN.1."""
    mint = TokenMint(algorithm=algorithm)
    assert isinstance(mint.private, ec.EllipticCurvePrivateKey)
    der = mint.private.sign(b"signed", ec.ECDSA(SHA256()))
    assert not verifies(read_jwk(mint.jwk), der, b"signed")


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512"])
def test_the_salt_of_pss_is_as_long_as_its_hash(algorithm: str) -> None:
    """RFC 7518 section 3.5; and one hash for both uses."""
    mint = TokenMint(algorithm=algorithm)
    assert isinstance(mint.private, rsa.RSAPrivateKey)
    key = read_jwk(mint.jwk)
    digest = {"PS256": SHA256(), "PS384": SHA384(), "PS512": SHA512()}[algorithm]
    for salt in (0, 20, digest.digest_size - 1, digest.digest_size, digest.digest_size + 1):
        signature = mint.private.sign(b"signed", PSS(MGF1(digest), salt), digest)
        assert verifies(key, signature, b"signed") == (salt == digest.digest_size)
    mixed = SHA256() if algorithm == "PS512" else SHA512()
    other = mint.private.sign(b"signed", PSS(MGF1(mixed), digest.digest_size), digest)
    assert not verifies(key, other, b"signed")

"""jwk.py: which keys verify tokens, and why the others do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import ABSENT, TokenMint

from proxy.tokens.encoding import decode_base64url, encode_base64url
from proxy.tokens.jwk import MAX_RSA_BITS, MAX_RSA_EXPONENT, MIN_RSA_BITS, MIN_RSA_EXPONENT, UnusableKey, read_jwk

EC = TokenMint().jwk
RSA = TokenMint(algorithm="RS256").jwk
OKP = TokenMint(algorithm="EdDSA").jwk


def changed(jwk: dict[str, Any], **changes: object) -> dict[str, Any]:
    """Change members; ``ABSENT`` takes one away."""
    return {name: value for name, value in (jwk | changes).items() if value is not ABSENT}


def number(value: int) -> str:
    """Write a Base64urlUInt (RFC 7518 section 2)."""
    return encode_base64url(value.to_bytes((value.bit_length() + 7) // 8)).decode()


@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        (EC, "ES256"),
        (changed(EC, alg=ABSENT), "ES256"),
        (changed(TokenMint(algorithm="ES384").jwk, alg=ABSENT), "ES384"),
        (changed(TokenMint(algorithm="ES512").jwk, alg=ABSENT), "ES512"),
        (RSA, "RS256"),
        (changed(RSA, alg=ABSENT), "RS256"),  # and never PS256 or RS512 by what a token says
        *((changed(RSA, alg=alg), alg) for alg in ("RS384", "RS512", "PS256", "PS384", "PS512")),
        (OKP, "Ed25519"),
        (changed(OKP, alg="Ed25519"), "Ed25519"),
        (changed(OKP, alg=ABSENT), "Ed25519"),
    ],
)
def test_the_algorithm_of_a_key(jwk: dict[str, Any], algorithm: str) -> None:
    """A key has one algorithm: what ``alg`` says, or what its curve means, or RS256."""
    assert read_jwk(jwk).algorithm == algorithm


@pytest.mark.parametrize(
    "jwk",
    [
        changed(EC, use=ABSENT),
        changed(EC, key_ops=["verify"]),
        changed(EC, key_ops=["sign", "verify"]),
        changed(EC, kid=ABSENT),
        changed(EC, x5c=["MIIB"], x5t="abc", unknown={"a": 1}),  # RFC 7517 section 4: unknown members are ignored
    ],
)
def test_usable(jwk: dict[str, Any]) -> None:
    """Members that say nothing against it do not cost a key."""
    assert read_jwk(jwk).kid == jwk.get("kid")


@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ("x", "object"),
        (None, "object"),
        (["kty"], "object"),
        ({}, "kty"),
        ({"kty": "oct", "k": "AAAA"}, "secret"),
        ({"kty": "oct"}, "kty"),
        (changed(EC, kty="ec"), "kty"),
        (changed(EC, kty=["EC"]), "kty"),
        (changed(EC, d="AAAA"), "private"),
        (changed(RSA, p="AAAA"), "private"),
        (changed(OKP, d=""), "private"),
        (changed(EC, use="enc"), "use"),
        (changed(EC, use="jwt-svid"), "use"),
        (changed(EC, use="x509-svid"), "use"),
        (changed(EC, use="SIG"), "use"),
        (changed(EC, use=None), "use"),
        (changed(EC, key_ops=[]), "key_ops"),
        (changed(EC, key_ops=["sign"]), "key_ops"),
        (changed(EC, key_ops="verify"), "key_ops"),
        (changed(EC, key_ops=None), "key_ops"),
        (changed(EC, kid=7), "kid"),
        (changed(EC, kid=None), "kid"),
        (changed(EC, kid=""), "kid"),
        (changed(EC, alg="ES384"), "curve"),
        (changed(EC, alg="RS256"), "curve"),
        (changed(EC, alg="HS256"), "alg"),
        (changed(EC, alg="none"), "alg"),
        (changed(EC, alg="es256"), "alg"),
        (changed(EC, alg="ES256K"), "alg"),
        (changed(EC, alg=None), "alg"),
        (changed(EC, alg=["ES256"]), "alg"),
        (changed(EC, crv="secp256k1"), "crv"),
        (changed(EC, crv="P-384"), "curve"),
        (changed(EC, crv=ABSENT), "crv"),
        (changed(EC, x=ABSENT), "x is not"),
        (changed(EC, x=EC["x"] + "="), "base64url"),
        (changed(EC, x="\u00e9"), "base64url"),
        (changed(EC, x=EC["y"], y=EC["x"]), "point"),
        (changed(EC, x=encode_base64url(bytes(32)).decode(), y=encode_base64url(bytes(32)).decode()), "point"),
        (changed(EC, x=EC["x"][:-3]), "length"),
        (changed(EC, x=encode_base64url(b"\x00" * 33).decode()), "length"),
        (changed(EC, y=encode_base64url(b"\x00" + decode_base64url(EC["y"].encode())).decode()), "length"),
        (changed(RSA, alg="ES256"), "RSA"),
        (changed(RSA, alg="RSA-OAEP"), "alg"),
        (changed(RSA, n=ABSENT), "n is not"),
        (changed(RSA, e=ABSENT), "e is not"),
        (changed(RSA, n=""), "modulus"),
        (changed(RSA, e=number(3)), "exponent"),
        (changed(RSA, e=number(65538)), "RSA key"),  # even
        (changed(OKP, crv="Ed448"), "crv"),
        (changed(OKP, crv="X25519"), "crv"),
        (changed(OKP, alg="ES256"), "curve"),
        (changed(OKP, x="AAAA"), "Ed25519 key"),
    ],
)
def test_unusable(jwk: object, reason: str) -> None:
    """Each is refused for its rule, and the message repeats nothing of the key."""
    with pytest.raises(UnusableKey, match=reason) as caught:
        read_jwk(jwk)
    assert EC["x"] not in str(caught.value)


@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_each_private_part(name: str) -> None:
    """One alone is enough (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1): who publishes it has lost the key."""
    for jwk in (EC, RSA, OKP):
        with pytest.raises(UnusableKey, match="private"):
            read_jwk(changed(jwk, **{name: "AAAA"}))


def test_an_absent_point_at_another_curve_is_not_swapped_in() -> None:
    """A P-384 point under the name of P-256 is refused by its length."""
    other = TokenMint(algorithm="ES384").jwk
    with pytest.raises(UnusableKey, match="length"):
        read_jwk(changed(EC, x=other["x"], y=other["y"]))


def test_rsa_modulus_n_and_n_plus_1() -> None:
    """2048 to 8192 bits, by the modulus itself."""
    # Odd, but no product of two primes: nobody looks before it verifies.
    for bits in (MIN_RSA_BITS, MAX_RSA_BITS):
        public = read_jwk(changed(RSA, n=number(2**bits - 1))).public
        assert isinstance(public, rsa.RSAPublicKey)
        assert public.key_size == bits
    for bits in (MIN_RSA_BITS - 1, MAX_RSA_BITS + 1):
        with pytest.raises(UnusableKey, match="modulus"):
            read_jwk(changed(RSA, n=number(2**bits - 1)))
    # Zeros in front do not make a key longer.
    with pytest.raises(UnusableKey, match="modulus"):
        read_jwk(changed(RSA, n=encode_base64url(bytes(128) + (2**1024 - 1).to_bytes(128)).decode()))


def test_rsa_exponent_n_and_n_plus_1() -> None:
    """65537 up to 2**32."""
    for exponent in (MIN_RSA_EXPONENT, MAX_RSA_EXPONENT - 1):
        assert read_jwk(changed(RSA, e=number(exponent))).algorithm == "RS256"
    for exponent in (MIN_RSA_EXPONENT - 2, MAX_RSA_EXPONENT + 1):
        with pytest.raises(UnusableKey, match="exponent"):
            read_jwk(changed(RSA, e=number(exponent)))


def test_equal_keys_are_equal() -> None:
    """A set that is read again compares equal, so that nothing is forgotten for it."""
    assert read_jwk(EC) == read_jwk(changed(EC, use=ABSENT))
    assert read_jwk(EC) != read_jwk(changed(EC, kid="other"))
    assert read_jwk(EC) != read_jwk(TokenMint().forger().jwk)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "x", "y", "n", "e"]),
        st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "sig", "verify", "AQAB", EC["x"], OKP["x"], RSA["n"]])
        | st.none()
        | st.integers()
        | st.booleans()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_nothing_but_unusable_key_is_raised(jwk: dict[str, Any]) -> None:
    """Whatever stands in a JWK, it is a key or UnusableKey."""
    try:
        key = read_jwk(jwk)
    except UnusableKey:
        return
    assert key.algorithm


@pytest.mark.shared
def test_jose_cookbook(shared_testdata: Path) -> None:
    """RFC 7520 section 3: its two public keys are taken, its private and symmetric ones are not."""
    folder = shared_testdata / "jose-cookbook/jwk"
    verdicts = {}
    for path in sorted(folder.glob("*.json")):
        try:
            verdicts[path.stem] = read_jwk(json.loads(path.read_bytes())).algorithm
        except UnusableKey as error:
            verdicts[path.stem] = str(error)
    private = "secret or private parts in a published set"
    assert verdicts == {
        "3_1.ec_public_key": "ES512",
        "3_2.ec_private_key": private,
        "3_3.rsa_public_key": "RS256",
        "3_4.rsa_private_key": private,
        "3_5.symmetric_key_mac_computation": private,
        "3_6.symmetric_key_encryption": private,
    }


@pytest.mark.shared
def test_jose_cookbook_public_is_the_private_without_its_secret(shared_testdata: Path) -> None:
    """The public half of RFC 7520's private keys is the public key beside them."""
    folder = shared_testdata / "jose-cookbook/jwk"
    for public, private in (("3_1.ec_public_key", "3_2.ec_private_key"), ("3_3.rsa_public_key", "3_4.rsa_private_key")):
        secret = json.loads((folder / f"{private}.json").read_bytes())
        half = {name: value for name, value in secret.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}
        key = read_jwk(half)
        assert key == read_jwk(json.loads((folder / f"{public}.json").read_bytes()))
        assert isinstance(key.public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)

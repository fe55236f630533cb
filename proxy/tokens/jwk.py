"""One JWK (RFC 7517), read into a key that is bound to its one algorithm.

For transaction tokens ``use`` must be ``sig`` or absent. ``jwt-svid`` is refused as well: whoever may sign JWT-SVIDs is
the SPIFFE server, not the Transaction Token Service, and a key that serves both would make each able to speak for the
other. For JWT-SVIDs it is the other way round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from proxy.tokens.encoding import decode_base64url
from proxy.tokens.signature import (
    ALGORITHM_OF,
    ED25519,
    RSA_ALGORITHMS,
    Check,
    PublicKey,
    ecdsa_check,
    ed25519_check,
    rsa_check,
)

MIN_RSA_BITS: Final = 2048
"""RFC 7518 section 3.3."""

MAX_RSA_BITS: Final = 8192
"""A larger modulus costs more than a millisecond a token, and buys nothing."""

MIN_RSA_EXPONENT: Final = 65537
"""FIPS 186-5 section 5.1: above 2**16, so that a sloppy padding check elsewhere is no forgery."""

MAX_RSA_EXPONENT: Final = 2**32
"""A public exponent as long as the modulus makes each verification as slow as a signature."""

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: Final[Mapping[str, tuple[str, ec.EllipticCurve]]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}


SIG: Final = "sig"
JWT_SVID: Final = "jwt-svid"
"""What a set of keys may be for. A JWK without ``use`` is for what its set is for: SPIRE's agent sends such bundles."""


class UnusableKey(ValueError):
    """This key cannot verify a token, or must not; the message is the rule."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, bound to its one algorithm. ``check(signature, signed)`` raises InvalidSignature."""

    kid: str | None
    algorithm: str
    public: PublicKey
    check: Check = field(repr=False, compare=False)


def read_jwk(jwk: object, use: str = SIG) -> Key:
    """Read one member of a JWK Set that is to be used for SIG or JWT_SVID. Raises UnusableKey."""
    if not isinstance(jwk, dict):
        raise UnusableKey("not an object")
    if not _PRIVATE.isdisjoint(jwk):
        raise UnusableKey("secret or private parts in a published set")
    if jwk.get("use", use) != use:
        raise UnusableKey(f"use is not {use}")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKey("key_ops lacks verify")
    kid = _string(jwk, "kid") if "kid" in jwk else None
    if kid == "":
        raise UnusableKey("kid is empty")
    if kid is None and use == JWT_SVID:
        raise UnusableKey("a key for JWT-SVIDs must have a kid")  # Trust Domain and Bundle 4.2.2
    return Key(kid, *_read_material(jwk))


def _read_material(jwk: dict[str, Any]) -> tuple[str, PublicKey, Check]:
    match jwk.get("kty"):
        case "EC":
            return _read_ec(jwk)
        case "RSA":
            return _read_rsa(jwk)
        case "OKP":
            return _read_okp(jwk)
        case _:
            raise UnusableKey("kty is not EC, RSA or OKP")


def _read_ec(jwk: dict[str, Any]) -> tuple[str, PublicKey, Check]:
    by_curve = _CURVES.get(_string(jwk, "crv"))
    if by_curve is None:
        raise UnusableKey("crv is not P-256, P-384 or P-521")
    algorithm, curve = by_curve  # RFC 7518 section 3.4: the curve decides
    if _algorithm(jwk, algorithm) != algorithm:
        raise UnusableKey("alg is not the one of the curve")
    size = (curve.key_size + 7) // 8
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if len(x) != size or len(y) != size:  # section 6.2.1.2: always the whole length
        raise UnusableKey("a coordinate has the wrong length")
    try:
        public = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError as error:
        raise UnusableKey("the point is not on the curve") from error
    return algorithm, public, ecdsa_check(algorithm, public)


def _read_rsa(jwk: dict[str, Any]) -> tuple[str, PublicKey, Check]:
    algorithm = _algorithm(jwk, "RS256")  # without alg an RSA key could be six; only the one that everybody has
    if algorithm not in RSA_ALGORITHMS:
        raise UnusableKey("alg is not one of RSA")
    modulus, exponent = int.from_bytes(_octets(jwk, "n")), int.from_bytes(_octets(jwk, "e"))
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise UnusableKey(f"the modulus has not {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if not MIN_RSA_EXPONENT <= exponent <= MAX_RSA_EXPONENT:
        raise UnusableKey(f"the public exponent is not between {MIN_RSA_EXPONENT} and {MAX_RSA_EXPONENT}")
    try:
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise UnusableKey("not an RSA key") from error
    return algorithm, public, rsa_check(algorithm, public)


def _read_okp(jwk: dict[str, Any]) -> tuple[str, PublicKey, Check]:
    if _string(jwk, "crv") != "Ed25519":
        raise UnusableKey("crv is not Ed25519")
    if _algorithm(jwk, ED25519) != ED25519:
        raise UnusableKey("alg is not the one of the curve")
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x"))
    except ValueError as error:
        raise UnusableKey("not an Ed25519 key") from error
    return ED25519, public, ed25519_check(public)


def _algorithm(jwk: dict[str, Any], default: str) -> str:
    algorithm = ALGORITHM_OF.get(_string(jwk, "alg")) if "alg" in jwk else default
    if algorithm is None:
        raise UnusableKey("alg is not one that we verify")
    return algorithm


def _string(jwk: dict[str, Any], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise UnusableKey(f"{name} is not a string")
    return value


def _octets(jwk: dict[str, Any], name: str) -> bytes:
    value = _string(jwk, name)
    try:
        return decode_base64url(value.encode())
    except ValueError as error:
        raise UnusableKey(f"{name} is not base64url") from error

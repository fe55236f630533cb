"""The signature algorithms that are believed (RFC 7518 section 3, RFC 8037, RFC 9864), each bound to one public key.

Only signatures with a public key: no ``none``, no HMAC, so that nobody who can verify can also sign, and a public key
can never be taken for a secret. A key is bound to its one algorithm when it is read, never by what a token says.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

Check: TypeAlias = Callable[[bytes, bytes], None]
"""``check(signature, signed)``; raises InvalidSignature."""

ED25519: Final = "Ed25519"

ALGORITHM_OF: Final[Mapping[str, str]] = {
    **{name: name for name in ("ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    ED25519: ED25519,
    "EdDSA": ED25519,  # the older name of the same computation, since Ed25519 is the only curve of it that we have
}
"""The allow-list: what ``alg`` may say, exactly so, and the algorithm that it means."""

# Made once: each of these costs more to make than to use.
_ECDSA: Final = {"ES256": ec.ECDSA(SHA256()), "ES384": ec.ECDSA(SHA384()), "ES512": ec.ECDSA(SHA512())}
_RSA: Final[Mapping[str, tuple[AsymmetricPadding, HashAlgorithm]]] = {
    "RS256": (PKCS1v15(), SHA256()),
    "RS384": (PKCS1v15(), SHA384()),
    "RS512": (PKCS1v15(), SHA512()),
    # RFC 7518 section 3.5: the same hash in MGF1, the salt exactly as long as the hash.
    "PS256": (PSS(MGF1(SHA256()), 32), SHA256()),
    "PS384": (PSS(MGF1(SHA384()), 48), SHA384()),
    "PS512": (PSS(MGF1(SHA512()), 64), SHA512()),
}

RSA_ALGORITHMS: Final = frozenset(_RSA)


def ecdsa_check(algorithm: str, public: ec.EllipticCurvePublicKey) -> Check:
    """Bind ES256, ES384 or ES512: the signature is r and s, each as long as the field (RFC 7518 section 3.4)."""
    verify, scheme = public.verify, _ECDSA[algorithm]
    size = (public.key_size + 7) // 8
    both = 2 * size
    integer = int.from_bytes

    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != both:
            raise InvalidSignature
        verify(encode_dss_signature(integer(signature[:size]), integer(signature[size:])), signed, scheme)

    return check


def rsa_check(algorithm: str, public: rsa.RSAPublicKey) -> Check:
    """Bind RS256 to RS512 or PS256 to PS512: the signature is as long as the modulus (RFC 8017 section 8)."""
    verify, (padding, digest) = public.verify, _RSA[algorithm]
    size = (public.key_size + 7) // 8

    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != size:
            raise InvalidSignature
        verify(signature, signed, padding, digest)

    return check


def ed25519_check(public: ed25519.Ed25519PublicKey) -> Check:
    """Bind Ed25519 (RFC 8037 section 3.1); OpenSSL refuses another length and an s that is not reduced."""
    return public.verify

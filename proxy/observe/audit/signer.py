"""The key that signs checkpoints. What a signature is follows from the key alone, never from what a line says.

EC: ECDSA with the hash of the curve's size, DER. RSA: PSS, SHA-256. Ed25519 as it is.
"""

from hashlib import sha256
from typing import Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

KEY_ID_DIGITS: Final = 32
"""Of the SHA-256 of a public key: enough to find it, and nothing is believed for it."""

MIN_RSA_BITS: Final = 2048

_KINDS: Final = "is neither EC, RSA nor Ed25519"

_PSS: Final = PSS(MGF1(SHA256()), 32)


class Signer(Protocol):
    """Signs checkpoints. ``certificates``: DER, leaf first, where the key is that of an SVID."""

    @property
    def key_id(self) -> str:
        """The name of the key."""

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """Who it is."""

    def sign(self, message: bytes) -> bytes:
        """Sign."""


class KeySigner:
    """Signs with a key that is at hand."""

    __slots__ = ("_key", "certificates", "key_id")

    def __init__(self, key: PrivateKey, certificates: tuple[bytes, ...] = ()) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())
        self.certificates = certificates

    def sign(self, message: bytes) -> bytes:
        """Sign."""
        key = self._key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, ec.ECDSA(_hash_of(key.curve)))
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(message, _PSS, SHA256())
        return key.sign(message)


def key_id(public: PublicKey) -> str:
    """Name a public key."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()[:KEY_ID_DIGITS]


def holds(public: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the signature is one of this key over this message."""
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, message, ec.ECDSA(_hash_of(public.curve)))
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, message, _PSS, SHA256())
        else:
            public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def read_private(pem: bytes) -> PrivateKey:
    """Read an unencrypted private key. Raises ValueError, whose message says what would be right."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("holds no unencrypted private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise ValueError(_KINDS)  # noqa: TRY004 - it is what a file holds
    _check_size(key)
    return key


def read_public(pem: bytes) -> PublicKey:
    """Read a public key. Raises ValueError, whose message says what would be right."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("holds no public key in PEM; openssl pkey -in KEY -pubout writes one") from error
    return usable(key)


def usable(key: object) -> PublicKey:
    """Take a public key if it is of a kind that may sign. Raises ValueError."""
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise ValueError(_KINDS)  # noqa: TRY004 - it is what a file holds
    _check_size(key)
    return key


def _check_size(key: PrivateKey | PublicKey) -> None:
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"is an RSA key of less than {MIN_RSA_BITS} bits")


def _hash_of(curve: ec.EllipticCurve) -> HashAlgorithm:
    if curve.key_size > 384:
        return SHA512()
    return SHA384() if curve.key_size > 256 else SHA256()

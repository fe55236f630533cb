"""The keys that sign transaction tokens: ES256, named by their thumbprint, rotated with overlap (specs 1.15).

A new key is published before it signs, so that every verifier has fetched it by then; an old one stays published until
no token of its can be valid. So a rotation is never a refusal.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.tokens.encoding import encode_base64url

ROTATE_S = 7 * 86400.0
"""Often enough that rotation is known to work, seldom enough that a key in a log from last week still has its name."""

AHEAD_S = 900.0
"""Three times the interval in which our verifiers fetch (``TokenSettings.refresh_s``)."""

KEEP_S = 3600.0
"""The longest life of a token that our verifiers accept (``TokenSettings.max_lifetime_s``)."""

_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key; ``signs_from`` is when it takes over from the one before it."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    signs_from: float
    kid: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kid", _thumbprint(self.private.public_key()))

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as a JWK (RFC 7517)."""
        return {**ec_members(self.private.public_key()), "kid": self.kid, "use": "sig", "alg": "ES256"}

    @property
    def pem(self) -> str:
        """The private key as PKCS#8."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii")


def make_key(signs_from: float) -> SigningKey:
    """Make a new key."""
    return SigningKey(private=ec.generate_private_key(ec.SECP256R1()), signs_from=signs_from)


def load_key(pem: str, signs_from: float) -> SigningKey:
    """Take back a key. Raises ValueError."""
    private = serialization.load_pem_private_key(pem.encode("ascii"), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")  # noqa: TRY004 - the file is wrong, not the program
    return SigningKey(private=private, signs_from=signs_from)


def tended(keys: Sequence[SigningKey], now: float) -> tuple[SigningKey, ...]:
    """Give the keys that should exist now, oldest first: the same ones unless one has to come or go."""
    ordered = sorted(keys, key=lambda key: key.signs_from)
    if not ordered:
        return (make_key(now),)
    if ordered[-1].signs_from + ROTATE_S <= now + AHEAD_S:
        ordered.append(make_key(now + AHEAD_S))
    # a key has ended when its successor began; its last tokens are gone KEEP_S later
    ended = {old.kid for old, new in itertools.pairwise(ordered) if new.signs_from + KEEP_S <= now}
    return tuple(key for key in ordered if key.kid not in ended)


def signer(keys: Sequence[SigningKey], now: float) -> SigningKey:
    """Give the key that signs now: the newest whose time has come; the oldest if the clock was set back."""
    ready = [key for key in keys if key.signs_from <= now]
    return max(ready, key=lambda key: key.signs_from) if ready else min(keys, key=lambda key: key.signs_from)


def jwks(keys: Sequence[SigningKey]) -> bytes:
    """Write the JWK Set that verifiers fetch."""
    return json.dumps({"keys": [key.jwk for key in keys]}, indent=2).encode()


def sign(key: SigningKey, claims: dict[str, Any]) -> str:
    """Sign claims as a transaction token (specs 1.2)."""
    return jwt.encode(claims, key.private, algorithm="ES256", headers={"typ": "txntoken+jwt", "kid": key.kid})


def ec_members(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Give the members that make a P-256 key (RFC 7518 section 6.2)."""
    numbers = public.public_numbers()
    x, y = (encode_base64url(number.to_bytes(_SIZE, "big")).decode("ascii") for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _thumbprint(public: ec.EllipticCurvePublicKey) -> str:
    members = json.dumps(ec_members(public), sort_keys=True, separators=(",", ":")).encode("ascii")
    return encode_base64url(hashlib.sha256(members).digest()).decode("ascii")

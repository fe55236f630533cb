"""A mint of transaction tokens: valid unless a test asks for something else."""

import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.tokens.encoding import encode_base64url

ABSENT: Final = object()
"""As the value of an override: without this claim or header parameter."""

_HASHES: Final = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Final = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@cache
def _private_key(algorithm: str, kid: str | None, number: int) -> PrivateKey:
    del kid, number  # they only tell keys apart
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm][1])
    if algorithm[:2] in {"RS", "PS"}:
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate()


def compact_json(value: object) -> bytes:
    """JSON as a token service would write it."""
    return json.dumps(value, separators=(",", ":")).encode()


class TokenMint:
    """Signs tokens with one key. ``algorithm`` is a JWS ``alg``; equal arguments give the same key in one process."""

    def __init__(
        self, *, algorithm: str = "ES256", kid: str | None = "key-1", audience: str = "example.org", number: int = 0
    ) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.audience = audience
        self.number = number
        self.private = _private_key(algorithm, kid, number)

    def forger(self) -> "TokenMint":
        """Return a mint that says the same of itself and has another key."""
        return TokenMint(algorithm=self.algorithm, kid=self.kid, audience=self.audience, number=self.number + 1)

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key."""
        named: dict[str, Any] = {} if self.kid is None else {"kid": self.kid}
        return named | {"use": "sig", "alg": self.algorithm} | _public_jwk(self.algorithm, self.private)

    def jwks(self, *others: "TokenMint") -> bytes:
        """Return a JWK Set with this key and those of others."""
        return compact_json({"keys": [mint.jwk for mint in (self, *others)]})

    def header(self, **parameters: object) -> dict[str, Any]:
        """Return the JOSE header of a valid token, changed by ``parameters``."""
        named: dict[str, Any] = {} if self.kid is None else {"kid": self.kid}
        return _changed({"alg": self.algorithm, "typ": "txntoken+jwt"} | named, parameters)

    def claims(self, now: float | None = None, **claims: object) -> dict[str, Any]:
        """Return the claims of a token that is valid at ``now``, changed by ``claims``."""
        issued = int(time.time() if now is None else now)
        valid = {
            "iat": issued,
            "exp": issued + 300,
            "aud": self.audience,
            "txn": "97053963-771d-49cc-a4e3-20aad399c312",
            "sub": "d084sdrt234fsaw34tr23t",
            "scope": "orders.read orders.write",
            "req_wl": f"spiffe://{self.audience}/edge",
            "tctx": {"action": "BUY", "ticker": "MSFT"},
            "rctx": {"req_ip": "69.151.72.123", "authn": "face"},
        }
        return _changed(valid, claims)

    def token(self, now: float | None = None, *, header: Mapping[str, object] | None = None, **claims: object) -> bytes:
        """Return a signed token, valid at ``now`` but for the overrides; ``ABSENT`` takes one away."""
        return self.sign(self.header(**(header or {})), compact_json(self.claims(now, **claims)))

    def sign(self, header: Mapping[str, object] | bytes, payload: bytes) -> bytes:
        """Return the compact JWS of any header (also as raw JSON text) and any payload."""
        raw_header = header if isinstance(header, bytes) else compact_json(header)
        return self.sign_parts(encode_base64url(raw_header), encode_base64url(payload))

    def sign_parts(self, header: bytes, payload: bytes) -> bytes:
        """Sign two parts as they are, whatever they are."""
        signed = header + b"." + payload
        return signed + b"." + encode_base64url(self.signature(signed))

    def signature(self, signed: bytes) -> bytes:
        """Return the raw JWS signature of ``signed``."""
        match self.private:
            case ed25519.Ed25519PrivateKey():
                return self.private.sign(signed)
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(signed, ec.ECDSA(_HASHES[self.algorithm[2:]])))
                size = (self.private.key_size + 7) // 8
                return r.to_bytes(size) + s.to_bytes(size)
            case rsa.RSAPrivateKey():
                return self._rsa_signature(self.private, signed)

    def _rsa_signature(self, private: rsa.RSAPrivateKey, signed: bytes) -> bytes:
        digest = _HASHES[self.algorithm[2:]]
        if self.algorithm.startswith("PS"):
            return private.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return private.sign(signed, padding.PKCS1v15(), digest)

    def garbage(self, now: float | None = None) -> dict[str, bytes]:
        """Return tokens by name that every verifier must refuse, whatever its keys and its clock."""
        valid = self.token(now)
        header, payload, signature = valid.split(b".")
        unsigned = encode_base64url(compact_json(self.header(alg="none")))
        return {
            "not base64url": b"!" + valid[1:],
            "one part": header,
            "two parts": header + b"." + payload,
            "four parts": valid + b"." + signature,
            "five parts, like a JWE": b".".join([header, b"", payload, payload, signature]),
            "empty parts": b"..",
            "no signature": header + b"." + payload + b".",
            "half a signature": valid[: -len(signature) // 2],
            "padded": valid + b"=",
            "a space inside": header + b". " + payload + b"." + signature,
            "a Bearer prefix": b"Bearer " + valid,
            "alg none": unsigned + b"." + payload + b".",
            "alg none with a signature": unsigned + b"." + payload + b"." + signature,
            "forged": self.forger().token(now),
            "JSON serialization": compact_json(
                {"payload": payload.decode(), "protected": header.decode(), "signature": signature.decode()}
            ),
            "not UTF-8": self.sign(self.header(), b"\xff\xfe"),
            "claims that are no object": self.sign(self.header(), b"[]"),
        }


def _public_jwk(algorithm: str, private: PrivateKey) -> dict[str, Any]:
    match private.public_key():
        case ec.EllipticCurvePublicKey() as public:
            size, numbers = (public.key_size + 7) // 8, public.public_numbers()
            return {"kty": "EC", "crv": _CURVES[algorithm][0], "x": _text(numbers.x, size), "y": _text(numbers.y, size)}
        case rsa.RSAPublicKey() as public:
            numbers_ = public.public_numbers()
            return {"kty": "RSA", "n": _text(numbers_.n, public.key_size // 8), "e": _text(numbers_.e, 3)}
        case ed25519.Ed25519PublicKey() as public:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(raw).decode()}


def _text(number: int, size: int) -> str:
    return encode_base64url(number.to_bytes(size)).decode()


def _changed(valid: dict[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in (valid | dict(changes)).items() if value is not ABSENT}

"""The verification of a transaction token (specs 1.5, with the additions there), from cheap to dear.

Every refusal has its own class, because the operator who reads the metric needs to know which it was. No detail says
what stood in the token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from proxy.errors import (
    TokenClaimsInvalid,
    TokenExpired,
    TokenFromFuture,
    TokenLifetimeTooLong,
    TokenMalformed,
    TokenTooLarge,
    TokenWrongAudience,
    TokenWrongIssuer,
    TokenWrongType,
)
from proxy.tokens.claims import TxnToken, date, read_claims
from proxy.tokens.encoding import read_json_object
from proxy.tokens.jws import read_jws
from proxy.tokens.keys import KeySet
from proxy.tokens.profile import TYPES, Profile
from proxy.tokens.settings import TokenSettings

MAX_VALUES: Final = 512
"""Values in the claims, counted by what stands between them: an empty list costs 3 bytes on the wire and 60 in memory,
so without a bound a token of 16 KB would hold 300 KB for as long as it is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What a token must be. Seconds and bytes."""

    audience: str
    issuer: str | None = None
    skew_s: float = 2.0
    max_lifetime_s: float = 3600.0
    max_bytes: int = 16384
    profile: Profile = Profile.STRICT

    @classmethod
    def of(cls, settings: TokenSettings) -> "Expect":
        """Take it from the settings."""
        return cls(
            audience=settings.audience,
            issuer=settings.issuer,
            skew_s=settings.skew_s,
            max_lifetime_s=settings.max_lifetime_s,
            max_bytes=settings.max_bytes,
            profile=settings.profile,
        )


def verify(raw: bytes, keys: KeySet, now: float, expect: Expect) -> TxnToken:
    """Verify a compact JWS as a transaction token; ``now`` is Unix time.

    Raises:
        TokenUnknownKey: the caller may fetch the keys again and come back.
        TokenRefusal: every other class of it, as its docstring says.

    """
    if len(raw) > expect.max_bytes:
        raise TokenTooLarge(f"the token is larger than {expect.max_bytes} bytes")
    jws = read_jws(raw)
    _check_type(jws.header, expect.profile)
    payload = jws.verified(keys)
    try:
        if payload.count(b",") + payload.count(b"{") + payload.count(b"[") > MAX_VALUES:
            raise TokenMalformed(f"the claims hold more than {MAX_VALUES} values")
        claims = read_json_object(payload)
    except ValueError as error:
        raise TokenMalformed("the claims are not a JSON object, or can be read in two ways") from error
    return judge_claims(claims, sha256(raw).hexdigest(), now, expect)


def judge_claims(claims: Mapping[str, Any], digest: str, now: float, expect: Expect) -> TxnToken:
    """Judge what a token says, whoever signed it: the last part of ``verify``. Raises TokenRefusal."""
    token = read_claims(claims, digest, expect.profile)
    _check_place(token, expect)
    _check_time(token, claims, now, expect)
    return token


def kid_of(raw: bytes) -> str | None:
    """Return the unverified kid of a token, to ask for that key. Raises TokenMalformed, TokenAlgorithmRefused."""
    return read_jws(raw).kid


def _check_type(header: Mapping[str, Any], profile: Profile) -> None:
    kind = header.get("typ")
    # isascii: lower() also turns the Kelvin sign into k.
    if not isinstance(kind, str) or not kind.isascii() or kind.lower() not in TYPES[profile]:
        raise TokenWrongType("typ is not txntoken+jwt")


def _check_place(token: TxnToken, expect: Expect) -> None:
    if token.aud != expect.audience:
        raise TokenWrongAudience("aud is not our trust domain")
    if expect.issuer is not None and token.iss != expect.issuer:
        raise TokenWrongIssuer("iss is missing or not the configured issuer")


def _check_time(token: TxnToken, claims: Mapping[str, Any], now: float, expect: Expect) -> None:
    if now >= token.exp + expect.skew_s:
        raise TokenExpired("exp has passed")
    if token.exp <= token.iat:
        raise TokenClaimsInvalid("exp is not after iat")
    if token.exp - token.iat > expect.max_lifetime_s:
        raise TokenLifetimeTooLong(f"exp is more than {expect.max_lifetime_s:g} s after iat")
    if token.iat > now + expect.skew_s:
        raise TokenFromFuture("iat is in the future")
    # The draft does not define nbf, but who sets it means it (RFC 7519 section 4.1.5).
    if "nbf" in claims and date(claims, "nbf") > now + expect.skew_s:
        raise TokenFromFuture("nbf is in the future")

"""JWT-SVIDs (specs 2.3): who holds one, proved by the keys of its own trust domain. Pure.

A JWT-SVID is a bearer token: who has it can use it until it ends, also whoever it was sent to. So it is believed for
one audience: us, or the token service that it is traded with; and it goes to nobody else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.errors import (
    KeysInvalid,
    TokenAlgorithmRefused,
    TokenClaimsInvalid,
    TokenExpired,
    TokenFromFuture,
    TokenMalformed,
    TokenTooLarge,
    TokenUnknownKey,
    TokenWrongAudience,
    TokenWrongType,
    UnknownTrustDomain,
)
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.jwk import JWT_SVID
from proxy.tokens.jws import UnverifiedJws, read_jws
from proxy.tokens.keys import KeySet

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}  # JWT-SVID 2.1: no other
)
TYPES: Final = ("JWT", "JOSE")  # not a set: a stranger's typ need not be hashable
_PARAMETERS: Final = frozenset({"alg", "kid", "typ"})

MAX_BYTES: Final = 16384
"""As of transaction tokens: a quarter of the head limit."""

SKEW_S: Final = 10.0
"""SPIRE dates 10 s back (specs 3.2), and JWT-SVIDs live 5 minutes."""

JwtBundles = Mapping[str, KeySet]
"""The keys for JWT-SVIDs of each trust domain; of a domain without a usable key nobody is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSvid:
    """A verified JWT-SVID; the token itself is not kept."""

    spiffe_id: SpiffeId
    audience: tuple[str, ...]
    exp: float
    claims: Mapping[str, Any] = field(repr=False)


def read_bundles(bundles: Mapping[str, bytes]) -> tuple[dict[str, KeySet], list[str]]:
    """Read the JWK Sets of a message of the Workload API, by SPIFFE ID; and say what of it cannot be used."""
    found: dict[str, KeySet] = {}
    refused = []
    for name, raw in bundles.items():
        try:
            trust_domain = parse_trust_domain(name.removeprefix("spiffe://"))
        except InvalidSpiffeId as error:
            refused.append(f"a JWT bundle stands under a name that is no trust domain's: {error}")
            continue
        try:
            found[trust_domain] = KeySet.parse(raw, JWT_SVID)
        except KeysInvalid as error:
            refused.append(f"the JWT bundle of {trust_domain} cannot be used: {error.detail}")
    return found, refused


def verify_jwt_svid(raw: bytes, bundles: JwtBundles, audience: str, now: float) -> JwtSvid:
    """Return who holds this token, if it is for us and one of its trust domain's keys has signed it.

    Raises:
        TokenRefusal, UnknownTrustDomain: one of its classes says why.

    """
    if len(raw) > MAX_BYTES:
        raise TokenTooLarge(f"a JWT-SVID has at most {MAX_BYTES} bytes")
    jws = read_jws(raw)
    _check_header(jws)
    # Whose keys to take is what the token says of itself; those keys then decide whether it says so rightly.
    keys = bundles.get(_subject(_unverified(raw)).trust_domain)
    if keys is None:
        raise UnknownTrustDomain("no JWT bundle is known for the trust domain of the subject")
    return _read_claims(_object(jws.verified(keys)), audience, now)


def _check_header(jws: UnverifiedJws) -> None:
    if not _PARAMETERS.issuperset(jws.header):
        raise TokenMalformed("a JWT-SVID has no header parameter but alg, kid and typ")
    if jws.header.get("typ", "JWT") not in TYPES:
        raise TokenWrongType("typ of a JWT-SVID is JWT or JOSE")
    if jws.header["alg"] not in ALGORITHMS:
        raise TokenAlgorithmRefused("alg is not one of JWT-SVID")
    if jws.kid is None:
        raise TokenUnknownKey("a JWT-SVID names its key by kid")


def _unverified(raw: bytes) -> dict[str, Any]:
    try:
        return _object(decode_base64url(raw.split(b".")[1]))
    except ValueError as error:
        raise TokenMalformed("the payload is not base64url without padding") from error


def _object(payload: bytes) -> dict[str, Any]:
    try:
        return read_json_object(payload)
    except ValueError as error:
        raise TokenMalformed("the payload is not a JSON object, or can be read in two ways") from error


def _subject(claims: dict[str, Any]) -> SpiffeId:
    try:
        spiffe_id = SpiffeId.parse(claims["sub"])
    except (KeyError, TypeError, AttributeError, InvalidSpiffeId) as error:
        raise TokenClaimsInvalid("sub is not a SPIFFE ID") from error
    if not spiffe_id.path:
        raise TokenClaimsInvalid("sub names a trust domain, not a workload")
    return spiffe_id


def _read_claims(claims: dict[str, Any], audience: str, now: float) -> JwtSvid:
    named = claims.get("aud")
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not named or not all(isinstance(one, str) and one for one in named):
        raise TokenClaimsInvalid("aud is missing, or not of strings")
    if audience not in named:
        raise TokenWrongAudience("aud does not name us")
    exp, nbf = _time(claims, "exp"), _time(claims, "nbf")
    if exp is None:
        raise TokenClaimsInvalid("exp is missing")
    if now >= exp + SKEW_S:
        raise TokenExpired("the JWT-SVID has ended")
    if nbf is not None and now < nbf - SKEW_S:
        raise TokenFromFuture("nbf has not come yet")
    return JwtSvid(spiffe_id=_subject(claims), audience=tuple(named), exp=exp, claims=claims)


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenClaimsInvalid(f"{name} is not a number")
    return float(value)

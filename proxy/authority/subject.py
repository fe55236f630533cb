"""Subject tokens that somebody else has signed (specs 1.8 and 1.9): verified, and what may come of them.

Pure: keys and time are arguments. Each kind has its own ``typ``, so that none can be shown as another (RFC 8725 section
3.12). What an issuer's tokens may do stands in our configuration: scopes that we have no word for carry nothing, and a
token that carries none gets none. Names of subjects are ours as well: each issuer has a prefix, so that two issuers
cannot mean two people by one name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.authority.refusal import TokenRefused
from proxy.errors import ProxyError
from proxy.tokens.actors import read_actors
from proxy.tokens.claims import date
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.jws import UnverifiedJws, read_jws
from proxy.tokens.keys import KeySet
from proxy.tokens.subject import TYPES

MAX_BYTES = 16384
"""As of a transaction token."""

SKEW_S = 2.0

ACCESS_TOKEN, ID_TOKEN, JWT, SELF_SIGNED = (TYPES[name] for name in ("access_token", "id_token", "jwt", "self_signed"))

VERIFIED = (ACCESS_TOKEN, ID_TOKEN, JWT, SELF_SIGNED)
"""The kinds that an issuer of the configuration may sign."""

_ACCESS = frozenset({"at+jwt", "application/at+jwt"})  # RFC 9068 section 4
_PLAIN = frozenset({"jwt", "application/jwt", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRules:
    """What is believed of one issuer. ``kinds`` are URNs; ``audience`` is what ``aud`` must hold.

    ``scopes``: what each of its scopes is here; ``always``: what every token of it carries. ``plain_typ``: its access
    tokens are not typed, as those of servers before RFC 9068. ``client_acts``: ``client_id`` is who acts, where the
    token names no actor (specs 1.19).
    """

    issuer: str
    kinds: frozenset[str]
    audience: str
    prefix: str
    scopes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    always: frozenset[str] = frozenset()
    plain_typ: bool = False
    client_acts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What a verified subject token says. ``scopes`` bound what may be asked for with it; ``exp`` is its end.

    ``kept``: the claims of the transaction token that is replaced, and that stay as they are. ``is_own_word``: nobody
    but the client vouches for ``sub``.
    """

    sub: str
    exp: float
    scopes: frozenset[str]
    act: Mapping[str, Any] | None = None
    kept: Mapping[str, Any] | None = None
    is_own_word: bool = False


def read_issuer(raw: bytes) -> str:
    """Return the unverified ``iss``, to find the issuer with. Raises TokenRefused."""
    try:
        read_jws(raw)
        issuer = read_json_object(decode_base64url(raw.split(b".")[1])).get("iss")
    except (ProxyError, ValueError):
        raise TokenRefused("invalid_request", "the subject token is not a JWT, or can be read in two ways") from None
    if not isinstance(issuer, str) or not issuer:
        raise TokenRefused("invalid_request", "the subject token has no iss: nobody knows who has signed it")
    return issuer


def verify_subject(raw: bytes, kind: str, keys: KeySet, rules: IssuerRules, now: float) -> Brought:
    """Verify the token of an issuer with that issuer's keys.

    Raises:
        TokenUnknownKey: the caller may fetch the keys again and come back.
        TokenRefusal: the signature does not hold.
        TokenRefused: it does, and the token is not one that may be used.

    """
    if kind not in rules.kinds:
        raise TokenRefused("invalid_request", "this issuer signs no tokens of that type")
    jws = read_jws(raw)
    _check_type(jws, kind, rules)
    try:
        claims = read_json_object(jws.verified(keys))
    except ValueError:
        raise TokenRefused("invalid_request", "the claims of the subject token can be read in two ways") from None
    if claims.get("iss") != rules.issuer:
        raise TokenRefused("invalid_request", "iss is another issuer than the one whose key has signed it")
    _check_audience(claims, rules)
    _check_time(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenRefused("invalid_request", "sub is missing or not a string")
    return Brought(
        sub=rules.prefix + subject,
        exp=date(claims, "exp"),
        scopes=_scopes(claims, rules),
        act=_act(claims, rules),
    )


def _check_type(jws: UnverifiedJws, kind: str, rules: IssuerRules) -> None:
    typ = jws.header.get("typ", "")
    allowed = _ACCESS | (_PLAIN if rules.plain_typ else frozenset()) if kind == ACCESS_TOKEN else _PLAIN
    if not isinstance(typ, str) or not typ.isascii() or typ.lower() not in allowed:
        raise TokenRefused("invalid_request", "typ is not that of this type of subject token")


def _check_audience(claims: Mapping[str, Any], rules: IssuerRules) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if rules.audience not in named:
        raise TokenRefused("invalid_request", "the subject token is for another audience")


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    # No leeway at its end: MUST NOT issue once the subject token's own exp has passed (specs 1.9).
    if now >= date(claims, "exp"):
        raise TokenRefused("invalid_request", "the subject token has expired")
    for name in ("iat", "nbf"):
        if (name == "iat" or name in claims) and date(claims, name) > now + SKEW_S:
            raise TokenRefused("invalid_request", f"{name} of the subject token is in the future")


def _scopes(claims: Mapping[str, Any], rules: IssuerRules) -> frozenset[str]:
    granted = claims.get("scope", "")
    if not isinstance(granted, str):
        raise TokenRefused("invalid_request", "scope of the subject token is not a string")
    return rules.always.union(*(rules.scopes.get(scope, frozenset()) for scope in granted.split(" ")))


def _act(claims: Mapping[str, Any], rules: IssuerRules) -> Mapping[str, Any] | None:
    """Keep the actors of the subject token: without them an agent's request would be the person's own."""
    if "act" in claims:
        read_actors(claims)
        act: Mapping[str, Any] = claims["act"]
        return act
    if not rules.client_acts:
        return None
    client = claims.get("client_id")
    if not isinstance(client, str) or not client.isprintable() or not client:
        raise TokenRefused("invalid_request", "client_id is missing: it would be the one who acts")
    return {"sub": client}

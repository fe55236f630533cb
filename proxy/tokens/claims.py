"""The claims of a transaction token (specs 1.3): present, of the right type, and in a value that nobody can change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.errors import TokenClaimsInvalid
from proxy.tokens.actors import issuers_of_actors, read_actors, read_agentic
from proxy.tokens.profile import Profile, in_todays_words

MAX_DATE: Final = 253_402_300_799
"""The last second of the year 9999; a later date is a unit error (milliseconds), and no calendar prints it."""

# RFC 6749 section 3.3: scope-token *( SP scope-token ); ours names a purpose, so it is never empty (specs 1.3).
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class TxnToken:
    """A transaction token whose signature, time, audience and issuer held when it was made.

    Whoever holds one compares ``exp`` again. ``digest`` is the SHA-256 of the compact JWS, the one form in which a
    token may be logged (specs 1.13); what could name a person is not in the repr. ``actors``: who acts for ``sub``, the
    one who acts now first; none where the subject acts itself; ``actors_by``: the issuer of each of these names, where
    one is said. ``agentic``: the claim ``agentic_ctx``.
    """

    txn: str
    sub: str = field(repr=False)
    aud: str
    scopes: frozenset[str]
    req_wl: str
    iat: float
    exp: float
    iss: str | None
    tctx: Mapping[str, Any] | None = field(repr=False)
    rctx: Mapping[str, Any] | None = field(repr=False)
    digest: str
    actors: tuple[str, ...] = ()
    agentic: Mapping[str, Any] | None = field(default=None, repr=False)
    actors_by: tuple[str | None, ...] = ()


def read_claims(claims: Mapping[str, Any], digest: str, profile: Profile = Profile.STRICT) -> TxnToken:
    """Read the claims; whether they fit time and place is for ``verify``.

    Raises:
        TokenClaimsInvalid: a required claim is missing, or one has the wrong type.
        TokenActorLoop, TokenActorsTooDeep: as their docstrings say.

    """
    claims = in_todays_words(claims, profile)
    return TxnToken(
        txn=_text(claims, "txn"),
        sub=_text(claims, "sub"),
        aud=_audience(claims),
        scopes=_scopes(claims),
        req_wl=_text(claims, "req_wl"),
        iat=date(claims, "iat"),
        exp=date(claims, "exp"),
        iss=_text(claims, "iss") if "iss" in claims else None,
        tctx=_context(claims, "tctx"),
        rctx=_context(claims, "rctx"),
        digest=digest,
        actors=read_actors(claims),
        agentic=read_agentic(claims),
        actors_by=issuers_of_actors(claims) if "act" in claims else (),
    )


def date(claims: Mapping[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519 section 2), in seconds. Raises TokenClaimsInvalid."""
    value = claims.get(name)
    # type(), not isinstance(): True is an int to Python, and no date.
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= MAX_DATE:
        raise TokenClaimsInvalid(f"{name} is missing or not a date")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    # It becomes part of a log line or a header field somewhere: no line break may ride in it.
    if type(value) is not str or not value or _CONTROL.search(value):
        raise TokenClaimsInvalid(f"{name} is missing, empty, not a string, or has control characters")
    return value


def _audience(claims: Mapping[str, Any]) -> str:
    value = claims.get("aud")
    if type(value) is not list:
        return _text(claims, "aud")
    if len(value) != 1:  # two audiences would be two trust domains, and a token is for one
        raise TokenClaimsInvalid("aud is a list of other than one")
    return _text({"aud": value[0]}, "aud")


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("scope")
    if type(value) is not str or not _SCOPE.fullmatch(value):
        raise TokenClaimsInvalid("scope is missing or not a space-separated list")
    return frozenset(value.split(" "))


def _context(claims: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    if name not in claims:
        return None
    value = claims[name]
    if type(value) is not dict:
        raise TokenClaimsInvalid(f"{name} is not an object")
    return value

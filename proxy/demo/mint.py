"""Transaction tokens of every kind, good and bad, signed with the key of the demo's own authority.

Nobody else can do this: the keys lie in the authority's folder, which is ours. Each kind is a function of a mint.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from proxy.authority.keys import SigningKey, make_key, sign
from proxy.tokens.encoding import decode_base64url, encode_base64url

LIFETIME_S = 300
"""As the authority gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """Signs what it is told, at one moment."""

    key: SigningKey
    trust_domain: str
    now: float

    def token(self, **claims: object) -> str:
        """Sign a valid token, but for ``claims``."""
        domain, issued = self.trust_domain, int(self.now)
        valid = {
            "iss": f"spiffe://{domain}/tts",
            "aud": domain,
            "iat": issued,
            "exp": issued + LIFETIME_S,
            "txn": str(uuid.uuid4()),
            "sub": "user:alice",
            "scope": "orders.read",
            "req_wl": f"spiffe://{domain}/edge",
        }
        return sign(self.key, valid | claims)


Kind = Callable[[Mint], str]


def good(mint: Mint) -> str:
    """A token to read orders."""
    return mint.token()


def with_scope(scope: str) -> Kind:
    """Give the kind with this scope."""
    return lambda mint: mint.token(scope=scope)


def expired(mint: Mint) -> str:
    """A token that ended a minute ago."""
    ended = int(mint.now) - 60
    return mint.token(iat=ended - LIFETIME_S, exp=ended)


def for_another_audience(mint: Mint) -> str:
    """A token for another trust domain."""
    return mint.token(aud="other.example")


def forged(mint: Mint) -> str:
    """A good token to which somebody has added a scope after it was signed."""
    header, payload, signature = mint.token().split(".")
    claims = json.loads(decode_base64url(payload.encode("ascii"))) | {"scope": "orders.read orders.write"}
    return ".".join([header, encode_base64url(json.dumps(claims).encode()).decode("ascii"), signature])


def of_an_unknown_key(mint: Mint) -> str:
    """A token that says all the right things, signed with somebody's own key."""
    return Mint(key=make_key(mint.now), trust_domain=mint.trust_domain, now=mint.now).token()

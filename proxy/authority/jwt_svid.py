"""JWT-SVIDs: what a workload shows to whom mTLS does not reach (specs 2.3); given out, and read where they are for us.

Their keys are others than those of the transaction tokens: else a JWT-SVID could pass for a token, or a token for one.
"""

import json
from collections.abc import Callable, Sequence

import jwt

from proxy.authority.keys import SigningKey
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.jwk import JWT_SVID
from proxy.tokens.jwt_svid import JwtSvid, verify_jwt_svid
from proxy.tokens.keys import KeySet


def jwt_authorities(keys: Sequence[SigningKey]) -> list[dict[str, str]]:
    """Give the entries of a SPIFFE bundle that verify JWT-SVIDs."""
    return [{**key.jwk, "use": JWT_SVID} for key in keys]


def issue_jwt_svid(key: SigningKey, spiffe_id: SpiffeId, audience: Sequence[str], now: float, lifetime_s: float) -> str:
    """Sign a JWT-SVID for these audiences."""
    issued = int(now)
    claims = {"sub": str(spiffe_id), "aud": list(audience), "iat": issued, "exp": issued + int(lifetime_s)}
    return jwt.encode(claims, key.private, algorithm="ES256", headers={"typ": "JWT", "kid": key.kid})


class SvidReader:
    """Reads JWT-SVIDs of our own trust domain that are for ``audience``: a foreign domain's workloads ask elsewhere."""

    def __init__(self, trust_domain: str, audience: str, keys: Callable[[], Sequence[SigningKey]]) -> None:
        self._trust_domain = trust_domain
        self._audience = audience
        self._keys = keys

    def __call__(self, raw: bytes, now: float) -> JwtSvid:
        """Verify one. Raises TokenRefusal, UnknownTrustDomain."""
        published = json.dumps({"keys": jwt_authorities(self._keys())}).encode()
        return verify_jwt_svid(raw, {self._trust_domain: KeySet.parse(published, JWT_SVID)}, self._audience, now)

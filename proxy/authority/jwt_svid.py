"""JWT-SVIDs: what a workload shows to whom mTLS does not reach (specs 2.3).

Their keys are others than those of the transaction tokens: else a JWT-SVID could pass for a token, or a token for one.
"""

from collections.abc import Sequence

import jwt

from proxy.authority.keys import SigningKey
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.jwk import JWT_SVID


def jwt_authorities(keys: Sequence[SigningKey]) -> list[dict[str, str]]:
    """Give the entries of a SPIFFE bundle that verify JWT-SVIDs."""
    return [{**key.jwk, "use": JWT_SVID} for key in keys]


def issue_jwt_svid(key: SigningKey, spiffe_id: SpiffeId, audience: Sequence[str], now: float, lifetime_s: float) -> str:
    """Sign a JWT-SVID for these audiences."""
    issued = int(now)
    claims = {"sub": str(spiffe_id), "aud": list(audience), "iat": issued, "exp": issued + int(lifetime_s)}
    return jwt.encode(claims, key.private, algorithm="ES256", headers={"typ": "JWT", "kid": key.kid})

"""Security Event Tokens as a transmitter would sign them."""

import itertools
from typing import Any

from support.tokens import ABSENT, TokenMint, compact_json

ISSUER = "https://idp.example.org"
AUDIENCE = "https://mesh.example.org"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
OWN = "urn:svidecar:event:"

_NUMBERS = itertools.count()


class EventMint:
    """Signs events with one key."""

    def __init__(self, now: float, mint: TokenMint | None = None) -> None:
        self.now = now
        self.mint = mint or TokenMint(kid="events")

    def event(self, kind: str, payload: object, *, header: dict[str, object] | None = None, **claims: Any) -> bytes:
        """One token with one event, changed; ``ABSENT`` takes a claim away."""
        whole = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": int(self.now),
            "jti": f"event-{next(_NUMBERS)}",
            "events": {kind: payload},
        } | claims
        parameters = {"typ": "secevent+jwt"} | (header or {})
        claimed = {name: value for name, value in whole.items() if value is not ABSENT}
        return self.mint.sign(self.mint.header(**parameters), compact_json(claimed))

    def revoked(self, **members: object) -> bytes:
        """One of our own."""
        return self.event(OWN + "revoked", members)

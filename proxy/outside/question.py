"""What an authoriser is shown of a request: who asks, for whom, for what, and which of our rules has allowed it.

Never the token itself: whoever has it can use it. What it says is shown as claims. A question holds no time and no
number of its own, so that equal requests make equal questions, which is what the cache goes by.
"""

import json
from dataclasses import dataclass
from typing import Any

from proxy.tokens.claims import TxnToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``target`` is in origin-form, with its query. ``headers``: name in lower case, and its values in order."""

    method: str
    target: str
    host: str
    peer: str
    local: str
    source: str
    size: int
    rule: str
    route: str
    headers: tuple[tuple[str, tuple[str, ...]], ...]
    claims: TxnToken


def chosen(lines: list[bytes], names: frozenset[bytes]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the fields of a request that may be shown. ``lines``: ``name: value``; ``names`` in lower case."""
    if not names:
        return ()
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() in names:
            found.setdefault(name.decode("latin-1").lower(), []).append(value.strip().decode("latin-1"))
    return tuple((name, tuple(values)) for name, values in sorted(found.items()))


def token_of(claims: TxnToken) -> dict[str, Any]:
    """Return what a token says, by the names of its claims; ``act`` as a list, the one who acts now first."""
    return {
        "txn": claims.txn,
        "sub": claims.sub,
        "aud": claims.aud,
        "scope": sorted(claims.scopes),
        "act": list(claims.actors),
        "req_wl": claims.req_wl,
        "iat": claims.iat,
        "exp": claims.exp,
        "tctx": claims.tctx,
        "rctx": claims.rctx,
    }


def as_json(value: object) -> str:
    """Write it, the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

"""Replacing a transaction token by one that may do less (specs 1.12): what stays, and what may be added.

``txn``, ``sub``, ``aud`` and ``act`` stay; ``tctx`` and ``rctx`` keep every member that they have. Who asked before
stands in ``rctx.req_wl``, the first one first, as the older drafts have it: the newest leaves the place open. An agent
that hands on is appended to ``txn_path`` and may stand there once (specs 1.19). No replacement lives longer than what
it replaces, so that a chain of them ends with the first.
"""

from collections.abc import Mapping
from typing import Any

from proxy.authority.refusal import TokenRefused
from proxy.authority.subject import Brought
from proxy.errors import ProxyError
from proxy.tokens.actors import MAX_HOPS
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.equal import equal
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, verify

_KEPT = ("txn", "sub", "aud", "act", "tctx", "rctx", "agentic_ctx", "req_wl")


def read_replaced(raw: bytes, keys: KeySet, trust_domain: str, issuer: str, now: float) -> Brought:
    """Verify one of our own tokens, which is to be replaced; with no leeway at its end.

    Raises:
        TokenRefused: it is not ours, or has expired.

    """
    expect = Expect(audience=trust_domain, issuer=issuer, skew_s=0.0)
    try:
        token = verify(raw, keys, now, expect)
    except ProxyError as error:
        raise TokenRefused("invalid_request", f"the token to replace is refused: {error.reason}") from error
    claims = read_json_object(decode_base64url(raw.split(b".")[1]))
    kept = {name: claims[name] for name in _KEPT if name in claims}
    return Brought(sub=token.sub, exp=token.exp, scopes=token.scopes, act=claims.get("act"), kept=kept)


def replaced(kept: Mapping[str, Any], requester: str, additions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the replacement has besides time and scope. ``additions``: members for ``tctx`` and ``rctx``.

    Raises:
        TokenRefused: an addition would change what stands there, or an agent hands on in a circle.

    """
    claims = {name: value for name, value in kept.items() if name != "req_wl"}
    for name, added in additions.items():
        claims[name] = _extended(claims.get(name, {}), added)
    rctx = dict(claims.get("rctx", {}))
    before = rctx.get("req_wl", [])
    rctx["req_wl"] = [*(before if isinstance(before, list) else [before]), kept["req_wl"]]
    if len(rctx["req_wl"]) > MAX_HOPS:
        raise TokenRefused("invalid_request", f"the token was replaced {MAX_HOPS} times")
    claims["rctx"] = rctx
    if "agentic_ctx" in claims:
        claims["agentic_ctx"] = _handed_on(claims["agentic_ctx"], requester)
    return claims


def _extended(present: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in added.items():
        if name == "req_wl" or (name in present and not equal(present[name], value)):
            raise TokenRefused("invalid_request", "a replacement adds facts, and changes none that stand")
    return {**added, **present}


def _handed_on(context: Mapping[str, Any], requester: str) -> dict[str, Any]:
    chain = dict(context.get("chain_metadata", {}))
    path = [*chain.get("txn_path", []), requester]
    hops = chain.get("hop_count", 0) + 1
    if len(set(path)) != len(path):
        raise TokenRefused("invalid_request", "this agent is in txn_path: the transaction goes in a circle")
    if hops > MAX_HOPS or len(path) > MAX_HOPS:
        raise TokenRefused("invalid_request", f"more than {MAX_HOPS} agents have handed the transaction on")
    return {**context, "chain_metadata": {**chain, "txn_path": path, "hop_count": hops}}

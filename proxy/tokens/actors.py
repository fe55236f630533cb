"""Who acts for the subject of a token: ``act`` (RFC 8693 section 4.1) and ``agentic_ctx`` (specs 1.19).

The outermost actor is the one who acts now; those inside it are history, and no decision may rest on them (RFC 8693).
The draft for agents is young and not of one mind, so what it names is held to its types, and the rest passes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.errors import TokenActorLoop, TokenActorsTooDeep, TokenClaimsInvalid

MAX_ACTORS: Final = 8
"""Of one chain. A person, an agent, and the agents that it asks: nobody could answer for more."""

MAX_HOPS: Final = 16
"""Of ``txn_path`` and ``hop_count``: twice the actors, for an agent may hand on more than once."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_OBJECTS: Final = ("prov", "posture", "identity", "chain_metadata")


def read_actors(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ``sub`` of each actor, the one who acts now first; none where the subject acts itself.

    Raises:
        TokenClaimsInvalid, TokenActorLoop, TokenActorsTooDeep: as their docstrings say.

    """
    if "act" not in claims:
        return ()
    chain: list[tuple[object, str]] = []
    holder: Mapping[str, Any] = claims
    while "act" in holder:
        act = holder["act"]
        if type(act) is not dict:
            raise TokenClaimsInvalid("act is not an object")
        if len(chain) >= MAX_ACTORS:
            raise TokenActorsTooDeep(f"more than {MAX_ACTORS} actors stand in act")
        issuer = _text(act["iss"], "act.iss") if "iss" in act else None
        identity = issuer, _text(act.get("sub"), "act.sub")
        if identity in chain:
            raise TokenActorLoop("an actor stands in act twice")
        chain.append(identity)
        holder = act
    return tuple(sub for _, sub in chain)


def issuers_of_actors(claims: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return who has named each actor of claims that ``read_actors`` took, in its order; None where it is not said.

    An actor is known by both (RFC 8693 section 4.1): the same name given by somebody else is somebody else.
    """
    issuers: list[str | None] = []
    while (act := claims.get("act")) is not None:
        issuers.append(act.get("iss"))
        claims = act
    return tuple(issuers)


def read_agentic(claims: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return ``agentic_ctx``, with the members that the draft names held to their types.

    Raises:
        TokenClaimsInvalid, TokenActorLoop, TokenActorsTooDeep: as their docstrings say.

    """
    if "agentic_ctx" not in claims:
        return None
    context = claims["agentic_ctx"]
    if type(context) is not dict:
        raise TokenClaimsInvalid("agentic_ctx is not an object")
    for name in _OBJECTS:
        if name in context and type(context[name]) is not dict:
            raise TokenClaimsInvalid(f"{name} in agentic_ctx is not an object")
    path = _path(context.get("chain_metadata", {}))
    workload = context.get("identity", {}).get("workload_id")
    if workload is not None and _text(workload, "workload_id in agentic_ctx") in path:
        raise TokenActorLoop("the agent stands in its own txn_path")
    return context


def _path(chain: Mapping[str, Any]) -> list[str]:
    hops, path = chain.get("hop_count", 0), chain.get("txn_path", [])
    if type(hops) is not int or hops < 0:
        raise TokenClaimsInvalid("hop_count in agentic_ctx is not a count")
    if type(path) is not list:
        raise TokenClaimsInvalid("txn_path in agentic_ctx is not a list")
    if hops > MAX_HOPS or len(path) > MAX_HOPS:
        raise TokenActorsTooDeep(f"the transaction has passed more than {MAX_HOPS} agents")
    named = [_text(one, "a member of txn_path") for one in path]
    if len(set(named)) != len(named):
        raise TokenActorLoop("an agent stands in txn_path twice")
    return named


def _text(value: object, what: str) -> str:
    if type(value) is not str or not value or _CONTROL.search(value):
        raise TokenClaimsInvalid(f"{what} is missing, empty, not a string, or has control characters")
    return value

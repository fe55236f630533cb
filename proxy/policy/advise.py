"""What would have made a refused request pass, in the words of the policy."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy.errors import (
    AccessTokenMissing,
    AmbiguousPath,
    AudienceBeyondGrant,
    DeniedByRule,
    PeerNotAllowed,
    PeerRevoked,
    ProxyError,
    RevocationStale,
    RevocationUnknown,
    RouteNotAllowed,
    ScopeBeyondGrant,
    TokenMissing,
    TokenRevoked,
)
from proxy.identity.peer import Peer
from proxy.policy.findings import Considered
from proxy.policy.revocation import Entry
from proxy.policy.routes import RouteTable
from proxy.policy.rules import Policy, Rule


class Asked(NamedTuple):
    """What of a request rules are asked for first; of a tunnel the target is in the spelling of rules."""

    method: bytes
    target: bytes


def advice_for(
    refusal: ProxyError, policy: Policy, peer: Peer, asked: Asked, considered: Sequence[Considered]
) -> Iterator[str]:
    """Yield what would help, a line each; nothing where the detail of the refusal says it."""
    match refusal:
        case PeerNotAllowed():
            yield from _for_peer(policy, peer, asked)
        case AudienceBeyondGrant() | ScopeBeyondGrant():
            yield "a token that is within the ceiling of the connection, or a rule for this peer that has a higher one"
        case AmbiguousPath():
            yield "a path that has one reading; or allow_ambiguous, and a route for every reading"
        case PeerRevoked() | TokenRevoked():
            yield "the entry lifted by whoever told of it: the file, the feed, or POST /revocations/lift"
        case RevocationUnknown() | RevocationStale():
            yield "a source that is heard again, or revocation.stale: serve"
        case DeniedByRule():
            yield from _denied(considered)
        case RouteNotAllowed():
            yield from _near(policy, peer, asked)
        case TokenMissing() | AccessTokenMissing():
            yield from _with_token(policy, peer, asked, considered)
        case _:
            yield from _lacking(considered)


def _for_peer(policy: Policy, peer: Peer, asked: Asked) -> Iterator[str]:
    for number, rule in enumerate(policy.rules):
        if rule.denial is not None and rule.denial.bars_the_peer and number in policy.rules_of(peer.spiffe_id):
            yield f"policy[{number}] {rule.name!r} denies this peer whatever it asks for"
    yield "a rule that names this peer" if not any(policy.rules_of(peer.spiffe_id)) else "a rule that allows this peer"
    yield from _for_others(policy, peer, asked)


def _denied(considered: Sequence[Considered]) -> Iterator[str]:
    for each in considered:
        if each.effect == "deny" and each.decides:
            said = ", ".join(f"{finding.name} {finding.asked}" for finding in each.findings) or each.route
            yield f"{each.place} {each.rule!r} does not speak of a request outside of {said}"


def _near(policy: Policy, peer: Peer, asked: Asked) -> Iterator[str]:
    own = [rule for _, rule in _allowing(policy, peer, own=True)]
    for rule in own:
        table = RouteTable(rule.routes, policy.allow)
        for method in sorted({route.template.method.encode() for route in rule.routes} - {asked.method, b"*"}):
            if _fits(table, method, asked.target):
                yield f"the rule {rule.name!r} has this path with {method.decode('ascii')}"
        path, mark, query = asked.target.partition(b"?")
        for other in (path.rstrip(b"/"), path + b"/", path.lower()):
            if other not in {path, b""} and _fits(table, asked.method, other + mark + query):
                yield f"the rule {rule.name!r} has {other.decode('latin-1')}, which is another path"
    yield from _for_others(policy, peer, asked)
    yield "a route of a rule for this peer"


def _for_others(policy: Policy, peer: Peer, asked: Asked) -> Iterator[str]:
    for number, rule in _allowing(policy, peer, own=False):
        if _fits(RouteTable(rule.routes, policy.allow), asked.method, asked.target):
            yield f"policy[{number}] {rule.name!r} has this route, for {' and '.join(rule.peers)}"


def _allowing(policy: Policy, peer: Peer, *, own: bool) -> Iterator[tuple[int, Rule]]:
    mine = policy.rules_of(peer.spiffe_id)
    for number, rule in enumerate(policy.rules):
        if rule.denial is None and (number in mine) is own:
            yield number, rule


def _fits(table: RouteTable, method: bytes, target: bytes) -> bool:
    try:
        return bool(table.find(method, target))
    except AmbiguousPath:
        return False


def _with_token(policy: Policy, peer: Peer, asked: Asked, considered: Sequence[Considered]) -> Iterator[str]:
    allowing = [each for each in considered if each.effect == "allow"]
    if not allowing:
        yield "no token would help: no route of this peer's rules matches"
        yield from _near(policy, peer, asked)
        return
    ceiling = policy.ceiling_of(peer.spiffe_id)
    if ceiling is not None:
        scopes = " ".join(sorted(ceiling.scopes)) or "none"
        yield f"a token for {' or '.join(sorted(ceiling.audiences))}, with at most the scopes {scopes}"
    for each in allowing:
        terms = ", ".join(f"{finding.name} {finding.asked}" for finding in each.findings) or "nothing more"
        yield f"by {each.place} {each.rule!r}, {each.route}: {terms}"
    for each in considered:
        if each.effect == "deny" and each.decides:
            terms = ", ".join(f"{finding.name} {finding.asked}" for finding in each.findings) or "whatever it is"
            yield f"but {each.place} {each.rule!r} denies it with {terms}"


def _lacking(considered: Sequence[Considered]) -> Iterator[str]:
    for each in considered:
        if each.effect == "allow" and not each.decides:
            terms = ", ".join(
                f"{finding.name} {finding.asked} (found: {finding.found or 'nothing'})" for finding in each.lacking
            )
            yield f"by {each.place} {each.rule!r}, {each.route}: {terms}"


def because(entry: Entry) -> str:
    """Return the note of an entry, behind what was said of it."""
    return f" ({entry.because})" if entry.because else ""

"""Rules that stand in each other's way: allowed, and still likely to surprise; for ``svidecar check``.

Found where two rules can speak of one peer: what is denied before it is asked, what is never asked, and where one of
two ways to the same thing asks for less than the other, so that the stricter one keeps nobody out.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from proxy.policy.denials import Denial, folded
from proxy.policy.routes import Route, route_covers
from proxy.policy.rules import Policy, Rule
from proxy.policy.template import ANY_METHOD, MAX_SEGMENTS, Template, Wild

Conflicts = Iterator[tuple[str, str]]
"""Path in the YAML, and what is to be said about it."""


def conflicts(policy: Policy, audience: str) -> Conflicts:
    """Yield every one; ``audience`` is the one that tokens must have to be believed at all."""
    allowing = [(n, rule) for n, rule in enumerate(policy.rules) if rule.denial is None]
    denying = [(n, rule, rule.denial) for n, rule in enumerate(policy.rules) if rule.denial is not None]
    for number, rule in allowing:
        yield from _denied(number, rule, denying)
        if audience not in rule.audiences:
            yield f"policy[{number}].audiences", f"no token passes: tokens.audience, {audience}, is not among them"
    for number, rule, _ in denying:
        if not any(_share_a_peer(rule, other) for _, other in allowing):
            yield f"policy[{number}]", f"{rule.name!r} denies what no rule allows: none speaks of these peers"
    for (one, first), (other, second) in combinations(allowing, 2):
        if _share_a_peer(first, second):
            yield from _compared(one, first, other, second)
    for number, rule in allowing:
        yield from _within(number, rule)


def _denied(number: int, rule: Rule, denying: Sequence[tuple[int, Rule, Denial]]) -> Conflicts:
    certain = [(n, other, denial) for n, other, denial in denying if not denial.conditions and _all_peers(rule, other)]
    for n, other, denial in certain:
        if not denial.templates:
            yield f"policy[{number}]", f"never decides: policy[{n}] {other.name!r} denies all of its peers"
            return
    for at, route in enumerate(rule.routes):
        for n, other, denial in certain:
            if any(_fits_all(template, route.template) for template in denial.templates):
                path = f"policy[{number}].routes[{at}]"
                yield path, f"{route.template} is never allowed: policy[{n}] {other.name!r} denies all of it"
                break


def _compared(one: int, first: Rule, other: int, second: Rule) -> Conflicts:
    for at, route in enumerate(first.routes):
        for to, same in enumerate(second.routes):
            if _template(route) == _template(same):
                before = _Place(f"policy[{one}].routes[{at}]", route, first)
                yield from _pair(before, _Place(f"policy[{other}].routes[{to}]", same, second))


def _within(number: int, rule: Rule) -> Conflicts:
    for (at, route), (to, same) in combinations(enumerate(rule.routes), 2):
        if _template(route) == _template(same):
            before = _Place(f"policy[{number}].routes[{at}]", route, rule)
            yield from _pair(before, _Place(f"policy[{number}].routes[{to}]", same, rule))


class _Place(NamedTuple):
    path: str
    route: Route
    rule: Rule


def _pair(before: _Place, after: _Place) -> Conflicts:
    """Say what is odd about two routes of one template that one peer may use."""
    if route_covers(before.route, after.route):
        if _all_peers(after.rule, before.rule):
            yield after.path, f"{after.route.template} is never asked: {_named(before)}, and asks for no more"
        elif _extra(after.route) - _extra(before.route):
            yield after.path, _opened(after, before)
    elif route_covers(after.route, before.route):
        if _all_peers(before.rule, after.rule):
            yield before.path, f"{before.route.template} keeps nobody out: {_named(after)}, and asks for less"
        elif _extra(before.route) - _extra(after.route):
            yield before.path, _opened(before, after)
    elif _extra(before.route) != _extra(after.route):
        strict, other = (before, after) if _extra(before.route) > _extra(after.route) else (after, before)
        yield strict.path, _opened(strict, other)


def _named(place: _Place) -> str:
    return f"{place.path} ({place.rule.name!r}) matches the same"


def _opened(strict: _Place, other: _Place) -> str:
    what = " and ".join(sorted(_extra(strict.route) - _extra(other.route)))
    return f"{strict.route.template} asks for {what}, and for a peer of both rules {_named(other)} without"


def _template(route: Route) -> tuple[str, object]:
    return route.template.method, route.template.segments


def _extra(route: Route) -> set[str]:
    """Name what a route asks for beside scopes."""
    demands = route.demands
    found = {condition.name for condition in demands.conditions} if demands is not None else set()
    if demands is not None and demands.terms is not None:
        found.add("facts")
    if route.permit.once:
        found.add("once")
    if route.actors is not None:
        found.add("actors")
    return found


def _share_a_peer(one: Rule, other: Rule) -> bool:
    if not one.peers or not other.peers:
        return True
    return any(_holds(a, b) or _holds(b, a) for a in one.peers for b in other.peers)


def _all_peers(rule: Rule, denying: Rule) -> bool:
    return not denying.peers or all(any(_holds(wide, peer) for wide in denying.peers) for peer in rule.peers)


def _holds(wide: str, pattern: str) -> bool:
    """Whether every peer of ``pattern`` is one of ``wide``."""
    return wide == pattern or (wide.endswith("/*") and pattern.startswith(wide[:-1]))


def _fits_all(denied: Template, allowed: Template) -> bool:
    """Whether every request of ``allowed`` is one that ``denied`` speaks of, as ``denials`` compares them."""
    if denied.method not in {ANY_METHOD, allowed.method} and (denied.method, allowed.method) != ("GET", "HEAD"):
        return False
    if denied.segments is None or allowed.segments is None:
        return denied.segments is allowed.segments
    wanted, given = _folded(denied.segments), _folded(allowed.segments)
    for n, segment in enumerate(wanted):
        if segment is Wild.REST:
            return True
        if n >= len(given) or given[n] is Wild.REST or (segment is not Wild.ONE and segment != given[n]):
            return False
    return len(wanted) == len(given)


def _folded(segments: Sequence[bytes | Wild]) -> list[str | Wild]:
    found: list[str | Wild] = []
    for segment in segments:
        found += [segment] if isinstance(segment, Wild) else folded([segment], MAX_SEGMENTS)
    return found

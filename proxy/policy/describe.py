"""Policy and Destinations in plain words, for ``svidecar check``."""

from collections.abc import Iterator, Sequence

from proxy.policy.authority import Authority
from proxy.policy.conditions import Condition
from proxy.policy.denials import Denial
from proxy.policy.destinations import Destinations
from proxy.policy.permit import Destination
from proxy.policy.rules import Policy, Rule
from proxy.policy.settings import Mode, Protection
from proxy.policy.tunnels import of_limits, of_tunnel


def describe(policy: Policy, destinations: Destinations) -> list[str]:
    """Return what is allowed, a line each, in the order of the file; the last line of each part says what is not."""
    return [*_inbound(policy), *_outbound(destinations)]


def _inbound(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        if Mode.AUDIT in {rule.mode, policy.mode}:
            yield f"rule {rule.name!r} is in audit mode: what it refuses is told, and let pass"
        if rule.denial is not None:
            yield _denied(rule, rule.denial)
            continue
        yield from _allowed(rule)
    if policy.allow:
        yield f"paths with {', '.join(sorted(policy.allow))} pass where every reading of them is allowed"
    if policy.mode is Mode.AUDIT:
        yield "every other peer, path and route is told, and let pass: the listener is in audit mode"
    else:
        yield "every other peer, token, path and route is refused"


def _allowed(rule: Rule) -> Iterator[str]:
    yield f"rule {rule.name!r}: peers {', '.join(rule.peers)} may come with tokens {_of_rule(rule)}"
    if rule.conditions:
        yield f"  where {_asked(rule.conditions)}"
    for route in rule.routes:
        needs = f"with {_scopes(route.scopes)}" if route.scopes else "with any such token"
        if route.template.method == "CONNECT":
            needs = of_tunnel(route.permit.tunnel, needs)
        if route.ask is not None:
            needs += f"; what comes in {route.ask.field.decode()} is traded for it"
        yield f"  may use {route.template} {needs}"
    if limits := of_limits(rule.limits):
        yield f"  {limits}"
    if not rule.routes:
        yield "  may use no route by this rule"


def _denied(rule: Rule, denial: Denial) -> str:
    who = f"peers {', '.join(rule.peers)}" if rule.peers else "everybody"
    if denial.bars_the_peer:
        return f"rule {rule.name!r}: {who} may not come at all"
    what = " or ".join(str(template) for template in denial.templates) or "anything"
    where = f", where {_asked(denial.conditions)}" if denial.conditions else ""
    return f"rule {rule.name!r}: {who} may not use {what}{where}, whatever allows it"


def _asked(conditions: Sequence[Condition]) -> str:
    return " and ".join(f"{condition.name} is {condition.asked}" for condition in conditions)


def _of_rule(rule: Rule) -> str:
    scopes = f"of at most {_scopes(rule.scopes)}" if rule.scopes else "without any scope"
    acting = f", where who acts is {' or '.join(rule.actors)}" if rule.actors else ""
    return f"for {', '.join(sorted(rule.audiences))} {scopes}{acting}"


def _scopes(scopes: frozenset[str]) -> str:
    return f"{'scope' if len(scopes) == 1 else 'scopes'} {', '.join(sorted(scopes))}"


def _outbound(destinations: Destinations) -> Iterator[str]:
    for destination in destinations.all:
        yield describe_destination(destination)
    yield "every other destination is refused"


def describe_destination(destination: Destination) -> str:
    """Return what the app may do there, in one line."""
    port = "any port" if destination.port is None else "this port"
    return f"the app may call {destination.name} ({port}): {_way(destination)}, {_token(destination)}"


def _way(destination: Destination) -> str:
    address = str(Authority(destination.address_host, destination.address_port))
    match destination.protection:
        case Protection.MTLS:
            return f"at {address} over mTLS, if {destination.spiffe_id} answers"
        case Protection.WEB:
            return f"at {address} over TLS, if a certificate of the system's authorities names it"
        case Protection.PLAIN:
            return f"at {address} without any protection"


def _token(destination: Destination) -> str:
    if not destination.in_domain:
        return "never with the transaction's token"
    if destination.ask is None:
        return "with the transaction's token if the app brings it"
    asked = _scopes(frozenset(destination.ask.scopes))
    return f"with the transaction's token; without one, a token is asked for with {asked}"

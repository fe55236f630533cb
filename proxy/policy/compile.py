"""Settings -> Policy and Destinations.

Every error is told at once, each with its place in the YAML and with what would be right there.
"""

import re
from collections.abc import Sequence

from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain
from proxy.policy.actors import Actors, InvalidActor, parse_actors
from proxy.policy.authority import Authority, InvalidAuthority, parse_authority
from proxy.policy.binding import compile_terms
from proxy.policy.compile_conditions import Library, compile_conditions, compile_denial
from proxy.policy.conditions import Condition
from proxy.policy.demands import demands_of
from proxy.policy.destinations import Destinations
from proxy.policy.limits import tunnel_limits
from proxy.policy.peers import InvalidPattern, parse_pattern
from proxy.policy.permit import SEAL, Destination, Permit
from proxy.policy.routes import Route
from proxy.policy.rules import Policy, Rule
from proxy.policy.settings import (
    DestinationSettings,
    Effect,
    Mode,
    PolicySettings,
    Propagation,
    Protection,
    RouteSettings,
    RuleSettings,
)
from proxy.policy.template import InvalidTemplate, Template
from proxy.policy.tunnels import check_tunnel
from proxy.policy.version import version_of
from proxy.tokens.ask import Ask, compile_ask
from proxy.tokens.settings import AskSettings

MAX_NAME = 64
"""Characters of a rule's name: it is a metric label and a word of the audit, read in a column."""

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749 3.3."""

_DESTINATIONS = "outbound.destinations"
_NEVER_LEAVES = "the token never leaves our trust domain: leave it out, or name a workload of ours"

Errors = list[tuple[str, str]]


class PolicyErrors(ValueError):
    """What is wrong with the policy or the destinations: ``errors`` are all of it, as (path, message)."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("\n".join(f"{path}: {message}" for path, message in errors))
        self.errors = errors


def compile_policy(settings: PolicySettings, audience: str) -> Policy:
    """Understand the rules. ``audience`` is that of ``tokens:``, for the rules that name none.

    Raises:
        PolicyErrors: all that is wrong.

    """
    errors: Errors = []
    _check_names([rule.name for rule in settings.rules], errors)
    library = Library(settings.environment)
    rules = [_rule(f"policy[{n}]", rule, audience, library, errors) for n, rule in enumerate(settings.rules)]
    if errors:
        raise PolicyErrors(errors)
    return Policy(rules, settings.allow, version_of((settings, audience)), settings.mode)


def _check_names(names: Sequence[str], errors: Errors) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        path = f"policy[{number}].name"
        if not (1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
            errors.append((path, f"write 1 to {MAX_NAME} printable characters, no blank at either end"))
        if first.setdefault(name, number) != number:
            errors.append((path, f"policy[{first[name]}] has this name too; a name says which rule decided"))


def _rule(path: str, settings: RuleSettings, audience: str, library: Library, errors: Errors) -> Rule:
    peers = (*settings.peers, *(f"spiffe://{domain}/*" for domain in settings.trust_domains))
    _check_peers(path, settings, errors)
    _check_scopes(f"{path}.scopes", settings.scopes, errors)
    for number, name in enumerate(settings.audiences):
        if not name or not name.isprintable() or " " in name:
            errors.append((f"{path}.audiences[{number}]", "write the name of a trust domain, as in example.org"))
    actors = _actors(f"{path}.actors", settings.actors, errors)
    if settings.effect is Effect.DENY:
        denial = compile_denial(path, settings, actors, library, errors)
        return Rule(
            name=settings.name,
            peers=peers,
            audiences=frozenset(),
            scopes=frozenset(),
            routes=(),
            denial=denial,
            mode=settings.mode,
        )
    conditions = compile_conditions(path, settings, library, errors)
    routes = [
        _route(f"{path}.routes[{n}]", route, settings, actors, conditions, errors)
        for n, route in enumerate(settings.routes)
    ]
    _check_routes(f"{path}.routes", routes, errors)
    return Rule(
        name=settings.name,
        peers=peers,
        audiences=frozenset(settings.audiences or (audience,)),
        scopes=frozenset(settings.scopes),
        routes=tuple(route for route in routes if route is not None),
        actors=settings.actors,
        conditions=conditions,
        limits=settings.limits,
        mode=settings.mode,
    )


def _actors(path: str, patterns: tuple[str, ...], errors: Errors) -> Actors | None:
    try:
        return parse_actors(patterns)
    except InvalidActor as error:
        errors.append((path, str(error)))
        return None


def _check_peers(above: str, settings: RuleSettings, errors: Errors) -> None:
    path, peers = f"{above}.peers", settings.peers
    if not peers and not settings.trust_domains and settings.effect is Effect.ALLOW:
        errors.append((path, "name at least one peer; to admit a whole trust domain write spiffe://td/*"))
    for number, pattern in enumerate(peers):
        try:
            parse_pattern(pattern)
        except InvalidPattern as error:
            errors.append((f"{path}[{number}]", str(error)))
        if peers.index(pattern) != number:
            errors.append((f"{path}[{number}]", f"the same as {path}[{peers.index(pattern)}]"))
    for number, domain in enumerate(settings.trust_domains):
        try:
            parse_trust_domain(domain)
        except InvalidSpiffeId as error:
            errors.append((f"{above}.trust_domains[{number}]", str(error)))


def _check_scopes(path: str, scopes: Sequence[str], errors: Errors) -> None:
    for number, scope in enumerate(scopes):
        if not _SCOPE_TOKEN.fullmatch(scope):
            message = (
                'a scope is visible ASCII without blank, " and \\ (RFC 6749 3.3); write each as an item of the list'
            )
            errors.append((f"{path}[{number}]", message))


def _route(
    path: str,
    settings: RouteSettings,
    rule: RuleSettings,
    actors: Actors | None,
    conditions: tuple[Condition, ...],
    errors: Errors,
) -> Route | None:
    _check_scopes(f"{path}.scopes", settings.scopes, errors)
    for scope in settings.scopes:
        if scope not in rule.scopes:
            errors.append((f"{path}.scopes", f"{scope!r} is not in the scopes of the rule: no token could satisfy it"))
    ask = _route_ask(f"{path}.exchange", settings, errors)
    try:
        template = Template.parse(settings.match)
    except InvalidTemplate as error:
        errors.append((f"{path}.match", str(error)))
        return None
    check_tunnel(path, settings, rule, template, errors)
    terms = compile_terms(f"{path}.facts", settings.facts, template.path, errors)
    permit = Permit(
        seal=SEAL,
        rule=rule.name,
        route=template.path,
        once=str(template) if settings.once else "",
        propagates=settings.propagate,
        tunnel=tunnel_limits(rule.limits, settings.token, settings.ends),
    )
    scopes = frozenset(settings.scopes)
    demands = demands_of(rule.name, template.path, conditions, terms)
    audits = rule.mode is Mode.AUDIT
    return Route(
        template=template, scopes=scopes, permit=permit, actors=actors, ask=ask, demands=demands, audits=audits
    )


def _route_ask(path: str, settings: RouteSettings, errors: Errors) -> Ask | None:
    if settings.exchange is None:
        return None
    for scope in settings.scopes:
        if scope not in settings.exchange.scope:
            message = f"{scope!r} is needed by the route, and not asked for: no token that is traded could satisfy it"
            errors.append((f"{path}.scope", message))
    return _ask(path, settings.exchange, errors, routed=True)


def _check_routes(path: str, routes: Sequence[Route | None], errors: Errors) -> None:
    """Two routes of a rule may share a template as alternatives, unless one makes the other pointless."""
    seen: dict[object, list[tuple[int, Route]]] = {}
    for number, route in enumerate(routes):
        if route is None:
            continue
        same = seen.setdefault((route.template.method, route.template.segments), [])
        for before, other in same:
            if other.scopes <= route.scopes or route.scopes <= other.scopes:
                message = f"matches what {path}[{before}] matches, and one asks for no more than the other: keep one"
                errors.append((f"{path}[{number}].match", message))
                break
        same.append((number, route))


def compile_destinations(
    settings: Sequence[DestinationSettings], trust_domain: str, where: str = _DESTINATIONS
) -> Destinations:
    """Understand the destinations, which stand at ``where``. ``trust_domain`` is our own: the token never leaves it.

    Raises:
        PolicyErrors: all that is wrong.

    """
    errors: Errors = []
    known: dict[str, tuple[int, Destination]] = {}
    for number, entry in enumerate(settings):
        destination = _destination(f"{where}[{number}]", entry, trust_domain, errors)
        if destination is None:
            continue
        first, _ = known.setdefault(destination.name, (number, destination))
        if first != number:
            errors.append((f"{where}[{number}].host", f"{where}[{first}] has this host too: keep one"))
    if errors:
        raise PolicyErrors(errors)
    return Destinations([destination for _, destination in known.values()], version_of((*settings, trust_domain)))


def _destination(path: str, settings: DestinationSettings, trust_domain: str, errors: Errors) -> Destination | None:
    host = _authority(f"{path}.host", settings.host, errors)
    address = _authority(f"{path}.address", settings.address, errors)
    if address is not None and address.port is None:
        errors.append((f"{path}.address", "write the port too, as in ledger.default.svc:15006"))
    spiffe_id = _expected(f"{path}.spiffe_id", settings, errors)
    in_domain = spiffe_id is not None and spiffe_id.trust_domain == trust_domain
    ask = _destination_ask(f"{path}.token", settings.token, in_domain=in_domain, errors=errors)
    if host is None or address is None or address.port is None:
        return None
    return Destination(
        name=str(host),
        host=host.host,
        port=host.port,
        address_host=address.host,
        address_port=address.port,
        protection=settings.protection,
        spiffe_id=spiffe_id,
        in_domain=in_domain,
        ask=ask,
        propagate=_propagation(path, settings, in_domain=in_domain, errors=errors),
        narrow=_narrow(f"{path}.narrow", settings, in_domain=in_domain, errors=errors),
        settles=settings.narrow is not None or settings.propagate is not Propagation.NEVER,
    )


def _propagation(path: str, settings: DestinationSettings, *, in_domain: bool, errors: Errors) -> Propagation:
    if settings.propagate is not Propagation.NEVER and not in_domain:
        errors.append((f"{path}.propagate", _NEVER_LEAVES))
    return settings.propagate


def _narrow(path: str, settings: DestinationSettings, *, in_domain: bool, errors: Errors) -> frozenset[str] | None:
    if settings.narrow is None:
        return None
    if not in_domain:
        errors.append((path, _NEVER_LEAVES))
    _check_scopes(path, settings.narrow, errors)
    beyond = sorted(set(settings.token.scope if settings.token is not None else ()) - set(settings.narrow))
    if beyond:
        errors.append(
            (path, f"token.scope asks for {' '.join(beyond)}, and this lets it not through: widen this, or ask less")
        )
    return frozenset(settings.narrow)


def _authority(path: str, raw: str, errors: Errors) -> Authority | None:
    try:
        return parse_authority(raw)
    except InvalidAuthority as error:
        errors.append((path, str(error)))
        return None


def _expected(path: str, settings: DestinationSettings, errors: Errors) -> SpiffeId | None:
    if settings.protection is not Protection.MTLS:
        if settings.spiffe_id is not None:
            errors.append((path, f"{settings.protection} knows no SPIFFE ID: leave it out, or use {Protection.MTLS}"))
        return None
    if settings.spiffe_id is None:
        errors.append((path, "name the workload that answers there, as in spiffe://example.org/ledger"))
        return None
    try:
        spiffe_id = SpiffeId.parse(settings.spiffe_id)
    except InvalidSpiffeId as error:
        errors.append((path, f"{error}; write one workload, as in spiffe://example.org/ledger"))
        return None
    if not spiffe_id.path:
        errors.append((path, "this names a trust domain; write one workload, as in spiffe://example.org/ledger"))
    return spiffe_id


def _destination_ask(path: str, settings: AskSettings | None, *, in_domain: bool, errors: Errors) -> Ask | None:
    if settings is None:
        return None
    if not in_domain:
        errors.append((f"{path}.scope", _NEVER_LEAVES))
    return _ask(path, settings, errors, routed=False)


def _ask(path: str, settings: AskSettings, errors: Errors, *, routed: bool) -> Ask | None:
    if not settings.scope:
        message = "name at least one scope: the token service issues none without; or leave token out"
        errors.append((f"{path}.scope", message))
    _check_scopes(f"{path}.scope", settings.scope, errors)
    return compile_ask(path, settings, errors, routed=routed)

"""Why a request or a tunnel would be allowed or refused, for a person.

The verdict is that of ``Revoked``, ``admit``, and ``Grant.permit`` or ``permit_tunnel``; nothing here decides. Then the
same compiled rules are walked once more, and each condition is asked by the same method, to tell what stands there.
Tests hold that the two agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import AccessTokenMissing, AmbiguousPath, BadHost, PeerNotAllowed, ProxyError, TokenMissing
from proxy.identity.peer import Peer
from proxy.policy.advise import Asked, advice_for, because
from proxy.policy.conditions import Condition, Question
from proxy.policy.connect import permit_tunnel, spelled
from proxy.policy.denials import Denial
from proxy.policy.findings import Considered, Explanation, Finding
from proxy.policy.grant import Grant, admit, route_that_trades
from proxy.policy.modes import let_pass
from proxy.policy.permit import Permit
from proxy.policy.revocation import Revoked
from proxy.policy.routes import Route
from proxy.policy.rules import Policy
from proxy.policy.tunnels import of_tunnel
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts

_NOTHING_SHOWN: Final = "no token was shown"
_ONCE: Final = "whether this transaction was used before for {}: it is taken once, and the sidecar alone remembers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked about: ``token`` None where none is shown; ``until`` is the end of the connection.

    ``tunnel``: the target of the request is ``host:port``, as it came, and the app speaks raw TCP.
    """

    peer: Peer
    request: Facts
    token: TxnToken | None
    now: float
    until: float = float("inf")
    tunnel: bool = False
    revoked: Revoked = field(default_factory=Revoked)

    @property
    def target(self) -> bytes:
        """What rules are asked for. Raises BadHost."""
        return spelled(self.request.target) if self.tunnel else self.request.target


def explain(policy: Policy, case: Case) -> Explanation:
    """Return the verdict on a case, and everything that was looked at."""
    permit, refusal = decide(policy, case)
    walk = _Walk(policy, case)
    connection, considered = tuple(walk.connection()), tuple(walk.considered())
    return Explanation(
        allowed=refusal is None,
        reason="" if refusal is None else refusal.reason,
        detail="" if refusal is None else refusal.detail,
        would_refuse="" if permit is None else permit.audited,
        rule="" if permit is None else permit.rule,
        route="" if permit is None else permit.route,
        connection=connection,
        considered=considered,
        advice=() if refusal is None else tuple(_advice(refusal, policy, case, considered)),
        unknown=() if permit is None or not permit.once else (_ONCE.format(permit.once),),
    )


def _advice(refusal: ProxyError, policy: Policy, case: Case, considered: tuple[Considered, ...]) -> Iterator[str]:
    try:
        asked = Asked(case.request.method, case.target)
    except BadHost:
        return iter(())
    return advice_for(refusal, policy, case.peer, asked, considered)


def decide(policy: Policy, case: Case) -> tuple[Permit | None, ProxyError | None]:
    """Return what a sidecar would: the Permit, or the refusal."""
    try:
        case.revoked.admit(case.peer)
        grant = admit(policy, case.peer, case.until, case.now)
        if case.token is not None:
            case.revoked.check(case.token)
        if case.tunnel:
            return permit_tunnel(grant, case.request.target, case.token, case.now, case.request), None
        if case.token is None:
            return None, _without_token(grant, case)
        return _permit(grant, case, case.token), None
    except ProxyError as refusal:
        return None, refusal


def _permit(grant: Grant, case: Case, token: TxnToken) -> Permit:
    request = case.request
    try:
        return grant.permit(request.method, request.target, token, case.now, request)
    except ProxyError as refusal:
        return let_pass(grant, request.method, request.target, token, case.now, request, refusal)


def _without_token(grant: Grant, case: Case) -> ProxyError:
    if grant.trades and route_that_trades(grant, case.request.method, case.request.target, case.now) is not None:
        return AccessTokenMissing("this route trades the access token that the request brings")
    return TokenMissing("a Txn-Token is needed")


class _Walk:
    """One way through the rules, in the order in which they are asked."""

    def __init__(self, policy: Policy, case: Case) -> None:
        self._policy = policy
        self._case = case
        self._ceiling = policy.ceiling_of(case.peer.spiffe_id)

    def connection(self) -> Iterator[Finding]:
        """What is asked of the connection, and of its token before any route."""
        rules = [self._policy.rules[number] for number in self._policy.rules_of(self._case.peer.spiffe_id)]
        naming = [rule for rule in rules if rule.denial is None or rule.denial.bars_the_peer]
        asked = " or ".join(repr(rule.name) for rule in naming) or "no rule allows it anything"
        yield Finding(name="peer", asked=asked, found=self._case.peer.uri, holds=self._admitted)
        token, ceiling = self._case.token, self._ceiling
        yield from self._revoked()
        if token is not None and ceiling is not None and self._admitted:
            asked = " or ".join(sorted(ceiling.audiences))
            yield Finding(name="audience", asked=asked, found=token.aud, holds=token.aud in ceiling.audiences)
            asked = f"at most {' '.join(sorted(ceiling.scopes)) or 'none'}"
            found = " ".join(sorted(token.scopes))
            yield Finding(name="ceiling", asked=asked, found=found, holds=token.scopes <= ceiling.scopes)

    def _revoked(self) -> Iterator[Finding]:
        """What of it is revoked; nothing where nothing is."""
        revoked, token = self._case.revoked, self._case.token
        if revoked.blind:
            yield Finding(name="revoked", asked="what is revoked is known", found="no: a source is silent", holds=False)
        entries = [("peer", revoked.of_peer(self._case.peer))] if len(revoked) else []
        if len(revoked) and token is not None:
            entries.append(("token", revoked.of_token(token)))
        for name, entry in entries:
            found = "not named" if entry is None else f"named by {entry.kind}" + because(entry)
            asked = f"not among the {len(revoked)} entries"
            yield Finding(name=f"{name} not revoked", asked=asked, found=found, holds=entry is None)

    @property
    def _admitted(self) -> bool:
        try:
            admit(self._policy, self._case.peer, self._case.until, self._case.now)
        except PeerNotAllowed:
            return False
        return True

    def considered(self) -> Iterator[Considered]:
        """Every rule that denies and every route that speaks of the request."""
        ceiling, method = self._ceiling, self._case.request.method
        if ceiling is None or not self._admitted:
            return
        try:
            target = self._case.target
            found = ceiling.routes.find(method, target)
            denials = ceiling.denials.of(method, target) if ceiling.denials is not None else []
        except (AmbiguousPath, BadHost):
            return
        for denial in denials:
            yield self._denial(denial)
        for reading, alternatives in enumerate(found):
            for route in alternatives:
                yield self._route(route, reading)

    def _denial(self, denial: Denial) -> Considered:
        return Considered(
            rule=denial.rule,
            place=self._place(denial.rule),
            effect="deny",
            route=" or ".join(str(template) for template in denial.templates),
            findings=tuple(self._ask(condition) for condition in denial.conditions),
        )

    def _route(self, route: Route, reading: int) -> Considered:
        return Considered(
            rule=route.permit.rule,
            place=self._place(route.permit.rule, route),
            effect="allow",
            route=str(route.template),
            findings=tuple(self._of_route(route)),
            reading=reading,
        )

    def _of_route(self, route: Route) -> Iterator[Finding]:
        token = self._case.token
        held = _NOTHING_SHOWN if token is None else " ".join(sorted(token.scopes))
        if self._case.tunnel:
            asked, bare = of_tunnel(route.permit.tunnel, "a transaction token"), route.permit.tunnel.bare
            holds = True if bare or token is not None else None
            yield Finding(name="tunnel", asked=asked, found=_NOTHING_SHOWN if token is None else "a token", holds=holds)
        if route.scopes:
            holds = None if token is None else route.scopes <= token.scopes
            yield Finding(name="scopes", asked=" ".join(sorted(route.scopes)), found=held, holds=holds)
        if route.actors is not None:
            acting = _NOTHING_SHOWN if token is None else token.actors[0] if token.actors else "none"
            holds = None if token is None else route.actors.admit(token.actors)
            rule = next(rule for rule in self._policy.rules if rule.name == route.permit.rule)
            yield Finding(name="actors", asked=" or ".join(rule.actors), found=acting, holds=holds)
        if route.demands is None:
            return
        for condition in route.demands.conditions:
            yield self._ask(condition)
        if route.demands.terms is not None:
            self._case.request.route = route.template.path
            shown = self._case.request if token is not None else None
            for told in route.demands.terms.told(shown, token.tctx if token is not None else None):
                yield Finding(name=f"fact {told.name}", asked=told.asked, found=told.found, holds=told.holds)

    def _ask(self, condition: Condition) -> Finding:
        token = self._case.token
        if token is None and condition.needs_token:
            return Finding(name=condition.name, asked=condition.asked, found=_NOTHING_SHOWN, holds=None)
        question = Question(self._case.peer, token or NOBODYS, self._case.now, self._case.until, self._case.request)
        found, holds = condition.found(question), condition.holds(question)
        return Finding(name=condition.name, asked=condition.asked, found=found, holds=holds)

    def _place(self, name: str, route: Route | None = None) -> str:
        number, rule = next((n, rule) for n, rule in enumerate(self._policy.rules) if rule.name == name)
        at = "" if route is None else f".routes[{next(n for n, each in enumerate(rule.routes) if each is route)}]"
        return f"policy[{number}]{at}"


NOBODYS: Final = TxnToken(
    txn="", sub="", aud="", scopes=frozenset(), req_wl="", iat=0.0, exp=0.0, iss=None, tctx=None, rctx=None, digest=""
)
"""Where no token is shown: conditions that look at none are asked with it."""

"""The Grant: what one connection may do, fixed when it is admitted (specs 1.16, 6), and asked for each request.

A token is believed only within the Grant: the peer's identity sets the ceiling, and the token can only be lower. A
token that is wider than the connection is refused even where the route would need less, because it should never have
come this way: somebody else's token, or a rule that is too narrow, and both want to be seen.

The order of the questions is also what a refusal tells. Everyone who gets one has been admitted by mTLS and holds a
token that was verified, so it learns only of itself. First of the connection (``GrantEnded``), then of its token
(``AudienceBeyondGrant``, ``ScopeBeyondGrant``: no word of any route), then of its request (``AmbiguousPath``,
``DeniedByRule``). Only a token that fits the Grant can tell a route that is missing (``RouteNotAllowed``) from one that
needs another scope (``ScopeMissing``), another actor (``ActorNotAllowed``), what a condition asks for
(``ConditionUnmet``) or other facts (``FactMismatch``), and only among the routes of its own Grant: rules for other
peers are not in its table at all.
"""

from dataclasses import dataclass

from proxy.errors import (
    ActorNotAllowed,
    AmbiguousPath,
    AudienceBeyondGrant,
    DeniedByRule,
    GrantEnded,
    PeerNotAllowed,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
)
from proxy.identity.peer import Peer
from proxy.policy.audited import audited
from proxy.policy.binding import Undecided
from proxy.policy.conditions import Question
from proxy.policy.denials import Denials
from proxy.policy.limits import UNLIMITED
from proxy.policy.permit import Permit
from proxy.policy.routes import Alternatives, Found, Route, RouteTable
from proxy.policy.rules import Policy
from proxy.policy.settings import Mode
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Audiences, scopes and routes of one connection; ``trades`` where one of them has ``exchange``.

    ``denials`` None: no rule denies the peer anything. ``refusals``: tokens beyond it that it bears. ``max_bytes``: of
    all bodies, both ways together. ``until`` is 0 once it was taken back. Only ``admit`` makes one.

    ``watched``, ``audits``: as a Ceiling has them, for ``modes``. ``barred``: why the peer would not have come in.
    """

    peer: Peer
    audiences: frozenset[str]
    scopes: frozenset[str]
    until: float
    routes: RouteTable
    trades: bool = False
    denials: Denials | None = None
    since: float = 0.0
    refusals: int = 10
    max_bytes: int = UNLIMITED
    watched: Denials | None = None
    audits: bool = False
    barred: str = ""

    def permit(  # noqa: C901 - every question in its order, and no call more than they need
        self, method: bytes, target: bytes, token: TxnToken, now: float, facts: Facts | None = None
    ) -> Permit:
        """Return the Permit of a request with this verified token. ``target`` is in origin-form.

        ``facts`` are shown where a rule asks for them, and only there: without them no such route gives its Permit.

        Raises:
            GrantEnded: close the connection.
            AmbiguousPath, Denied: every class of it that the module names, in that order.
            FactUnusable, FactUnauthorised, FactMismatch: the rule wants facts to equal ``tctx``, and they do not.
            Undecided: no refusal; call again with ``facts``.

        """
        if not now < self.until:  # written so that a NaN ends the grant too
            raise GrantEnded("an SVID of this connection has ended, or its peer is trusted no more")
        if token.aud not in self.audiences:
            raise AudienceBeyondGrant("the audience of the token is not one of this connection's")
        scopes = token.scopes
        if not scopes <= self.scopes:
            raise ScopeBeyondGrant("the token has a scope that this connection may not use")
        found = self.routes.find(method, target)
        if self.denials is not None:
            self._judge(self.denials, found, method, target, token, now, facts)
        permit = None
        for alternatives in found:
            for route in alternatives:
                if route.scopes <= scopes and (route.actors is None or route.actors.admit(token.actors)):
                    if route.demands is not None and self._refusal(found, route, token, now, facts) is not None:
                        continue
                    if permit is None or route.permit.once:  # of several readings, one that takes it once decides
                        permit = route.permit
                    break
            else:
                raise self._missing(found, alternatives, token, now, facts)
        if permit is None:
            raise RouteNotAllowed("no route of this connection's rules matches")
        return permit if self.watched is None else self._marked(permit, found, method, target, token, now, facts)

    def _judge(
        self,
        denials: Denials,
        found: Found,
        method: bytes,
        target: bytes,
        token: TxnToken,
        now: float,
        facts: Facts | None,
    ) -> None:
        question = Question(self.peer, token, now, self.until, facts)
        denials.judge(method, target, question, needs_body=need_body(found))

    def _marked(
        self,
        permit: Permit,
        found: Found,
        method: bytes,
        target: bytes,
        token: TxnToken,
        now: float,
        facts: Facts | None,
    ) -> Permit:
        """Mark it, where a rule in audit mode would deny it."""
        try:
            if self.watched is not None:
                self._judge(self.watched, found, method, target, token, now, facts)
        except DeniedByRule as refusal:
            return audited(permit, refusal.reason)
        return permit

    def _refusal(
        self, found: Found, route: Route, token: TxnToken, now: float, facts: Facts | None
    ) -> ProxyError | None:
        demands = route.demands
        if demands is None:
            return None
        question = Question(self.peer, token, now, self.until, facts)
        if facts is None and demands.needs_request and demands.unmet(question) is None:
            raise Undecided(needs_body=need_body(found))
        return demands.refusal(question)

    def _missing(
        self, found: Found, alternatives: Alternatives, token: TxnToken, now: float, facts: Facts | None
    ) -> ProxyError:
        """Tell what would help: what is demanded, where scopes and actors suffice; the actor; the scopes."""
        scopes = token.scopes
        for route in alternatives:
            if route.scopes <= scopes and (route.actors is None or route.actors.admit(token.actors)):
                refusal = self._refusal(found, route, token, now, facts)
                if refusal is not None:
                    return refusal
        for route in alternatives:
            if route.scopes <= scopes:
                return ActorNotAllowed(f"the rule {route.permit.rule!r} does not name who acts in this token")
        first = alternatives[0]
        lacking = " ".join(sorted(first.scopes - scopes))
        return ScopeMissing(f"the rule {first.permit.rule!r} needs {lacking} for {first.template}")

    def withdrawn(self) -> "Grant":
        """Return it as it is once it was taken back: of the same peer, and ended."""
        return Grant(
            peer=self.peer,
            audiences=self.audiences,
            scopes=self.scopes,
            until=0.0,
            routes=self.routes,
            trades=self.trades,
            denials=self.denials,
            since=self.since,
            refusals=self.refusals,
            max_bytes=self.max_bytes,
            watched=self.watched,
        )


def route_that_trades(grant: Grant, method: bytes, target: bytes, now: float) -> Route | None:
    """Return the route of a request whose token is traded here; None where it has to bring a transaction token.

    It decides nothing but that: what the token that comes of it may do is for ``Grant.permit``.

    Raises:
        GrantEnded: nothing is asked for in its name any more; close the connection.
        DeniedByRule: whatever the token, this request is denied.
        AmbiguousPath: the path can be read in two ways, or trades in one of them alone.

    """
    if not now < grant.until:
        raise GrantEnded("an SVID of this connection has ended")
    found = [route for alternatives in grant.routes.find(method, target) for route in alternatives]
    asks = {route.ask for route in found}
    if len(asks) > 1:
        raise AmbiguousPath("the path has several readings or rules, and not every one trades the same token")
    if not found or found[0].ask is None:
        return None
    if grant.denials is not None:
        grant.denials.judge_unseen(method, target)
    return found[0]


def admit(policy: Policy, peer: Peer, until: float, since: float = 0.0) -> Grant:
    """Return the Grant of a connection that began at ``since``. ``until`` is the earlier end of the two SVIDs.

    Raises:
        PeerNotAllowed: no rule allows this peer anything, or one denies it all; close before a byte reaches the app.

    """
    ceiling = policy.ceiling_of(peer.spiffe_id)
    if ceiling is None:
        if policy.mode is Mode.AUDIT:  # nothing is allowed it, and all that it asks for is let pass as such
            nothing: frozenset[str] = frozenset()
            routes = RouteTable((), policy.allow)
            barred = PeerNotAllowed.reason
            return Grant(
                peer=peer, audiences=nothing, scopes=nothing, until=until, routes=routes, audits=True, barred=barred
            )
        raise PeerNotAllowed("no rule names this peer")
    if ceiling.denials is not None and ceiling.denials.bar:
        raise PeerNotAllowed(f"the rule {ceiling.denials.bar!r} denies this peer")
    return Grant(
        peer=peer,
        audiences=ceiling.audiences,
        scopes=ceiling.scopes,
        until=min(until, since + ceiling.max_s),
        routes=ceiling.routes,
        trades=ceiling.trades,
        denials=ceiling.denials,
        since=since,
        refusals=ceiling.refusals,
        max_bytes=ceiling.max_bytes,
        watched=ceiling.watched,
        audits=ceiling.audits,
    )


def need_body(found: Found) -> bool:
    """Whether one of these routes needs the body of a request."""
    return any(
        route.demands is not None and route.demands.needs_body for alternatives in found for route in alternatives
    )

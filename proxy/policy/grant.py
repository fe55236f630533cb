"""The Grant: what one connection may do, fixed when it is admitted (specs 1.16, 6), and asked for each request.

A token is believed only within the Grant: the peer's identity sets the ceiling, and the token can only be lower. A
token that is wider than the connection is refused even where the route would need less, because it should never have
come this way: somebody else's token, or a rule that is too narrow, and both want to be seen.

The order of the questions is also what a refusal tells. Everyone who gets one has been admitted by mTLS and holds a
token that was verified, so it learns only of itself. First of the connection (``GrantEnded``), then of its token
(``AudienceBeyondGrant``, ``ScopeBeyondGrant``: no word of any route), then of its request (``AmbiguousPath``). Only a
token that fits the Grant can tell a route that is missing (``RouteNotAllowed``) from one that needs another scope
(``ScopeMissing``), another actor (``ActorNotAllowed``) or other facts (``FactMismatch``), and only among the routes of
its own Grant: rules for other peers are not in its table at all.
"""

from dataclasses import dataclass

from proxy.errors import (
    ActorNotAllowed,
    AmbiguousPath,
    AudienceBeyondGrant,
    FactMismatch,
    FactUnauthorised,
    FactUnusable,
    GrantEnded,
    PeerNotAllowed,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
)
from proxy.identity.peer import Peer
from proxy.policy.binding import Undecided
from proxy.policy.permit import Permit
from proxy.policy.routes import Alternatives, Route, RouteTable
from proxy.policy.rules import Policy
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Audiences, scopes and routes of one connection; ``trades`` where one of them has ``exchange``.

    Only ``admit`` makes one. ``until`` is 0 once it was taken back. ``refusals``: tokens beyond it that it bears.
    """

    peer: Peer
    audiences: frozenset[str]
    scopes: frozenset[str]
    until: float
    routes: RouteTable
    trades: bool = False
    since: float = 0.0
    refusals: int = 10

    def permit(self, method: bytes, target: bytes, token: TxnToken, now: float, facts: Facts | None = None) -> Permit:
        """Return the Permit of a request with this verified token. ``target`` is in origin-form.

        ``facts`` are shown where a route has terms, and only there: without them no such route gives its Permit.

        Raises:
            GrantEnded: close the connection.
            AudienceBeyondGrant, ScopeBeyondGrant: the token is wider than the connection.
            AmbiguousPath: the path can be read in two ways.
            RouteNotAllowed, ScopeMissing, ActorNotAllowed: no rule allows it, or not with this token.
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
        permit = None
        for alternatives in self.routes.find(method, target):
            for route in alternatives:
                if route.scopes <= scopes and (route.actors is None or route.actors.admit(token.actors)):
                    if route.terms is not None and not met(alternatives, route, token, facts):
                        continue
                    if permit is None or route.permit.once:  # of several readings, one that takes it once decides
                        permit = route.permit
                    break
            else:
                raise _missing(alternatives, token, facts)
        if permit is None:
            raise RouteNotAllowed("no route of this connection's rules matches")
        return permit

    def withdrawn(self) -> "Grant":
        """Return it as it is once it was taken back: of the same peer, and ended."""
        return Grant(
            peer=self.peer,
            audiences=self.audiences,
            scopes=self.scopes,
            until=0.0,
            routes=self.routes,
            trades=self.trades,
            since=self.since,
            refusals=self.refusals,
        )


def route_that_trades(grant: Grant, method: bytes, target: bytes, now: float) -> Route | None:
    """Return the route of a request whose token is traded here; None where it has to bring a transaction token.

    It decides nothing but that: what the token that comes of it may do is for ``Grant.permit``.

    Raises:
        GrantEnded: nothing is asked for in its name any more; close the connection.
        AmbiguousPath: the path can be read in two ways, or trades in one of them alone.

    """
    if not now < grant.until:
        raise GrantEnded("an SVID of this connection has ended")
    found = [route for alternatives in grant.routes.find(method, target) for route in alternatives]
    asks = {route.ask for route in found}
    if len(asks) > 1:
        raise AmbiguousPath("the path has several readings or rules, and not every one trades the same token")
    return found[0] if found and found[0].ask is not None else None


def admit(policy: Policy, peer: Peer, until: float, since: float = 0.0) -> Grant:
    """Return the Grant of a connection that began at ``since``. ``until`` is the earlier end of the two SVIDs.

    Raises:
        PeerNotAllowed: no rule speaks of this peer; close before a byte reaches the app.

    """
    ceiling = policy.ceiling_of(peer.spiffe_id)
    if ceiling is None:
        raise PeerNotAllowed("no rule names this peer")
    return Grant(
        peer=peer,
        audiences=ceiling.audiences,
        scopes=ceiling.scopes,
        until=min(until, since + ceiling.max_s),
        routes=ceiling.routes,
        trades=ceiling.trades,
        since=since,
        refusals=ceiling.refusals,
    )


def met(alternatives: Alternatives, route: Route, token: TxnToken, facts: Facts | None) -> bool:
    """Whether the terms of this one of the alternatives are met. Raises Undecided."""
    return _refusal(alternatives, route, token, facts) is None


def _refusal(alternatives: Alternatives, route: Route, token: TxnToken, facts: Facts | None) -> ProxyError | None:
    if route.terms is None:
        return None
    if facts is None:
        raise Undecided(needs_body=any(each.terms is not None and each.terms.needs_body for each in alternatives))
    facts.route = route.template.path
    try:
        route.terms.check(facts, token.tctx)
    except (FactUnusable, FactUnauthorised, FactMismatch) as error:
        return error
    return None


def _missing(alternatives: Alternatives, token: TxnToken, facts: Facts | None) -> ProxyError:
    """Tell what would help: the fact, where scopes and actors suffice; then the actor; then the scopes of the first."""
    scopes = token.scopes
    for route in alternatives:
        if route.scopes <= scopes and (route.actors is None or route.actors.admit(token.actors)):
            refusal = _refusal(alternatives, route, token, facts)
            if refusal is not None:
                return refusal
    for route in alternatives:
        if route.scopes <= scopes:
            return ActorNotAllowed(f"the rule {route.permit.rule!r} does not name who acts in this token")
    first = alternatives[0]
    lacking = " ".join(sorted(first.scopes - scopes))
    return ScopeMissing(f"the rule {first.permit.rule!r} needs {lacking} for {first.template}")

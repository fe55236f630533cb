"""Audit mode: what the policy would refuse is decided, told, and let pass.

The law:

1. Only what the policy itself refuses: no route, a scope, an actor, a condition, a fact, a use of ``once``; with the
   listener in audit mode also the peer that no rule names. Never what comes before it: identity, the token and its
   signature, time and audience, framing, a path with two readings, limits; and never the end of a Grant.
2. What an enforced rule denies stays denied.
3. A rule in audit mode lets pass what its routes refuse, if every rule whose routes decide is in audit mode: beside an
   enforced alternative it opens nothing.
4. What no single rule refuses (no route at all, a token wider than the connection) passes if every rule that allows
   this peer something is in audit mode, or the listener is.
5. A rule with ``effect: deny`` in audit mode denies nothing; what it would deny needs to be allowed as everything else.
"""

from typing import Final

from proxy.errors import (
    ActorNotAllowed,
    AudienceBeyondGrant,
    ConditionUnmet,
    FactMismatch,
    FactUnauthorised,
    FactUnusable,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
    TransactionReplayed,
)
from proxy.policy.audited import audited
from proxy.policy.conditions import Question
from proxy.policy.grant import Grant, need_body
from proxy.policy.permit import Permit
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts

OF_THE_CEILING: Final = frozenset({AudienceBeyondGrant, ScopeBeyondGrant, RouteNotAllowed})
"""What no single rule refuses."""

OF_A_ROUTE: Final = frozenset(
    {ScopeMissing, ActorNotAllowed, ConditionUnmet, FactMismatch, FactUnauthorised, FactUnusable, TransactionReplayed}
)


def let_pass(
    grant: Grant, method: bytes, target: bytes, token: TxnToken, now: float, facts: Facts | None, refusal: ProxyError
) -> Permit:
    """Return the Permit of a request that ``grant`` has refused, if audit mode lets it pass.

    Raises:
        The refusal: it does not.
        DeniedByRule: an enforced rule denies it, which was not asked yet.
        AmbiguousPath: the same of its path.
        Undecided: no refusal; call again with ``facts``.

    """
    kind = type(refusal)
    if kind not in OF_A_ROUTE and (kind not in OF_THE_CEILING or not grant.audits):
        raise refusal
    found = grant.routes.find(method, target)
    if grant.denials is not None:
        question = Question(grant.peer, token, now, grant.until, facts)
        grant.denials.judge(method, target, question, needs_body=need_body(found))
    if not grant.audits and not (found and all(route.audits for alternatives in found for route in alternatives)):
        raise refusal
    return audited(found[0][0].permit if found else None, grant.barred or refusal.reason)

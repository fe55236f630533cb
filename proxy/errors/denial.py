"""What is proved and well-formed, and not allowed."""

from proxy.errors.reason import ProxyError


class Denied(ProxyError, group=True):
    """The policy does not allow it."""


class RouteNotAllowed(Denied):
    """No route of the grant matches."""


class ScopeMissing(Denied):
    """The route needs a scope that the token lacks."""


class BytesSpent(Denied):
    """The connection or tunnel has carried as many bytes as its rules allow."""


class BeyondGrant(Denied, group=True):
    """The token may be good, and this connection may never use it. Some of these end the connection."""


class ScopeBeyondGrant(BeyondGrant):
    """The token holds a scope that this connection may not use."""


class ActorNotAllowed(Denied):
    """Whoever acts for the subject may not use this route."""


class ConditionUnmet(Denied):
    """A condition of the rule does not hold, or cannot be told."""


class DeniedByRule(Denied):
    """A rule with `effect: deny` speaks of this request."""


class FactUnauthorised(Denied):
    """The token does not speak of a fact that the route holds it against."""


class FactMismatch(Denied):
    """A fact of the request is another than the one that the token authorises."""


class TransactionReplayed(Denied):
    """The route takes each transaction once, and has taken this one."""


class TransactionAmbiguous(Denied):
    """The request of the app could belong to several transactions."""


class TransactionMismatch(Denied):
    """The token that the app put in is of another transaction than the request that it works on."""


class AudienceBeyondGrant(BeyondGrant):
    """The token is for an audience that this connection may not use."""


class DestinationUnknown(Denied):
    """No destination has this authority."""


class AuthoriserDenied(Denied):
    """An authoriser outside of the policy refuses what the policy allows."""

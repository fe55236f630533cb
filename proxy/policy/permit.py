"""The Permit: without one nothing is forwarded, and only this room makes one (law 1)."""

from dataclasses import InitVar, dataclass

from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.limits import NO_LIMITS, TunnelLimits
from proxy.policy.settings import Propagation, Protection
from proxy.tokens.ask import Ask

SEAL = object()
"""Known inside ``proxy/policy`` alone; ``tests/house`` holds it. Who has not got it cannot make a Permit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Whom the app may call, how it is reached, and whether the transaction's token goes there.

    ``port`` None: any port. ``in_domain``: a workload of our own trust domain, the only kind that may see the token.
    ``ask`` None: never ask the token service for one. ``narrow`` None: the transaction's token goes as it is.
    ``settles``: one of the two is there, so that the transaction has to be looked at.
    """

    name: str
    host: str
    port: int | None
    address_host: str
    address_port: int
    protection: Protection
    spiffe_id: SpiffeId | None
    in_domain: bool
    ask: Ask | None
    propagate: Propagation = Propagation.NEVER
    narrow: frozenset[str] | None = None
    settles: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """This request may go on, by this rule.

    Inbound: the name of the rule and the route's template, both ours and few enough for a metric label. Outbound:
    the name of the destination, an empty route, and the destination. ``once``: the
    route that takes each transaction once, or empty; ``propagates``: the token is there for what the app does next;
    ``tunnel``: for what becomes one; ``audited``: the reason for which it would have been refused, were it not in audit
    mode.
    """

    seal: InitVar[object]
    rule: str
    route: str
    destination: Destination | None = None
    once: str = ""
    propagates: bool = True
    tunnel: TunnelLimits = NO_LIMITS
    audited: str = ""

    def __post_init__(self, seal: object) -> None:
        if seal is not SEAL:
            raise TypeError("only proxy/policy makes a Permit: ask a Grant or the Destinations for it")

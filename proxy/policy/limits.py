"""How much one connection may do, and for how long: the part of a rule that is a number.

Rules that name the same peer are alternatives, as everywhere: a connection has the widest room, time and patience of
them. A tunnel was permitted by one rule, and has the limits of that one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.policy.settings import LimitSettings, TokenNeed, TunnelEnd

UNLIMITED: Final = 0
"""As a number of bytes."""

FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class TunnelLimits:
    """What one tunnel may carry (both ways together), how long it lasts, and whether it ends with its token.

    ``bare``: it needs none.
    """

    max_bytes: int = UNLIMITED
    max_s: float = FOREVER
    ends_with_token: bool = True
    bare: bool = False


NO_LIMITS: Final = TunnelLimits()


def tunnel_limits(settings: LimitSettings, need: TokenNeed, ends: TunnelEnd) -> TunnelLimits:
    """Return the limits of the tunnels of one route."""
    return TunnelLimits(
        settings.max_bytes or UNLIMITED,
        settings.max_s or FOREVER,
        ends is TunnelEnd.TOKEN,
        need is TokenNeed.NONE,
    )


def widest_bytes(rules: Iterable[LimitSettings]) -> int:
    """How many bytes of bodies a connection of these rules may carry, both ways together."""
    wanted = [limits.max_bytes or UNLIMITED for limits in rules]
    return UNLIMITED if UNLIMITED in wanted else max(wanted, default=UNLIMITED)


def widest_s(rules: Iterable[LimitSettings]) -> float:
    """How long a connection of these rules may last."""
    return max((limits.max_s or FOREVER for limits in rules), default=FOREVER)


def most_refusals(rules: Iterable[LimitSettings]) -> int:
    """How many tokens beyond its Grant a connection may show; the last of them ends it."""
    return max((limits.refusals for limits in rules), default=LimitSettings().refusals)

"""How long a connection lives: it ends in good order before the identities that proved it do.

Ten thousand connections that were opened in one minute, after a deployment, must not all be opened again in one minute
an hour later: so each takes away a part of its own by chance.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeSettings:
    """When a connection takes no new request any more. ``percent`` is of what is left of the SVIDs when it begins."""

    percent: int = 90  # the rest is for what is in progress, and for clocks that differ
    jitter_percent: int = 20  # of the time so found: at an hour, new connections come over more than ten minutes
    max_age_s: float = 3600.0  # the usual life of an SVID: by then the other side has changed, or its address has


def serves_s(left_s: float, chance: float, settings: LifetimeSettings) -> float:
    """Return for how long a connection takes new requests whose SVIDs end in ``left_s``.

    ``chance`` is from 0 to 1, made anew for each. Without identities ``left_s`` is infinite, and age alone counts.
    """
    serves = min(left_s * settings.percent / 100, settings.max_age_s)
    return serves * (1 - settings.jitter_percent / 100 * chance)

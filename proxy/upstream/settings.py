"""How connections to the other side are kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Seconds and counts, for each key of the pool (destination and expected identity)."""

    connect_timeout_s: float = 5.0
    idle_s: float = 4.0  # below the 5 s after which common app servers close: else each close is a race
    max_connections: int = 1024
    max_idle: int = 256

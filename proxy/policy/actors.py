"""Which actors a rule speaks of: the ``sub`` of the outermost ``act``, the one who acts now (RFC 8693 section 4.1).

============= =================================================================
``none``      the subject acts itself: the token has no ``act``
``agent-7``   exactly this actor
``agents/*``  every actor whose name begins so; ``*`` alone is every actor
============= =================================================================

The history inside ``act`` takes no part, and neither does the peer: who speaks to us stands in its certificate, on
whose behalf in ``sub``, and through whom in ``act``. A rule may ask for each, and none can stand in for another.
"""

from dataclasses import dataclass

NONE = "none"


class InvalidActor(ValueError):
    """Not a pattern of actors; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    """The actors of one rule."""

    none: bool
    names: frozenset[str]
    prefixes: tuple[str, ...]

    def admit(self, actors: tuple[str, ...]) -> bool:
        """Whether a token with these actors, the one who acts now first, is one that the rule speaks of."""
        if not actors:
            return self.none
        return actors[0] in self.names or actors[0].startswith(self.prefixes)


def parse_actors(patterns: tuple[str, ...]) -> Actors | None:
    """Read the patterns of a rule; None where there are none, and whoever acts may act. Raises InvalidActor."""
    if not patterns:
        return None
    for pattern in patterns:
        if not pattern or not pattern.isprintable() or pattern != pattern.strip() or "*" in pattern[:-1]:
            raise InvalidActor("write none, the name of an actor, or the beginning of names with * at its end")
    named = [pattern for pattern in patterns if pattern != NONE]
    return Actors(
        none=NONE in patterns,
        names=frozenset(pattern for pattern in named if not pattern.endswith("*")),
        prefixes=tuple(pattern[:-1] for pattern in named if pattern.endswith("*")),
    )

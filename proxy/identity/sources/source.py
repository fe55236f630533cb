"""What every source of an identity is to the sidecar, and what the sidecar is to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.workload_api.failure import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whom a source tells what happens.

    ``loaded``: whether a new identity was taken, and what happened, in words for a person. ``taken_back``: it was taken
    away, and why. Of an agent also, by the name of its stream: ``stream``, whether it is open and has brought
    something, and ``failed``.
    """

    loaded: Callable[[bool, str], None]
    taken_back: Callable[[str], None]
    stream: Callable[[str, bool], None]
    failed: Callable[[str, Failure], None]


class IdentitySource(Protocol):
    """Fills the ``IdentityStore`` from somewhere, and keeps it new."""

    @property
    def trouble(self) -> str:
        """What is wrong with the source now, in words for a person; empty where it is well."""
        ...

    def begin(self) -> None:
        """Take what can be had without waiting, so that a start with files is ready at once. Never raises."""

    async def watch(self) -> None:
        """Keep the store new. Never raises for what the source gives, or fails to give."""

    def ask_anew(self) -> None:
        """Look again soon, also where it was given up: an operator says that it may be well now."""

    def close(self) -> None:
        """Let go of what is open; after the end of ``watch``."""

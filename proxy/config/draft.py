"""What was read so far, before anybody knows whether it holds together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.config.address import HostPort
from proxy.config.allowed import OUTBOUND_LISTEN
from proxy.config.document import Scalar
from proxy.config.problem import Bad, Place
from proxy.config.sections import INBOUND_LISTEN
from proxy.config.value import shown

MIN_TELLING = 4
"""Characters. A shorter value that occurs in a message is a syllable of it, and tells nobody anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The good values by their keys, the line of all that is written, and where to put problems.

    What is written but is not among the values was bad, and has been told. ``expanded``: the values that have something
    of the environment in them.
    """

    values: Mapping[str, Any]
    lines: Mapping[str, int]
    expanded: Mapping[str, Scalar]
    root: Place
    environ: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """The good value at ``a.b.c``; None if there is none."""
        found: Any = self.values
        for name in path.split("."):
            if not isinstance(found, Mapping) or name not in found:
                return None
            found = found[name]
        return found

    def items(self, path: str) -> list[tuple[int, Any]]:
        """The good items of a list, with their numbers."""
        return [(index, item) for index, item in enumerate(self.get(path) or ()) if not isinstance(item, Bad)]

    def is_written(self, path: str) -> bool:
        """Whether it stands in the file, good or bad."""
        return path in self.lines

    def listen(self, section: str, default: HostPort) -> HostPort | None:
        """Where this section listens; None if that is unknown, or if it does not listen at all."""
        if self.is_written(f"{section}.listen"):
            found: HostPort | None = self.get(f"{section}.listen")
            return found
        return default

    def inbound(self) -> HostPort | None:
        """Where the mesh reaches us."""
        return self.listen("inbound", INBOUND_LISTEN) if self.is_written("inbound") else None

    def outbound(self) -> HostPort | None:
        """Where the app reaches us; None where all it has are ports for raw TCP."""
        return self.listen("outbound", OUTBOUND_LISTEN) if self.is_written("outbound.destinations") else None

    def refuse(self, path: str, message: str, *, near: str = "") -> None:
        """Note a problem on the line of ``path``, or of the nearest that is written around it (or of ``near``)."""
        around = near or path
        while around not in self.lines:
            around = around[: max(around.rfind("."), around.rfind("["), 0)]
        Place(path, self.root.problems).refuse(self.lines[around], self._without_values(path, message))

    def _without_values(self, path: str, message: str) -> str:
        """The message without what came from the environment; other rooms do not know which values did."""
        for below, node in self.expanded.items():
            if not below.startswith(path):
                continue
            message = message.replace(repr(node.text), shown(node))
            if len(node.text) >= MIN_TELLING and node.text in message:
                message = f"{shown(node)} does not fit here"
        return message

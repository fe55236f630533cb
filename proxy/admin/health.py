"""Readiness as a list of gates: the sidecar is ready when every one of them is open, and says which is not, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Gate(StrEnum):
    """What must hold before a request may come."""

    SVID = "svid"
    BUNDLE = "bundle"
    KEYS = "keys"
    POLICY = "policy"
    REVOCATIONS = "revocations"
    LISTENERS = "listeners"
    NOT_DRAINING = "not_draining"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one gate. ``detail`` is for people and stands on a port that anyone may ask: no secret is in it."""

    ok: bool
    detail: str


class Health:
    """The gates of one sidecar; every one but ``not_draining`` is closed at first."""

    __slots__ = ("_findings",)

    def __init__(self, gates: Iterable[Gate] = Gate) -> None:
        self._findings = {
            gate: Finding(ok=True, detail="serving")
            if gate is Gate.NOT_DRAINING
            else Finding(ok=False, detail="not yet")
            for gate in gates
        }

    def set(self, gate: Gate, ok: bool, detail: str) -> None:  # noqa: FBT001 - the gate's own value
        """Open or close a gate.

        Raises:
            KeyError: this sidecar has no such gate.

        """
        if gate not in self._findings:
            raise KeyError(f"there is no gate {gate}")
        self._findings[gate] = Finding(ok, detail)

    def hear(self, ok: bool) -> None:  # noqa: FBT001 - as above
        """Open or close the gate of revocations, where this sidecar has it: every source was heard lately, or not."""
        if Gate.REVOCATIONS in self._findings:
            self.set(Gate.REVOCATIONS, ok, "heard" if ok else "a source of revocations is silent")

    @property
    def ready(self) -> bool:
        """Whether every gate is open."""
        return all(finding.ok for finding in self._findings.values())

    @property
    def findings(self) -> Mapping[Gate, Finding]:
        """Every gate with its state, in the order of ``Gate``."""
        return self._findings

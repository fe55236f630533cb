"""Gates."""

import pytest

from proxy.admin.health import Gate, Health


def opened() -> Health:
    """All gates open."""
    health = Health()
    for gate in Gate:
        health.set(gate, True, "loaded")
    return health


def test_ready_when_every_gate_is_open() -> None:
    """Not before."""
    assert not Health().ready
    assert opened().ready


@pytest.mark.parametrize("gate", Gate)
def test_each_gate_alone_keeps_it_from_being_ready(gate: Gate) -> None:
    """And opens it again."""
    health = opened()
    health.set(gate, False, "gone")
    verdicts = [health.ready]
    health.set(gate, True, "back")
    verdicts.append(health.ready)
    assert verdicts == [False, True]


def test_gates_begin_closed_but_for_draining() -> None:
    """A gate that nobody has opened says so."""
    findings = Health().findings
    assert [gate for gate, finding in findings.items() if finding.ok] == [Gate.NOT_DRAINING]
    assert findings[Gate.SVID].detail == "not yet"


def test_gates_are_those_that_were_chosen() -> None:
    """A sidecar without an inbound side has no policy gate; setting it is a mistake that shows."""
    health = Health([Gate.SVID, Gate.NOT_DRAINING])
    health.set(Gate.SVID, True, "loaded")
    assert health.ready
    with pytest.raises(KeyError, match="policy"):
        health.set(Gate.POLICY, True, "loaded")


def test_names_are_those_that_probes_hold() -> None:
    """Scripts read them."""
    assert [*Gate] == ["svid", "bundle", "keys", "policy", "revocations", "listeners", "not_draining"]

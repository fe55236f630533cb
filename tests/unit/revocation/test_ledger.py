"""What is said to be kept is kept before it is in force."""

from pathlib import Path

import pytest
from support.revocation import NOW, Clock, entry

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Revoked
from proxy.revocation.freshness import Freshness
from proxy.revocation.ledger import ADMIN, FEED, STATE, Ledger
from proxy.revocation.register import DEFAULT_TTL_S, Register


class World:
    """One process with a ledger."""

    def __init__(self, state: Path | None, max_entries: int = 3) -> None:
        self.clock = Clock()
        self.freshness = Freshness([STATE], 10.0, self.clock)
        self.register = Register(Revoked(), max_entries, 300.0, lambda: None)
        self.ledger = Ledger(state, self.register, self.freshness, self.clock)
        self.ledger.look()

    def known(self) -> set[str]:
        """What is revoked."""
        self.ledger.look()
        return {one.value for one in self.register.revoked}


def test_processes_agree(tmp_path: Path) -> None:
    """One puts, the other lifts, a third comes later."""
    one, other = World(tmp_path / "s"), World(tmp_path / "s")
    put = one.ledger.put(ADMIN, [entry(txn="a")])[0]
    assert (put.told, put.expires) == (NOW, NOW + DEFAULT_TTL_S)
    one.ledger.put(FEED, [entry(txn="b")])
    assert other.known() == {"a", "b"}
    assert other.ledger.drop(ADMIN, [put.id, "unknown"]) == 1
    for world in (one, other, World(tmp_path / "s")):
        assert world.known() == {"b"}
        assert world.ledger.is_kept
        assert world.freshness.stale == []


def test_what_cannot_be_kept_is_not_in_force(tmp_path: Path) -> None:
    """The caller is told, and comes again."""
    world = World(tmp_path / "s")
    (tmp_path / "s").chmod(0o666)
    with pytest.raises(RevocationsInvalid):
        world.ledger.put(ADMIN, [entry(txn="a")])
    assert "chmod 600" in world.ledger.look()
    assert world.ledger.look() == ""
    assert {one.value for one in world.register.revoked} == set()
    world.clock.now += 11
    assert world.freshness.stale == [STATE]


def test_what_has_no_room_is_not_kept_either(tmp_path: Path) -> None:
    """All of it or nothing."""
    world = World(tmp_path / "s")
    with pytest.raises(RevocationsInvalid, match="max_entries"):
        world.ledger.put(ADMIN, [entry(txn=name) for name in "abcd"])
    assert (tmp_path / "s").read_bytes() == b""
    assert world.known() == set()


def test_without_a_state() -> None:
    """It ends with the process."""
    world = World(None)
    put = world.ledger.put(ADMIN, [entry(txn="a")])[0]
    assert world.known() == {"a"}
    assert not world.ledger.is_kept
    world.ledger.tidy()
    assert world.ledger.drop(ADMIN, [put.id]) == 1


def test_a_file_that_was_taken_away(tmp_path: Path) -> None:
    """Nothing is kept any more, so nothing is in force: as the file says, in every process."""
    world = World(tmp_path / "s")
    world.ledger.put(ADMIN, [entry(txn="a")])
    world.ledger.look()
    (tmp_path / "s").unlink()
    assert world.known() == set()

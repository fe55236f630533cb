"""The list in a file: what it adds at once, what it lifts when it is quiet, and nothing of it while it is broken."""

import os
from pathlib import Path

import pytest
from support.revocation import Clock, entry

from proxy.config.revocation import read_yaml
from proxy.policy.revocation import Revoked
from proxy.revocation.file import QUIET_S, FileSource
from proxy.revocation.freshness import Freshness
from proxy.revocation.register import Register


class World:
    """A file, and who reads it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.path = folder / "revoked.yaml"
        self.freshness = Freshness(["file"], 10.0, self.clock)
        self.register = Register(Revoked(), 3, 300.0, lambda: None)
        self.source = FileSource(self.path, self.register, self.freshness, self.clock, read_yaml)
        self.writes = 0

    def write(self, *txns: str) -> None:
        """Write the list in place."""
        self.raw("revoked:\n" + "".join(f"  - txn: {txn}\n" for txn in txns) if txns else "revoked: []\n")

    def raw(self, text: str) -> None:
        """Write anything; each time at another moment, however fast a test is."""
        self.path.write_text(text)
        self.writes += 1
        os.utime(self.path, ns=(self.writes, self.writes))

    def known(self) -> set[str]:
        """What is revoked."""
        return {one.value for one in self.register.revoked}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One for each test."""
    return World(tmp_path)


def test_it_adds_at_once_and_lifts_later(world: World) -> None:
    """At the end of the time, and not before; a clock that is set back lifts it too, not never."""
    world.write("a", "b")
    assert "2 entries" in world.source.look()
    world.write("b", "c")
    world.source.look()
    assert world.known() == {"a", "b", "c"}
    world.clock.now += QUIET_S - 0.01
    assert world.source.look() == ""
    assert world.known() == {"a", "b", "c"}
    world.clock.now += 0.01
    world.source.look()
    assert world.known() == {"b", "c"}


def test_what_is_written_in_place_is_never_too_short(world: World) -> None:
    """Each half of it is a good list; none of them lifts anything."""
    world.write("a", "b", "c")
    world.source.look()
    world.clock.now += QUIET_S
    for half in ("revoked: []\n", "revoked:\n  - txn: a\n", "revoked:\n  - txn: a\n  - txn: b\n  - txn: c\n"):
        world.raw(half)
        world.source.look()
        world.clock.now += QUIET_S / 2
        assert world.known() == {"a", "b", "c"}
    world.clock.now += QUIET_S
    world.source.look()
    assert world.known() == {"a", "b", "c"}


@pytest.mark.parametrize("broken", ["", "revoked:\n  - tx: a\n", "revoked:\n  - {txn: a}\n  - {txn: b}\n - {"])
def test_the_last_good_stays(world: World, broken: str) -> None:
    """It is told once; the word of the file grows old meanwhile; and what is mended counts."""
    world.write("a")
    world.source.look()
    world.raw(broken)
    told = world.source.look()
    assert "the last good list stays" in told
    assert str(world.path) in told
    for _ in range(20):
        world.clock.now += 1
        assert world.source.look() == ""
    assert world.known() == {"a"}
    assert world.freshness.stale == ["file"]
    world.write("b")
    world.source.look()
    assert world.freshness.stale == []
    assert "b" in world.known()


def test_gone_and_come_again(world: World) -> None:
    """Also as another kind of file, which stops nobody."""
    assert "cannot be read" in world.source.look()
    world.write("a")
    world.source.look()
    world.path.unlink()
    os.mkfifo(world.path)
    assert "not a regular file" in world.source.look()
    assert world.known() == {"a"}
    world.path.unlink()
    world.write("a")
    world.source.look()
    assert world.freshness.last_errors == {}


def test_a_list_that_is_too_long(world: World) -> None:
    """Is refused whole. One for which there is no room beside the old one takes its place, when it is quiet."""
    world.write("a", "b")
    world.source.look()
    for txns, known, said in (("cdef", {"a", "b"}, "max_entries"), ("cd", {"c", "d"}, "")):
        world.write(*txns)
        world.source.look()
        assert world.known() == {"a", "b"}
        world.clock.now += QUIET_S
        assert said in world.source.look()
        assert world.known() == known


def test_a_link_that_is_swapped(world: World, tmp_path: Path) -> None:
    """As a Kubernetes volume does it."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"revoked: [{{txn: {name}}}]\n")
    world.path.symlink_to(tmp_path / "one")
    world.source.look()
    (tmp_path / "new").symlink_to(tmp_path / "two")
    (tmp_path / "new").rename(world.path)
    world.source.look()
    assert world.known() == {"one", "two"}
    assert entry(txn="two").id in world.register.entries("file")

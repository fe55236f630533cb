"""Ends of connections: in good order, then hard; and all judged anew without holding the loop."""

import asyncio
import itertools

import pytest

from proxy.net.deadlines import NEVER, Deadlines
from proxy.net.lifetimes import LOOK_S, TURN_S, Lifetimes
from proxy.net.tasks import Tasks


class Connection:
    """One that keeps what it is told."""

    def __init__(self, retires_at: float = NEVER, ends_at: float = NEVER) -> None:
        self.retires_at = retires_at
        self.ends_at = ends_at
        self.told: list[str] = []
        self.fails = False

    def retire(self) -> None:
        """Take it."""
        self.told.append("retire")
        self.retires_at = NEVER
        if self.fails:
            raise RuntimeError("a fault")

    def end(self) -> None:
        """Take it."""
        self.told.append("end")
        self.ends_at = NEVER


class World:
    """Lifetimes with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.tasks = Tasks("test")
        self.lifetimes: Lifetimes[Connection] = Lifetimes(self.deadlines, self.tasks, lambda: self.now)

    def look(self, now: float) -> None:
        """Look then."""
        self.now = now
        self.lifetimes.on_deadline()


async def test_first_in_good_order_then_hard() -> None:
    """Each at its time, once."""
    world, one = World(), Connection(110, 120)
    world.lifetimes.add(one)
    for now in (109.0, 110.0, 115.0):
        world.look(now)
    assert one.told == ["retire"]
    for now in (120.0, 121.0):
        world.look(now)
    assert one.told == ["retire", "end"]
    world.deadlines.close()


async def test_the_next_look_is_no_later_than_the_next_end() -> None:
    """An end between two looks is not missed; what is far away costs one look a second."""
    world, one = World(), Connection(NEVER, 100.3)
    world.lifetimes.add(one)
    assert world.lifetimes.deadline == 100.3
    world.look(100.3)
    assert (one.told, world.lifetimes.deadline) == (["end"], 100.3 + LOOK_S)
    world.deadlines.close()


async def test_it_is_watched_while_there_are_connections() -> None:
    """An idle process is not woken for nothing."""
    world, one = World(), Connection()
    world.lifetimes.add(one)
    world.lifetimes.add(one)
    assert len(world.deadlines) == 1
    world.lifetimes.discard(one)
    world.lifetimes.discard(one)
    assert len(world.deadlines) == 0
    world.deadlines.close()


async def test_a_fault_of_one_does_not_let_the_others_live_on(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    world, all_of_them = World(), [Connection(110) for _ in range(3)]
    for one in all_of_them:
        one.fails = True
        world.lifetimes.add(one)
    world.look(111)
    assert [one.told for one in all_of_them] == [["retire"]] * 3
    assert "could not be ended" in caplog.text
    world.deadlines.close()


async def test_judging_lets_the_loop_run() -> None:
    """Thousands are judged some at a time, each once; a fault ends the one that it is about."""
    world, all_of_them = World(), [Connection() for _ in range(100)]
    for one in all_of_them:
        world.lifetimes.add(one)
    turns = itertools.count()

    def judge(one: Connection) -> None:
        world.now += TURN_S / 10
        one.told.append("judged")
        if one is all_of_them[5]:
            raise RuntimeError("a fault")

    world.lifetimes.judge(judge)
    while not all(one.told for one in all_of_them):
        next(turns)
        await asyncio.sleep(0)
    assert next(turns) >= 9
    assert [one.told for one in all_of_them if one.told != ["judged"]] == [["judged", "end"]]
    await world.tasks.close()
    world.deadlines.close()


async def test_a_change_while_judging_is_judged_next() -> None:
    """The round goes on to its end, so that changes that come fast reach all; then comes the newest."""
    world, all_of_them = World(), [Connection() for _ in range(30)]
    for one in all_of_them:
        world.lifetimes.add(one)

    def judge(one: Connection, name: str) -> None:
        world.now += TURN_S / 10
        one.told.append(name)

    for name in ("first", "second", "third"):
        world.lifetimes.judge(lambda one, name=name: judge(one, name))  # type: ignore[misc]
        await asyncio.sleep(0)
    while not all("third" in one.told for one in all_of_them):
        await asyncio.sleep(0)
    assert all(one.told[0] == "first" for one in all_of_them)
    await world.tasks.close()
    world.deadlines.close()

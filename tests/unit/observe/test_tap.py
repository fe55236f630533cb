"""Who looks on sees what comes from then on, in order, once; nothing is kept for nobody."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.net.tasks import Tasks
from proxy.observe import tap as module
from proxy.observe.tap import MAX_HELD, MAX_SEEN, Seen, Tap

SOON_S = 0.05


@pytest.fixture
async def tap() -> AsyncIterator[Tap[int]]:
    """An open one: somebody has looked."""
    made: Tap[int] = Tap(asyncio.get_running_loop())
    states = [made.is_open]
    assert await made.after(None, 0) == Seen(0, 0, ())
    assert [*states, made.is_open] == [False, True]
    yield made
    made.close()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    """Where those wait who look on."""
    made = Tasks("onlookers")
    yield made
    await made.close()


async def test_each_record_is_seen_once_and_in_order(tap: Tap[int]) -> None:
    """By two who look on at different times, too."""
    tap.put(1)
    tap.put(2)
    assert await tap.after(0, 9) == Seen(2, 0, (1, 2))
    tap.put(3)
    assert await tap.after(2, 9) == Seen(3, 0, (3,))
    assert await tap.after(1, 9) == Seen(3, 0, (2, 3))
    assert await tap.after(3, SOON_S) == Seen(3, 0, ())


async def test_it_waits_for_the_first(tap: Tap[int], tasks: Tasks) -> None:
    """All who wait get it; what came before they asked is not for those who ask for what comes from now on."""
    tap.put(1)
    saw: list[Seen[int]] = []

    async def look(number: int | None) -> None:
        saw.append(await tap.after(number, 9))

    waiting = [tasks.spawn(look(number), "looks on") for number in (None, 1, 1)]
    await asyncio.sleep(0)
    assert not saw
    tap.put(2)
    await asyncio.gather(*waiting)
    assert saw == [Seen(2, 0, (2,))] * 3


@pytest.mark.parametrize("more", [0, 1, 500])
async def test_who_is_too_slow_is_told_so(tap: Tap[int], more: int) -> None:
    """As many as are held are there, and one more is one missed."""
    for number in range(1, MAX_HELD + more + 1):
        tap.put(number)
    seen = await tap.after(0, 9)
    assert (seen.missed, len(seen.records)) == (more, MAX_SEEN)
    assert seen.records[0] == more + 1
    everything = list(seen.records)
    while seen.number < MAX_HELD + more:
        seen = await tap.after(seen.number, 9)
        assert seen.missed == 0
        everything += seen.records
    assert everything == list(range(more + 1, MAX_HELD + more + 1))


async def test_a_number_of_a_sidecar_before_us(tap: Tap[int]) -> None:
    """It was restarted: what it has is shown from the beginning."""
    tap.put(1)
    assert await tap.after(5000, 9) == Seen(1, 0, (1,))


async def test_nobody_is_there_any_more(tap: Tap[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is kept or counted; who comes again is told so at once, and begins anew."""
    monkeypatch.setattr(module, "LEFT_S", SOON_S)
    tap.put(1)
    assert await tap.after(0, 9) == Seen(1, 0, (1,))
    await asyncio.sleep(4 * SOON_S)
    states = [tap.is_open]
    async with asyncio.timeout(9):
        back = await tap.after(1, 60)
    assert (back.missed, back.records) == (None, ())
    assert [*states, tap.is_open] == [False, True]
    tap.put(2)
    assert await tap.after(back.number, 9) == Seen(back.number + 1, 0, (2,))
    assert (await tap.after(1, 9)).missed is None


async def test_the_end_lets_everybody_go(tap: Tap[int], tasks: Tasks) -> None:
    """At once, who waits and who asks later; and it stays closed."""

    async def look() -> None:
        assert await tap.after(None, 60) == Seen(0, 0, ())

    waiting = tasks.spawn(look(), "looks on")
    await asyncio.sleep(0)
    tap.close()
    async with asyncio.timeout(5):
        await waiting
        await look()
    assert not tap.is_open

"""``/tap``: those who look on cost requests little, however many they are, however often they ask."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import pytest

from proxy.admin.tap_path import MAX_BYTES, MAX_ONLOOKERS, MIN_REST_S, tap_path
from proxy.control.message import Request, Response
from proxy.net.tasks import Tasks
from proxy.observe.access_log import AccessRecord, line
from proxy.observe.tap import MAX_SEEN, Tap

SERVICE = "orders"
RECORD = AccessRecord(1.0, "request", "inbound", "allow")
START = Request("GET", "/tap", "after=0")


class Onlooking:
    """A tap with its path, and tasks to ask it in."""

    def __init__(self) -> None:
        self.tap: Tap[AccessRecord] = Tap(asyncio.get_running_loop())
        self.tasks = Tasks("onlookers")
        self.answers: list[Response] = []
        self._handler = tap_path(self.tap, SERVICE)["/tap"].handler

    async def ask(self, request: Request = START) -> Response:
        """Ask, and wait for the answer."""
        answer = await self._handler(request)
        self.answers.append(answer)
        return answer

    async def begin(self, number: int, request: Request = START) -> list["asyncio.Task[None]"]:
        """So many ask, and wait."""

        async def one() -> None:
            await self.ask(request)

        begun = [self.tasks.spawn(one(), "asks") for _ in range(number)]
        await asyncio.sleep(0)
        return begun


@pytest.fixture
async def onlooking() -> AsyncIterator[Onlooking]:
    """It, ended in the end."""
    made = Onlooking()
    yield made
    made.tap.close()
    await made.tasks.close()


def data(answer: Response) -> dict[str, Any]:
    """What it holds."""
    assert answer.status == 200
    read: dict[str, Any] = json.loads(answer.body)
    return read


async def test_so_many_may_look_on_and_no_more(onlooking: Onlooking) -> None:
    """The next is told to come again, while the others wait; and one that has hung up makes room."""
    first, *_ = await onlooking.begin(MAX_ONLOOKERS)
    refused = await onlooking.ask()
    assert (refused.status, dict(refused.fields)["Retry-After"]) == (503, "10")
    first.cancel()
    await asyncio.sleep(0)
    more = await onlooking.begin(1)
    onlooking.tap.put(RECORD)
    await asyncio.gather(*more)
    assert len(data(onlooking.answers[-1])["records"]) == 1


async def test_all_who_wait_see_it_in_turn(onlooking: Onlooking) -> None:
    """With a rest after each, so that a crowd is not served in one breath."""
    crowd = await onlooking.begin(MAX_ONLOOKERS)
    onlooking.tap.put(RECORD)
    began = perf_counter()
    await asyncio.gather(*crowd)
    assert perf_counter() - began >= (MAX_ONLOOKERS - 1) * MIN_REST_S
    assert [len(data(answer)["records"]) for answer in onlooking.answers] == [1] * MAX_ONLOOKERS


async def test_who_asks_without_end_gets_a_part_of_the_loop(onlooking: Onlooking) -> None:
    """Full answers, as fast as they come: the loop has most of its time for others."""
    await onlooking.tap.wait(None, 0)
    for _ in range(MAX_SEEN):
        onlooking.tap.put(RECORD)

    async def without_end() -> None:
        while True:
            await onlooking.ask()

    for _ in range(8):
        onlooking.tasks.spawn(without_end(), "asks without end")
    turns, until = 0, perf_counter() + 0.5
    while perf_counter() < until:
        await asyncio.sleep(0)
        turns += 1
    assert 1 < len(onlooking.answers) <= 0.5 / MIN_REST_S + 1
    assert turns > 100 * len(onlooking.answers)


@pytest.mark.parametrize(("length", "shown"), [(1, MAX_SEEN), (2048, None)])
async def test_an_answer_has_so_many_bytes(length: int, shown: int | None, onlooking: Onlooking) -> None:
    """What has no room is not lost: the next answer begins with it."""
    await onlooking.tap.wait(None, 0)
    long = RECORD._replace(txn="\U0001f600" * length)
    each = len(line(long, SERVICE)) - 1
    for _ in range(MAX_SEEN):
        onlooking.tap.put(long)
    first = data(await onlooking.ask())
    assert len(first["records"]) == (shown or MAX_BYTES // each)
    assert first["next"] == len(first["records"])
    onlooking.tap.put(RECORD)
    second = data(await onlooking.ask(Request("GET", "/tap", f"after={first['next']}")))
    assert (second["missed"], second["next"]) == (0, first["next"] + len(second["records"]))


async def test_one_record_is_shown_however_long(onlooking: Onlooking) -> None:
    """Or nobody would ever get past it."""
    await onlooking.tap.wait(None, 0)
    onlooking.tap.put(RECORD._replace(through=("x" * 2048,) * (MAX_BYTES // 1024)))
    onlooking.tap.put(RECORD)
    answer = data(await onlooking.ask())
    assert (answer["next"], len(answer["records"])) == (1, 1)


async def test_who_was_away_is_told_so(onlooking: Onlooking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has counted, so no number is given."""
    monkeypatch.setattr("proxy.observe.tap.LEFT_S", 0.01)
    await onlooking.tap.wait(None, 0)
    onlooking.tap.put(RECORD)
    await asyncio.sleep(0.1)
    answer = data(await onlooking.ask(Request("GET", "/tap", "after=1")))
    assert (answer["missed"], answer["records"]) == (None, [])

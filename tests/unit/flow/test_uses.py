"""uses.py: one list of used transactions for several processes: each use once, whoever is killed, hangs or starts anew."""

import asyncio
import multiprocessing
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.errors import (
    SiblingUnavailable,
    TransactionReplayed,
    UsedTransactionsFull,
)
from proxy.flow import uses as module
from proxy.flow.settings import InboundSettings, ListenerSettings, SharingSettings
from proxy.flow.uses import NAME, Uses, uses_for
from proxy.net.accept import ListenFailed
from proxy.tokens.once import use_of

NOW, EXP, WINDOW_S = 1_800_000_000.0, 1_800_000_010.0, 100.0
RECORD_BYTES = 32

Make = Callable[..., Uses]


def make_uses(folder: Path | None, most: int = 10, timeout_s: float = 0.05) -> Uses:
    """As one process has it."""
    inbound = InboundSettings(
        listener=ListenerSettings(host="127.0.0.1", port=0),
        app_host="127.0.0.1",
        app_port=1,
        used_transactions=most,
        used_window_s=WINDOW_S,
    )
    made = uses_for(inbound, None if folder is None else SharingSettings(folder=folder, timeout_s=timeout_s))
    made.start(NOW)
    return made


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Processes that share the folder."""
    made: list[Uses] = []

    def begin(most: int = 10) -> Uses:
        made.append(make_uses(tmp_path, most))
        return made[-1]

    yield begin
    for one in made:
        one.close()


def use(uses: Uses, txn: str, exp: float = EXP, now: float = NOW) -> bool:
    """Whether a use passes; it is the first, or it was used before."""
    assert uses.begin()
    try:
        uses.use("POST /pay", txn, exp, now)
    except TransactionReplayed:
        return False
    return True


def test_what_one_has_used_no_other_uses(make: Make) -> None:
    """Nor one that starts later, when all others have ended; another transaction, or route, is another use."""
    one, two = make(), make()
    assert use(two, "s"), "nobody has the list who has only begun"
    assert use(one, "t")
    assert not use(two, "t")
    assert not use(one, "t")
    assert use(two, "u")
    one.close()
    two.close()
    three = make()
    assert not use(three, "t")
    assert not use(three, "u")
    assert use(three, "v")
    assert three.begin()
    three.use("POST /other", "t", EXP, NOW)


def test_without_a_folder_each_has_its_own() -> None:
    """As before: and nobody waits for anybody."""
    one, two = make_uses(None), make_uses(None)
    assert use(one, "t")
    assert use(two, "t")
    assert not use(one, "t")
    one.end()
    one.close()


def test_it_is_forgotten_by_all_at_the_same_time(make: Make) -> None:
    """At the end of the window; a refused token of the transaction that lives longer keeps it longer for all."""
    one, two, three = make(), make(), make()
    assert use(one, "short")
    assert use(one, "long")
    assert not use(two, "long", NOW + 300)
    assert use(three, "short", NOW + 200, NOW + WINDOW_S)
    assert not use(three, "long", NOW + 400, NOW + 299)
    assert not use(one, "long", NOW + 400, NOW + 399)
    assert use(one, "long", NOW + 500, NOW + 400)


def test_the_bound_counts_the_uses_of_all(make: Make) -> None:
    """The last that has room, the first that has none; a known one is still told apart; time makes room."""
    one, two = make(3), make(3)
    assert [use(one, "0"), use(two, "1"), use(one, "2", NOW + 50)] == [True] * 3
    for uses in (one, two):
        with pytest.raises(UsedTransactionsFull):
            use(uses, "3")
        assert not use(uses, "0")
        assert uses.fullness(NOW) == 1
    assert use(two, "3", NOW + 200, NOW + WINDOW_S)


def test_the_file_is_swept_away(make: Make, tmp_path: Path) -> None:
    """Nobody forgets: not what was noted by others since the last look, nor whoever looks late."""
    one, two, three = make(), make(), make()
    assert use(one, "by-one")
    assert use(two, "by-two")
    (tmp_path / NAME).unlink()
    assert not use(three, "by-two")
    assert not use(three, "by-one")
    assert not use(make(), "by-one")
    (tmp_path / NAME).unlink()
    assert use(one, "by-one-again")
    assert not use(two, "by-one-again")
    assert not use(make(), "by-two")


def test_it_is_written_anew(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended makes room on the disk, and what counts is there for all."""
    monkeypatch.setattr(module, "SPARE", 4)
    one, two = make(100), make(100)
    sizes = []
    for number in range(60):
        assert use((one, two)[number % 2], f"t{number}", NOW, NOW + number * WINDOW_S / 4)
        sizes.append((tmp_path / NAME).stat().st_size // RECORD_BYTES)
    assert max(sizes) <= 2 * 5 + 4 + 1
    later = NOW + 59 * WINDOW_S / 4
    assert not use(make(100), "t58", NOW, later)
    assert not use(one, "t59", NOW, later)
    assert use(two, "t1", NOW, later)


def test_replays_make_no_room_necessary(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same token again adds nothing; ones that live longer and longer do, and it is written anew for them too."""
    monkeypatch.setattr(module, "SPARE", 4)
    one = make()
    assert use(one, "t")
    for _ in range(3):
        assert not use(one, "t")
    assert (tmp_path / NAME).stat().st_size == RECORD_BYTES
    for seconds in range(200, 250):
        assert not use(one, "t", NOW + seconds)
    assert (tmp_path / NAME).stat().st_size <= (2 + 4 + 1) * RECORD_BYTES
    assert not use(make(), "t", NOW + 1, NOW + 248)


def test_without_inbound_nothing_is_kept(tmp_path: Path) -> None:
    """A process that takes no requests uses no transaction, and makes no file."""
    uses = uses_for(None, SharingSettings(folder=tmp_path))
    uses.start(NOW)
    uses.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full(make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be told the others does not pass, and has not been used when there is room again. It is said once."""
    one, two = make(), make()
    assert use(one, "t")
    monkeypatch.setattr(os, "write", lambda _descriptor, data: len(data) - 1)
    for _ in range(3):
        with pytest.raises(SiblingUnavailable, match="No space left"):
            use(one, "u")
    assert not use(one, "t")
    assert len([1 for each in caplog.records if "No space left" in each.getMessage()]) == 1
    monkeypatch.undo()
    assert use(two, "u")
    assert not use(one, "u")


@pytest.mark.parametrize(
    "record",
    [
        b"x" * RECORD_BYTES,
        struct.pack(">16sd8s", use_of("r", "t"), float("nan"), b"svuse/1\n"),
        struct.pack(">16sd8s", use_of("r", "t"), float("inf"), b"svuse/1\n"),
    ],
)
def test_what_is_no_list_of_ours(make: Make, tmp_path: Path, record: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It is told at the start, and later refuses; said once, and with what to do."""
    one = make()
    assert use(one, "t")
    with (tmp_path / NAME).open("ab") as file:
        file.write(record)
    for txn in ("t", "u", "v"):
        with pytest.raises(SiblingUnavailable, match="remove it"):
            use(one, txn)
    assert len([1 for each in caplog.records if "remove it" in each.getMessage()]) == 1
    with pytest.raises(ListenFailed, match="remove it"):
        make()
    (tmp_path / NAME).unlink()
    assert not use(one, "t"), "what we know ourselves is not lost with it"
    assert use(one, "u")


def test_a_file_that_others_could_write(tmp_path: Path) -> None:
    """Who can write it can take a use away."""
    (tmp_path / NAME).write_bytes(b"")
    (tmp_path / NAME).chmod(0o666)
    with pytest.raises(ListenFailed, match="chmod 600"):
        make_uses(tmp_path)


async def test_whoever_has_the_list_is_waited_for_and_not_for_ever(make: Make) -> None:
    """One that hangs with it refuses all others, in time; when it goes on, they do."""
    one, two = make(), make()
    assert one.begin()
    assert not two.begin()
    with pytest.raises(SiblingUnavailable):
        await two.turn()
    waiting = asyncio.create_task(two.turn())  # noqa: TID251 - it ends with the test
    await asyncio.sleep(0.01)
    one.end()
    await waiting
    assert use(one, "t"), "nobody has it who has only waited"
    assert use(two, "u")


async def test_a_list_that_cannot_be_had_at_all(make: Make, tmp_path: Path) -> None:
    """Its folder is gone."""
    one = make()
    assert use(one, "t")
    (tmp_path / NAME).unlink()
    tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(SiblingUnavailable):
        one.begin()
    with pytest.raises(SiblingUnavailable):
        await one.turn()
    tmp_path.mkdir()
    assert not use(one, "t")


COUNT, PROCESSES = 400, 4


def _race(folder: Path, number: int, ends: bool, told: "multiprocessing.Queue[tuple[int, list[str]]]") -> None:  # noqa: FBT001
    """Use every transaction that nobody has; ``ends``: in the middle, by SIGKILL, with the list in its hands."""
    uses = make_uses(folder, 10 * COUNT)
    passed: list[str] = []
    order = [f"t{each}" for each in range(COUNT)]
    random.Random(number).shuffle(order)
    for place, txn in enumerate(order):
        while not uses.begin():
            pass
        if ends and place == COUNT // 2:
            told.put((number, passed))
            told.close()
            told.join_thread()
            os.kill(os.getpid(), 9)
        try:
            uses.use("POST /pay", txn, EXP, NOW)
            passed.append(txn)
        except TransactionReplayed:
            pass
    told.put((number, passed))


def test_processes_that_race_and_one_that_is_killed(tmp_path: Path) -> None:
    """Each transaction passes once, in one of them; what the killed one has used stays used."""
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[tuple[int, list[str]]] = context.Queue()
    racers = [
        context.Process(target=_race, args=(tmp_path, number, number == 0, told), daemon=True)
        for number in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    passed = [txn for _ in racers for txn in told.get(timeout=40)[1]]
    for racer in racers:
        racer.join(10)
    assert racers[0].exitcode == -9
    assert sorted(passed) == sorted(f"t{number}" for number in range(COUNT))
    late = make_uses(tmp_path, 10 * COUNT)
    assert not any(use(late, f"t{number}") for number in range(COUNT))
    late.close()

"""siblings.py: who is asked, what counts as an answer, and what bounds it; on every loop the same sockets."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from support.prometheus import exposed
from support.sidecar import SOON_S

from proxy.errors import SiblingUnavailable, TransactionAmbiguous
from proxy.flow import siblings as module
from proxy.flow.settings import SharingSettings
from proxy.flow.siblings import MAX_CALLERS, MAX_WAITING, Siblings
from proxy.net.gathering import MAX_MEMBERS, Gathering
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.tokens.passage import Passages
from proxy.tokens.share import Question, Verdict, write_question, write_verdict

TRACE, OTHER = b"a" * 32, b"b" * 32
_NUMBERS = itertools.count()


class Process:
    """What one process has of it."""

    def __init__(self, folder: Path, timeout_s: float = 0.2) -> None:
        self.passages = Passages(1000, 10**7, 1.0, lambda count: next(_NUMBERS).to_bytes(count))
        self.metrics = Metrics("0", "test")
        self.tasks = Tasks("test")
        settings = SharingSettings(folder=folder, timeout_s=timeout_s)
        self.siblings = Siblings(settings, self.passages, self.metrics, time.monotonic)

    async def close(self) -> None:
        """End it."""
        self.siblings.close()
        await self.tasks.close()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a process of the app."""
    made: list[Process] = []

    async def begin(timeout_s: float = 5.0) -> Process:
        process = Process(tmp_path / "shared", timeout_s)
        made.append(process)
        await process.siblings.start(process.tasks)
        return process

    yield begin
    for process in made:
        await process.close()
    await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def other(folder: Path, answer: Callable[[bytes], bytes | None]) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """A process of the app that answers as told: None ends the connection. It gives the connections that it has."""
    gathering = Gathering(folder)
    gathering.open()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(100_000):
            if (said := answer(data)) is None:
                break
            writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(serve, sock=gathering.listen())
    yield writers
    gathering.close()
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.01)


async def test_all_that_the_others_remember(start: Start) -> None:
    """Under a trace id that of all of them, under a mark that of one; nobody counts himself."""
    one, two, three = [await start() for _ in range(3)]
    assert await one.siblings.ask(TRACE, None) == ()
    marked = two.passages.enter(TRACE, b"two", "t2", 1e9, time.monotonic())
    three.passages.enter(TRACE, b"three", "t3", 2e9, time.monotonic())
    one.passages.enter(TRACE, b"one", "t1", 1e9, time.monotonic())
    found = await one.siblings.ask(TRACE, None)
    assert {(each.raw, each.txn, each.exp) for each in found} == {(b"two", "t2", 1e9), (b"three", "t3", 2e9)}
    assert [each.raw for each in await one.siblings.ask(TRACE, marked.mark)] == [b"two"]
    assert await one.siblings.ask(OTHER, None) == ()
    with pytest.raises(TransactionAmbiguous):
        await one.siblings.ask(OTHER, marked.mark)
    many = await asyncio.gather(*(one.siblings.ask(TRACE, marked.mark) for _ in range(100)))
    assert all(found[0].raw == b"two" for found in many)
    shown = exposed(one.metrics)[1].decode()
    assert 'svidecar_sibling_lookup_seconds_count{result="ok"} 104' in shown
    assert 'svidecar_sibling_lookup_seconds_count{result="transaction_ambiguous"} 1' in shown


async def test_those_who_come_and_go(start: Start) -> None:
    """Found when they are there, forgotten when they have ended."""
    one = await start()
    for _ in range(3):
        two = await start()
        two.passages.enter(TRACE, b"two", "t2", 1e9, time.monotonic())
        assert [each.raw for each in await one.siblings.ask(TRACE, None)] == [b"two"]
        await two.close()
        await asyncio.sleep(0.05)
        assert await one.siblings.ask(TRACE, None) == ()


async def test_a_newcomer_costs_the_others_no_connection(start: Start, tmp_path: Path) -> None:
    """Each has one of ours, however many come after it; and who ends leaves no socket behind."""
    one, two = await start(), await start()
    await one.siblings.ask(TRACE, None)
    (known,) = one.siblings._known.values()
    three = await start()
    await one.siblings.ask(TRACE, None)
    assert len(one.siblings._known) == 2
    assert known in one.siblings._known.values()
    assert len(list((tmp_path / "shared").iterdir())) == 3
    await two.close()
    await three.close()
    assert len(list((tmp_path / "shared").iterdir())) == 1


async def test_a_socket_that_was_taken_away(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there again soon: nobody asks whom he cannot see, and would go without what that one knows."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    one = await start()
    one.passages.enter(TRACE, b"one", "t1", 1e9, time.monotonic())
    for path in (tmp_path / "shared").iterdir():
        path.unlink()
    two = await start()
    found = await two.siblings.ask(TRACE, None)
    for _ in range(200):
        if found:
            break
        await asyncio.sleep(0.01)
        found = await two.siblings.ask(TRACE, None)
    assert [each.raw for each in found] == [b"one"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: b"", SiblingUnavailable),
        (lambda _: None, SiblingUnavailable),
        (lambda _: b"\0\0\0\1X", SiblingUnavailable),
        (lambda _: write_verdict(2**31, Verdict.KNOWN), SiblingUnavailable),
        (lambda _: write_verdict(1, Verdict.KNOWN)[:-1], SiblingUnavailable),
        (lambda _: write_verdict(1, Verdict.TOO_MANY), TransactionAmbiguous),
    ],
)
async def test_what_is_no_answer_refuses(
    start: Start, tmp_path: Path, answer: Callable[[bytes], bytes | None], error: type[Exception]
) -> None:
    """Silence, an end, nonsense, an answer to another question, half of one; in time, and counted."""
    one = await start(0.5)
    async with other(tmp_path / "shared", answer):
        began = time.monotonic()
        with pytest.raises(error):
            await one.siblings.ask(TRACE, None)
        assert time.monotonic() - began < SOON_S
    text = exposed(one.metrics)[1].decode()
    assert f'svidecar_sibling_lookup_seconds_count{{result="{error.reason}"}} 1' in text  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer", [lambda _: None, lambda _: b"\0\0\0\1X", lambda _: write_verdict(2**31, Verdict.KNOWN)]
)
async def test_who_ends_or_breaks_the_rules_is_not_waited_for(
    start: Start, tmp_path: Path, answer: Callable[[bytes], bytes | None]
) -> None:
    """The connection is over, and with it every question: the request is refused at once and not after its time."""
    one = await start(60.0)
    async with other(tmp_path / "shared", answer):
        asked = await asyncio.gather(*(one.siblings.ask(TRACE, None) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in asked] == [SiblingUnavailable] * 3
        assert {str(each) for each in asked} == {"another process of the app ended before it had answered"}


async def test_the_bound_of_questions_without_an_answer(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as the limit are sent, also those that nobody waits for any more; the next is refused at once."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    one, sent = await start(0.05), bytearray()

    def silent(data: bytes) -> bytes:
        sent.extend(data)
        return b""

    async with other(tmp_path / "shared", silent) as writers:
        for _ in range(3):
            with pytest.raises(SiblingUnavailable, match="in time"):
                await one.siblings.ask(TRACE, None)
        with pytest.raises(SiblingUnavailable, match="asked before"):
            await one.siblings.ask(TRACE, None)
        assert bytes(sent) == b"".join(write_question(Question(number, TRACE, None)) for number in (1, 2, 3))
        writers[0].write(b"".join(write_verdict(number, Verdict.KNOWN) for number in (1, 2, 3)))
        await asyncio.sleep(0.05)
        with pytest.raises(SiblingUnavailable, match="in time"):
            await one.siblings.ask(TRACE, None)
    assert MAX_WAITING == 256


async def test_the_bound_of_members(start: Start, tmp_path: Path) -> None:
    """More than the limit are not asked: the request is refused."""
    one = await start()
    for number in range(MAX_MEMBERS + 1):
        (tmp_path / "shared" / f"{number:016x}.sock").write_text("")
    with pytest.raises(SiblingUnavailable, match="more than 64"):
        await one.siblings.ask(TRACE, None)


async def test_what_is_asked_against_the_rules(start: Start, tmp_path: Path) -> None:
    """The connection ends, without an answer; another one is served. There are as many as the limit at once."""
    await start()
    (path,) = (tmp_path / "shared").iterdir()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"\0\0\1\0" + b"x" * 256)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    many = [await asyncio.open_unix_connection(path) for _ in range(MAX_CALLERS)]
    many[-1][1].write(write_question(Question(5, TRACE, None)))
    assert await many[-1][0].readexactly(10) == write_verdict(5, Verdict.KNOWN)
    late, late_writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        assert await late.read() == b""
    for one in [late_writer, *(each for _, each in many)]:
        one.close()

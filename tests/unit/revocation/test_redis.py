"""Whoever answers in Redis's place: refused in words of ours, before a deadline, and nothing of it repeated."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from support.revocation import Clock, entry

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Revoked
from proxy.revocation.freshness import Freshness
from proxy.revocation.ledger import ADMIN, FEED, Ledger
from proxy.revocation.redis import MAX_PASSWORD_BYTES, Link
from proxy.revocation.register import Register
from proxy.revocation.replica import field_of
from proxy.revocation.settings import RedisSettings
from proxy.revocation.sharing import REDIS, Sharer

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(path: Path, serve: Serve) -> AsyncIterator[None]:
    """Serve at a socket; end with the last connection."""
    tasks: list[asyncio.Task[None]] = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        with contextlib.suppress(OSError, EOFError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_unix_server(accepted, path):
        try:
            yield
        finally:
            await asyncio.sleep(0.02)  # one that was made a moment ago is accepted
            if tasks:
                await asyncio.wait(tasks, timeout=5)


@contextlib.asynccontextmanager
async def saying(path: Path, *answers: bytes) -> AsyncIterator[list[bytes]]:
    """A socket that gives an answer to each thing that comes, then closes; what came is in the list."""
    came: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for one in answers:
            came.append(await reader.read(65536))
            writer.write(one)
            await writer.drain()

    async with serving(path, serve):
        yield came


def settings(path: Path, password: bytes | None = None, username: str | None = None) -> RedisSettings:
    """A Redis at this socket."""
    if password is not None:
        (path.parent / "password").write_bytes(password)
    return RedisSettings(
        address=str(path), username=username, password_file=str(path.parent / "password") if password else None
    )


def ask(path: Path, *answers: bytes, count: int = 1, **given: object) -> tuple[object, list[bytes]]:
    """Ask so many things of one who says this."""

    async def run() -> tuple[object, list[bytes]]:
        async with saying(path, *answers) as came:
            link = await Link.opened(settings(path, **given), 4)  # type: ignore[arg-type]
            try:
                return await link.ask([[b"HGET", b"k", b"version"]] * count), came
            finally:
                link.close()

    return asyncio.run(run())


def test_asked_and_answered(tmp_path: Path) -> None:
    """With a user and a password first, whose last line end does not belong to it."""
    answered, came = ask(tmp_path / "r", b"+OK\r\n", b"$-1\r\n:1\r\n", count=2, password=b"pw\n", username="me")
    assert answered == [None, 1]
    assert came[0] == b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"-WRONGTYPE secret\r\n", "the key holds something else"),
        (b"-NOAUTH secret\r\n", "it wants a password"),
        (b"-SECRET secret\r\n", "it answers with an error SECRET"),
        (b"-secret\r\n", "it answers with an error"),
        (b"secret\r\n", "what answers is not Redis"),
        (b":1\r\n:2\r\n", "it answers what was not asked"),
        (b"*5\r\n", "more than 4 items"),
    ],
)
def test_refused(tmp_path: Path, answer: bytes, told: str) -> None:
    """In our words."""
    with pytest.raises(RevocationsInvalid, match=told) as refused:
        ask(tmp_path / "r", answer)
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize("password", [b"\n", b"a" * (MAX_PASSWORD_BYTES + 1)])
def test_a_password_that_is_none(tmp_path: Path, password: bytes) -> None:
    """It is told before anything is sent."""
    with pytest.raises(RevocationsInvalid, match="password_file"):
        ask(tmp_path / "r", b"+OK\r\n", password=password)


def test_it_goes(tmp_path: Path) -> None:
    """In the middle of an answer."""
    with pytest.raises(EOFError):
        ask(tmp_path / "r", b"$5\r\nab")


class Member:
    """One sidecar's part in a fleet, with a Redis that is nothing but a dict."""

    def __init__(self, *, share_feed: bool = False, max_entries: int = 8, longest_token_s: float = 300.0) -> None:
        self.clock = Clock()
        self.freshness = Freshness([REDIS], 10.0, self.clock)
        self.register = Register(Revoked(), max_entries, longest_token_s, lambda: None)
        self.ledger = Ledger(None, self.register, self.freshness, self.clock)
        shared = RedisSettings(address="/", share_feed=share_feed)
        self.sharer = Sharer(shared, self.ledger, self.freshness, max_entries, self.clock, lambda: None)
        self.ledger.on_told, self.ledger.on_lifted = self.sharer.told, self.sharer.lifted

    def look(self, path: Path, kept: dict[bytes, bytes]) -> None:
        """Look once at what is kept."""

        async def run() -> None:
            async with hash_at(path, kept):
                link = await Link.opened(RedisSettings(address=str(path)), 100)
                try:
                    await self.sharer.look(link)
                finally:
                    link.close()

        asyncio.run(run())

    @property
    def known(self) -> set[str]:
        """What is revoked."""
        return {one.value for one in self.register.revoked}


@contextlib.asynccontextmanager
async def hash_at(path: Path, kept: dict[bytes, bytes]) -> AsyncIterator[None]:
    """As much of Redis as is asked here: one hash."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(answer(words, kept))

    async with serving(path, serve):
        yield


def answer(words: list[bytes], kept: dict[bytes, bytes]) -> bytes:
    """Do one command."""
    if words[0] == b"HGET":
        value = kept.get(words[2])
        return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
    if words[0] == b"HGETALL":
        flat = [part for pair in kept.items() for part in pair]
        return b"*%d\r\n" % len(flat) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in flat)
    if words[0] == b"HSET":
        kept.update(zip(words[2::2], words[3::2], strict=True))
    else:
        for name in words[2:]:
            kept.pop(name, None)
    return b":1\r\n"


def test_the_feed_is_shared_by_setting_alone(tmp_path: Path) -> None:
    """What it said to one is in force at another that does not follow it; and lifted there with it."""
    for is_shared in (False, True):
        kept: dict[bytes, bytes] = {}
        one, other = Member(share_feed=is_shared), Member()
        put = one.ledger.put(FEED, [entry(txn="a")])[0]
        for member in (one, other):
            member.look(tmp_path / "r", kept)
        assert other.known == ({"a"} if is_shared else set())
        one.ledger.drop(FEED, [put.id])
        for member in (one, other):
            member.look(tmp_path / "r", kept)
        assert other.known == one.known == set()


def test_a_lift_there_is_one_of_admin_ports_alone(tmp_path: Path) -> None:
    """Our own feed and our file stay as they say."""
    kept: dict[bytes, bytes] = {}
    one = Member(share_feed=True)
    put = one.ledger.put(FEED, [entry(txn="a")])[0]
    one.ledger.put(ADMIN, [entry(txn="b")])
    one.register.replace("file", [entry(txn="c")], one.clock())
    one.look(tmp_path / "r", kept)
    for source, value in ((FEED, "a"), (ADMIN, "b"), (ADMIN, "c")):
        word = b'{"at":%d,"lifted_until":%d}' % (one.clock() + 9, one.clock() + 900)
        kept[field_of(source, entry(txn=value).id).encode()] = word
    kept[b"version"] = b"x"
    one.look(tmp_path / "r", kept)
    assert one.known == {"a", "c"}
    assert put.id in one.register.entries(FEED)


def test_too_many_change_nothing(tmp_path: Path) -> None:
    """At the limit, and beyond: what was known stays, what is too much is neither taken nor remembered."""
    kept: dict[bytes, bytes] = {}
    one, other = Member(max_entries=8), Member(max_entries=100)
    other.ledger.put(ADMIN, [entry(txn=f"{n}") for n in range(4)])
    other.look(tmp_path / "r", kept)
    one.look(tmp_path / "r", kept)
    assert len(one.known) == 4
    other.ledger.put(ADMIN, [entry(txn="4")])
    other.look(tmp_path / "r", kept)
    with pytest.raises(RevocationsInvalid, match="more than 4 entries"):
        one.look(tmp_path / "r", kept)
    assert one.known == {"0", "1", "2", "3"}
    kept.clear()
    one.look(tmp_path / "r", kept)
    assert len(kept) == 4 + 1


def test_what_ended_is_taken_out(tmp_path: Path) -> None:
    """By whoever looks, a while after."""
    kept: dict[bytes, bytes] = {}
    one = Member()
    one.ledger.put(ADMIN, [entry(txn="a", expires=one.clock() + 5)])
    one.look(tmp_path / "r", kept)
    for later, fields in ((6, 2), (70, 1)):
        one.clock.now += later
        one.register.expire(one.clock())
        one.look(tmp_path / "r", kept)
        assert (one.known, len(kept)) == (set(), fields)


def test_nothing_is_read_or_written_where_nothing_has_changed(tmp_path: Path) -> None:
    """A look is one question; what a stranger wrote without the version is seen with the next look at everything."""
    kept: dict[bytes, bytes] = {}
    one = Member()
    one.ledger.put(ADMIN, [entry(txn="a")])
    for _ in range(3):
        one.look(tmp_path / "r", kept)
    before = dict(kept)
    word = b'{"at":%d,"revoked":{"txn":"b"}}' % one.clock()
    kept[field_of(ADMIN, entry(txn="b").id).encode()] = word
    one.look(tmp_path / "r", kept)
    assert kept[b"version"] == before[b"version"]
    assert one.known == {"a"}
    one.clock.now += 30
    one.look(tmp_path / "r", kept)
    assert one.known == {"a", "b"}
    assert one.freshness.stale == []


def test_two_do_not_write_against_each_other(tmp_path: Path) -> None:
    """Whatever the time is, and though one allows tokens to live longer."""
    kept: dict[bytes, bytes] = {}
    one, other = Member(max_entries=20), Member(max_entries=20, longest_token_s=900.0)
    for member in (one, other):
        member.clock.now += 0.1234567891
        member.ledger.put(ADMIN, [entry(token_sha256="0f" * 32), entry(txn=f"of {id(member)}"), entry(sub="a")])
        member.ledger.put(ADMIN, [entry(sub="a", issued_before=member.clock.now - 1 / 3, because="x")])
    key = one.ledger.put(ADMIN, [entry(txn="lifted")])[0].id
    one.ledger.drop(ADMIN, [key])
    for _ in range(3):
        for member in (one, other):
            member.look(tmp_path / "r", kept)
    before = dict(kept)
    for _ in range(3):
        for member in (one, other):
            member.clock.now += 31
            member.look(tmp_path / "r", kept)
    assert kept == before


def test_what_a_stranger_writes_in_ever_new_words_is_bounded(tmp_path: Path) -> None:
    """Lifts of what nobody told, and what is revoked: the log, the memory and the room of others are held."""
    one = Member(max_entries=8)
    one.ledger.put(ADMIN, [entry(txn="mine")])
    kept: dict[bytes, bytes] = {}
    for turn in range(9):
        kept.clear()
        for n in range(7):
            field = field_of(ADMIN, entry(txn=f"{turn} {n}").id).encode()
            kept[field] = b'{"at":%d,"lifted_until":%d}' % (one.clock(), one.clock() + 900)
        one.look(tmp_path / "r", kept)
    assert len(kept) <= 7 + 2 * 4 + 1
    assert one.known == {"mine"}
    for turn in range(9):
        kept.clear()
        for n in range(3):
            field = field_of(ADMIN, entry(txn=f"{turn} {n}").id).encode()
            kept[field] = b'{"at":%d,"revoked":{"txn":"%d %d"}}' % (one.clock() + 1, turn, n)
        with contextlib.suppress(RevocationsInvalid):
            one.look(tmp_path / "r", kept)
    assert one.known == {"mine", "0 0", "0 1", "0 2"}


def test_the_log_is_not_flooded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Some are told, the others counted; and the same are not told again."""
    one = Member()
    kept = {b"x%d" % n: b"{}" for n in range(9)}
    for version in (b"1", b"2"):
        one.look(tmp_path / "r", kept)
        kept[b"version"] = version
    told = [record.getMessage() for record in caplog.records]
    assert len(set(told[:5])) == 1
    assert "it stands under a name that is not <source>/<id>" in told[0]
    assert told[5:] == ["revocation.redis: and 4 more"]
    assert one.freshness.stale == []

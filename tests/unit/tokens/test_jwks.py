"""jwks.py: the last good keys stay, and many askers are one fetch."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.fetch import Clock, Web, json_answer
from support.tokens import TokenMint

from proxy.errors import KeysUnavailable, UpstreamDown
from proxy.tokens.fetch import Answer
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings

ONE = TokenMint(kid="one")
TWO = TokenMint(kid="two")
URL = TokenSettings(audience="example.org", keys="https://tts/jwks")


def store_of(web: Web, clock: Clock, settings: TokenSettings = URL) -> KeyStore:
    """Make a store on a clock that the test moves."""
    return KeyStore(settings, web, clock, jitter=lambda: 0.5, sleep=clock.sleep)


def knows_any(store: KeyStore) -> bool:
    """Whether there are keys."""
    return store.current is not None


async def keep_for(store: KeyStore, clock: Clock, pauses: int) -> None:
    """Run ``keep`` until it has slept so many times."""
    task = asyncio.get_running_loop().create_task(store.keep())
    while len(clock.slept) < pauses:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_load() -> None:
    """Keys, when they were loaded, and no error."""
    clock = Clock()
    store = store_of(Web(json_answer(ONE.jwks())), clock)
    assert (store.current, store.loaded_at, store.last_error) == (None, None, "")
    await store.load()
    assert store.current is not None
    assert store.current.knows("one")
    assert (store.loaded_at, store.last_error) == (clock.now, "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (UpstreamDown("no route"), "upstream_down"),
        (Answer(503, {}, b""), "503"),
        (json_answer(b"<html>"), "keys_invalid: https://tts/jwks: the JWK Set is a web page"),
        (json_answer(b'{"keys":[{"kty":"oct","k":"AAAA"}]}'), "key 1: secret"),
    ],
)
async def test_load_does_not_raise(answer: Answer | Exception, said: str) -> None:
    """Keys that are not there are no exception, but a message for a person."""
    store = store_of(Web(answer), Clock())
    await store.load()
    assert store.current is None
    assert store.loaded_at is None
    assert store.last_error.startswith("tokens.keys: ")
    assert said in store.last_error


async def test_the_last_good_stay() -> None:
    """Every kind of failure leaves the keys as they were, says so, and is forgotten after a success."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock)
    await store.load()
    good = store.current
    for bad in (UpstreamDown(), Answer(404, {}, b""), json_answer(b"{}"), json_answer(ONE.jwks(ONE))):
        web.answer = bad
        clock.now += 10
        await store.load()
        assert store.current is good
        assert store.last_error
        assert store.loaded_at == clock.now - 10
        web.answer = json_answer(ONE.jwks())
        await store.load()
        assert store.last_error == ""
        assert store.loaded_at == clock.now


async def test_subscribers_hear_of_changes_alone() -> None:
    """The same keys again are no news: what was verified with them stays known."""
    web, heard = Web(json_answer(ONE.jwks())), []
    store = store_of(web, Clock())
    store.subscribe(lambda: heard.append(store.current))
    await store.load()
    first = store.current
    web.answer = json_answer(ONE.jwks() + b"\n")
    await store.load()
    assert heard == [first]
    assert store.current is first
    web.answer = json_answer(ONE.jwks(TWO))
    await store.load()
    assert heard == [first, store.current]
    web.answer = UpstreamDown()
    await store.load()
    assert len(heard) == 2


async def test_keep_refreshes() -> None:
    """About every ``refresh_s``, and a new key is known from then on."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock)
    await store.load()
    web.answer = json_answer(TWO.jwks())
    await keep_for(store, clock, 3)
    assert clock.slept == [300.0, 300.0, 300.0]
    assert store.current is not None
    assert store.current.knows("two")
    assert not store.current.knows("one")


async def test_keep_retries_soon_and_then_less_often() -> None:
    """Without keys after 1 s, 2, 4, up to 30 (here three quarters of that); then as usual."""
    clock, web = Clock(), Web(UpstreamDown())
    store = store_of(web, clock)
    await store.load()
    await keep_for(store, clock, 7)
    assert clock.slept == [seconds * 0.75 for seconds in (1, 2, 4, 8, 16, 30, 30)]
    web.answer = json_answer(ONE.jwks())
    await keep_for(store, clock, 9)
    assert clock.slept[-1] == 300.0
    assert store.current is not None


async def test_keep_survives_a_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that nobody expected is logged, counts as a failure, and is not tried in a tight loop."""
    clock, web = Clock(), Web(ZeroDivisionError())
    store = store_of(web, clock)
    await keep_for(store, clock, 4)
    assert clock.slept == [0.0, 0.75, 1.5, 3.0]
    assert "ZeroDivisionError" in caplog.text
    web.answer = json_answer(ONE.jwks())
    await keep_for(store, clock, 6)
    assert store.current is not None


async def test_learn_what_is_known() -> None:
    """Nothing is fetched for a kid that is known, or for no kid."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    await store.load()
    assert await store.learn("one")
    assert await store.learn(None)
    web.answer = json_answer(ONE.jwks(TWO))
    await store.load()
    assert not await store.learn(None)
    assert len(web.sent) == 2


async def test_learn_a_new_key() -> None:
    """A kid that has come since is known after one fetch."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    await store.load()
    web.answer = json_answer(ONE.jwks(TWO))
    assert await store.learn("two")
    assert len(web.sent) == 2


async def test_a_flood_of_unknown_kids_is_one_fetch() -> None:
    """Thousands that ask together, and after each other, cost one fetch in ``learn_interval_s``."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock)
    await store.load()
    asked = await asyncio.gather(*(store.learn(f"kid-{number}") for number in range(2000)))
    assert asked == [False] * 2000
    assert len(web.sent) == 2
    clock.now += 4.999
    for number in range(2000):
        assert not await store.learn(f"kid-{number}")
    assert len(web.sent) == 2
    clock.now += 0.001
    assert not await store.learn("kid")
    assert not await store.learn("kid")
    assert len(web.sent) == 3


async def test_learn_after_the_clock_was_set_back() -> None:
    """A jump into the past does not close the door until the clock has caught up."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock)
    await store.load()
    assert not await store.learn("two")
    clock.now -= 3600
    web.answer = json_answer(ONE.jwks(TWO))
    assert await store.learn("two")


async def test_the_first_who_asked_goes_away() -> None:
    """Its cancellation does not reach the flight: the others get their key, from the same one fetch."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    await store.load()
    web.answer = json_answer(ONE.jwks(TWO))
    web.gate.clear()
    loop = asyncio.get_running_loop()
    first, *others = [loop.create_task(store.learn("two")) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    web.gate.set()
    assert await asyncio.gather(*others) == [True] * 4
    assert len(web.sent) == 2


async def test_going_away_buys_no_second_fetch() -> None:
    """Whoever asks and leaves, again and again, still costs one fetch."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    await store.load()
    web.gate.clear()
    for number in range(50):
        asker = asyncio.get_running_loop().create_task(store.learn(f"kid-{number}"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asker.cancel()
        with suppress(asyncio.CancelledError):
            await asker
    web.gate.set()
    await store.load()
    assert len(web.sent) == 2


async def test_refresh_and_learn_share_a_flight() -> None:
    """So an older answer never comes after a newer one. What is not in it costs one more: it may have come since."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    web.gate.clear()
    both = asyncio.gather(store.load(), store.learn("one"), store.learn("two"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    web.gate.set()
    _, known, unknown = await both
    assert known
    assert not unknown
    assert len(web.sent) == 2


async def test_a_flight_that_began_before_the_key_was_there() -> None:
    """What it brings was true before the question: so the server is asked once more, and once for all who ask."""
    answers, gate, asked = [ONE.jwks(), ONE.jwks(TWO), ONE.jwks()], asyncio.Event(), 0

    async def fetch(*_: object, **__: object) -> Answer:
        nonlocal asked
        asked += 1
        answer = answers[asked - 1]  # as things are when it begins
        await gate.wait()
        return json_answer(answer)

    store = KeyStore(URL, fetch, Clock())
    asyncio.get_running_loop().call_later(0.01, gate.set)
    _, *known = await asyncio.gather(store.load(), *(store.learn("two") for _ in range(5)))
    assert known == [True] * 5
    assert asked == 2
    assert not await store.learn("three")
    assert asked == 2


async def test_close_ends_the_fetch() -> None:
    """Nothing is left running, and who waits is let go."""
    web = Web(json_answer(ONE.jwks()))
    store = store_of(web, Clock())
    web.gate.clear()
    asker = asyncio.get_running_loop().create_task(store.learn("one"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(KeysUnavailable):
        await asker
    assert (len(web.sent), web.ended) == (1, 0)


async def test_file(tmp_path: Path) -> None:
    """A file is taken when it changes, kept when it is bad or gone, and taken again when it is good."""
    path = tmp_path / "jwks.json"
    clock = Clock()
    store = store_of(Web(UpstreamDown()), clock, TokenSettings(audience="example.org", keys=str(path)))
    await store.load()
    assert not knows_any(store)
    assert "No such file" in store.last_error
    path.write_bytes(ONE.jwks())
    await keep_for(store, clock, 2)
    good = store.current
    assert good is not None
    assert store.last_error == ""
    path.write_bytes(ONE.jwks()[:-9])
    await keep_for(store, clock, 6)
    assert store.current is good
    assert "keys_invalid" in store.last_error  # also after it was looked at again and had not changed
    assert store.loaded_at is not None
    assert store.loaded_at < clock.now - 2
    path.unlink()
    await keep_for(store, clock, 8)
    assert store.current is good
    path.write_bytes(TWO.jwks())
    await keep_for(store, clock, 10)
    assert store.current is not None
    assert store.current.knows("two")
    assert store.last_error == ""
    assert set(clock.slept) == {1.0}


async def test_learn_from_a_file(tmp_path: Path) -> None:
    """An unknown kid looks at the file at once, before its poll does."""
    path = tmp_path / "jwks.json"
    path.write_bytes(ONE.jwks())
    store = store_of(Web(UpstreamDown()), Clock(), TokenSettings(audience="example.org", keys=str(path)))
    await store.load()
    path.write_bytes(ONE.jwks(TWO))
    assert await store.learn("two")


async def test_a_file_that_says_the_same_is_no_failure(tmp_path: Path) -> None:
    """A kid that is not in it is unknown: the token's fault, and not that of the keys."""
    path = tmp_path / "jwks.json"
    path.write_bytes(ONE.jwks())
    store = store_of(Web(UpstreamDown()), Clock(), TokenSettings(audience="example.org", keys=str(path)))
    await store.load()
    assert not await store.learn("two")
    assert store.last_error == ""


async def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not every second anew; and a key that is left out is named by its rule."""
    web = Web(UpstreamDown("no route"))
    store = store_of(web, Clock())
    for _ in range(5):
        await store.load()
    assert caplog.text.count("no route") == 1
    web.answer = json_answer(ONE.jwks()[:-2] + b',{"kty":"oct"}]}')
    await store.load()
    assert caplog.text.count("key 2: kty is not EC, RSA or OKP") == 1


def with_copy(folder: Path, max_age_s: float = 100.0) -> TokenSettings:
    """Settings that keep a copy in this folder."""
    return replace(URL, keys_copy=str(folder / "copy.json"), keys_max_age_s=max_age_s)


async def test_a_start_without_the_server(tmp_path: Path) -> None:
    """The copy serves; its age is that of the last word of the server, and goes on."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    settings = with_copy(tmp_path)
    await store_of(web, clock, settings).load()
    assert (tmp_path / "copy.json").stat().st_mode & 0o777 == 0o600
    confirmed_at = clock.now
    web.answer = UpstreamDown()
    clock.now += 60
    later = store_of(web, clock, settings)
    await later.load()
    assert later.current is not None
    assert later.current.knows("one")
    assert later.loaded_at == confirmed_at
    assert "upstream_down" in later.last_error


@pytest.mark.parametrize("age_s", [0, 100])
async def test_the_age_of_a_copy_n(tmp_path: Path, age_s: int) -> None:
    """Of this moment, or as old as it may be; ``test_copies_that_are_not_believed`` has the next."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    settings = with_copy(tmp_path)
    await store_of(web, clock, settings).load()
    web.answer = UpstreamDown()
    clock.now += age_s
    later = store_of(web, clock, settings)
    await later.load()
    assert knows_any(later)


async def test_each_confirmation_makes_the_copy_young(tmp_path: Path) -> None:
    """The server says the same again: the copy counts from then. Another set takes its place."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock, with_copy(tmp_path))
    await store.load()
    clock.now += 50
    await store.load()
    assert (tmp_path / "copy.json").stat().st_mtime == clock.now
    web.answer = json_answer(TWO.jwks())
    await store.load()
    assert (tmp_path / "copy.json").read_bytes() == TWO.jwks()
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.json"]


@pytest.mark.parametrize("spoil", ["old", "of the future", "open", "a link", "a pipe", "nonsense", "gone"])
async def test_copies_that_are_not_believed(tmp_path: Path, spoil: str) -> None:
    """Whoever can write it could sign tokens, and whoever can keep it old could keep a key that was taken back."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    settings, path = with_copy(tmp_path), tmp_path / "copy.json"
    await store_of(web, clock, settings).load()
    match spoil:
        case "old":
            clock.now += 101
        case "of the future":
            clock.now -= 1
        case "open":
            path.chmod(0o620)
        case "a link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "a pipe":
            path.unlink()
            os.mkfifo(path)
        case "nonsense":
            path.write_bytes(b"{}")
            os.utime(path, (clock.now, clock.now))
        case _:
            path.unlink()
    web.answer = UpstreamDown()
    store = store_of(web, clock, settings)
    await store.load()
    assert store.current is None


async def test_a_copy_that_cannot_be_written(tmp_path: Path) -> None:
    """The keys serve all the same."""
    store = store_of(Web(json_answer(ONE.jwks())), Clock(), with_copy(tmp_path / "nowhere"))
    await store.load()
    assert knows_any(store)


async def test_a_copy_that_was_taken_away_is_written_again(tmp_path: Path) -> None:
    """Though the server says nothing new: found missing once, and there after the next read."""
    store, copy = store_of(Web(json_answer(ONE.jwks())), Clock(), with_copy(tmp_path)), tmp_path / "copy.json"
    await store.load()
    copy.unlink()
    await store.load()
    await store.load()
    assert copy.read_bytes() == ONE.jwks()


async def test_keys_that_nobody_confirms_are_given_up() -> None:
    """At the age and not a moment earlier; whoever remembers tokens is told; and they come back with their server."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock, replace(URL, keys_max_age_s=100.0))
    told: list[bool] = []
    store.subscribe(lambda: told.append(knows_any(store)))
    await store.load()
    web.answer = UpstreamDown()
    clock.now += 100
    store._give_up_what_is_old()
    assert knows_any(store)
    clock.now += 0.001
    store._give_up_what_is_old()
    assert not knows_any(store)
    assert "given up" in store.last_error
    web.answer = json_answer(ONE.jwks())
    await store.load()
    assert told == [True, False, True]


async def test_keep_gives_up_what_is_old() -> None:
    """It is looked at after each read that fails, without anybody asking."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock, replace(URL, keys_max_age_s=300.5))
    told: list[bool] = []
    store.subscribe(lambda: told.append(knows_any(store)))
    await store.load()
    web.answer = UpstreamDown()
    await keep_for(store, clock, 2)
    assert knows_any(store)
    await keep_for(store, clock, 6)
    assert not knows_any(store)
    assert told == [True, False], "once, however often it is looked at"


async def test_unknown_while_the_server_is_down() -> None:
    """Nobody can say whose the token is: that is our trouble (503), and no fault of the token's (401)."""
    clock, web = Clock(), Web(json_answer(ONE.jwks()))
    store = store_of(web, clock)
    await store.load()
    assert not await store.learn("two")
    web.answer = UpstreamDown()
    clock.now += 10
    for _ in range(100):
        with pytest.raises(KeysUnavailable):
            await store.learn("two")
    assert await store.learn("one")
    assert len(web.sent) == 3  # however many ask

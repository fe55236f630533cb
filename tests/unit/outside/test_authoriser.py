"""Asking, remembering, and asking once; on the running loop, with ways to ask that a test decides about."""

import asyncio
from collections.abc import Callable

import pytest
from support.audit import TOKEN

from proxy.errors import AuthoriserDenied, AuthoriserUnavailable
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.outside.authoriser import Authoriser
from proxy.outside.opa import Opa
from proxy.outside.question import Question, chosen
from proxy.outside.settings import Fail, OpaSettings, OutsideSettings
from proxy.tokens.fetch import Answer

TASKS = Tasks("test")


class Way:
    """Answers when it is let, what it is told to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer: Callable[[bytes], bool] = lambda _: True
        self.gate = asyncio.Event()
        self.gate.set()

    def encode(self, question: Question) -> bytes:
        """Not used here."""
        return question.target.encode()

    async def ask(self, body: bytes) -> bool:
        """Ask."""
        self.asked.append(body)
        await self.gate.wait()
        return self.answer(body)

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """A time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Give it."""
        return self.now


def unavailable(_: bytes) -> bool:
    """No answer."""
    raise AuthoriserUnavailable("it is gone")


def made(**settings: object) -> tuple[Authoriser, Way, Clock, Metrics]:
    """An authoriser and what it stands on."""
    way, clock, metrics = Way(), Clock(), Metrics("0", "orders")
    return Authoriser(OutsideSettings(**settings), way, clock, metrics), way, clock, metrics  # type: ignore[arg-type]


async def test_without_a_cache_each_is_asked() -> None:
    """And nothing is remembered."""
    authoriser, way, _, _ = made()
    for _ in range(2):
        assert authoriser.recall(b"q") is False
        await authoriser.consult(b"q")
    assert len(way.asked) == 2


async def test_answers_hold_for_a_while() -> None:
    """Both kinds, to the second, for the same bytes alone."""
    authoriser, way, clock, metrics = made(cache_s=5.0)
    way.answer = lambda body: body == b"yes"
    await authoriser.consult(b"yes")
    with pytest.raises(AuthoriserDenied):
        await authoriser.consult(b"no")
    clock.now += 4.99
    assert authoriser.recall(b"yes") is True
    with pytest.raises(AuthoriserDenied):
        authoriser.recall(b"no")
    assert authoriser.recall(b"yes ") is False
    clock.now += 0.01
    assert authoriser.recall(b"yes") is False
    assert authoriser.recall(b"no") is False
    assert (metrics.authoriser_cache("hit").value, metrics.authoriser_cache("miss").value) == (2, 3)


async def test_the_cache_has_a_limit() -> None:
    """At n all are held; one more, and the oldest is gone."""
    authoriser, _, _, _ = made(cache_s=5.0, cache_entries=3)
    for number in range(3):
        await authoriser.consult(b"%d" % number)
    assert all(authoriser.recall(b"%d" % number) for number in range(3))
    await authoriser.consult(b"3")
    assert [authoriser.recall(b"%d" % number) for number in range(4)] == [False, True, True, True]


@pytest.mark.parametrize("outcome", ["allow", "deny", "failed"])
async def test_many_wait_for_one_answer(outcome: str) -> None:
    """Equal questions at once are asked once, and all get what came of it; a failure is not remembered."""
    authoriser, way, _, metrics = made(cache_s=5.0)
    way.answer = {"allow": lambda _: True, "deny": lambda _: False, "failed": unavailable}[outcome]
    way.gate.clear()
    waiting = [TASKS.spawn(authoriser.consult(b"q"), "ask") for _ in range(20)]
    await asyncio.sleep(0)
    way.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    kind = {"allow": type(None), "deny": AuthoriserDenied, "failed": AuthoriserUnavailable}[outcome]
    assert {type(result) for result in results} == {kind}
    assert way.asked == [b"q"]
    assert sum(metrics.authoriser(outcome).counts) == 1  # type: ignore[arg-type]
    if outcome == "failed":
        assert authoriser.recall(b"q") is False


async def test_who_asked_goes_away_and_the_others_are_told() -> None:
    """A cancelled question is no answer: nobody waits for ever, and nobody passes."""
    authoriser, way, _, _ = made()
    way.gate.clear()
    first = TASKS.spawn(authoriser.consult(b"q"), "ask")
    await asyncio.sleep(0)
    second = TASKS.spawn(authoriser.consult(b"q"), "ask")
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(AuthoriserUnavailable):
        await second
    way.gate.set()
    await authoriser.consult(b"q")


async def test_questions_at_once_have_a_limit() -> None:
    """At n each is asked; one more gets no answer."""
    authoriser, way, _, _ = made(max_asking=2)
    way.gate.clear()
    waiting = [TASKS.spawn(authoriser.consult(b"%d" % number), "ask") for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(AuthoriserUnavailable, match="too much"):
        await authoriser.consult(b"2")
    way.gate.set()
    await asyncio.gather(*waiting)


async def test_open_lets_pass_what_has_no_answer_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """A no stays a no; and what was let pass is not remembered as a yes."""
    authoriser, way, _, _ = made(fail=Fail.OPEN, cache_s=5.0)
    way.answer = unavailable
    for _ in range(3):
        await authoriser.consult(b"q")
    assert authoriser.recall(b"q") is False
    assert [record.message for record in caplog.records] == [
        "authoriser: it is gone; what it should judge is let pass UNASKED"
    ], "once in a while"
    way.answer = lambda _: False
    with pytest.raises(AuthoriserDenied):
        await authoriser.consult(b"q")


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b'{"result": true}', 200, True),
        (b'{"result": {"allow": true, "why": "x"}}', 200, True),
        (b'{"result": false}', 200, False),
        (b'{"result": {"allow": false}}', 200, False),
        (b'{"result": {"allow": "true"}}', 200, False),
        (b'{"result": {"allow": 1}}', 200, False),
        (b'{"result": 1}', 200, False),
        (b'{"result": "true"}', 200, False),
        (b'{"result": [true]}', 200, False),
        (b'{"result": null}', 200, False),
        (b'{"result": false, "result": {}}', 200, False),
        (b"{}", 200, False),
        (b"true", 200, None),
        (b"[]", 200, None),
        (b"", 200, None),
        (b"{", 200, None),
        (b"[" * 100_000, 200, None),
        (b'{"result": true}', 201, None),
        (b'{"result": true}', 400, None),
        (b'{"result": true}', 500, None),
        (b'{"result": true}', 302, None),
    ],
)
async def test_what_opa_says(body: bytes, status: int, expected: bool | None) -> None:  # noqa: FBT001
    """``true`` alone, or an object whose ``allow`` is; what is no decision is no answer."""

    async def fetch(*_: object, **__: object) -> Answer:
        return Answer(status, {}, body)

    opa = Opa(OpaSettings(url="http://127.0.0.1:1/v1/data/x"), fetch, 1.0)
    if expected is None:
        with pytest.raises(AuthoriserUnavailable):
            await opa.ask(b"{}")
    else:
        assert await opa.ask(b"{}") is expected


def test_fields_are_shown_by_name_alone() -> None:
    """In lower case, in order, nothing that was not named."""
    lines = [b"X-Tenant: a", b"Other: x", b"x-tenant:b ", b"X-Tenant-Id: c", b"Txn-Token: t"]
    assert chosen(lines, frozenset({b"x-tenant"})) == (("x-tenant", ("a", "b")),)
    assert chosen(lines, frozenset()) == ()
    assert TOKEN.digest not in str(chosen(lines, frozenset({b"other"})))

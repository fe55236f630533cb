"""transaction.py: which token goes out with a request of the app, and how little of it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from support.fetch import Clock, Web, json_answer
from support.flow import Caller, exchange_of, get, make_runtime
from support.flow import Clock as RuntimeClock
from support.tokens import TokenMint, compact_json

from proxy.errors import (
    NotReady,
    ScopeMissing,
    TokenBadSignature,
    TokenExpired,
    TokenUnknownKey,
    TransactionAmbiguous,
    TransactionMismatch,
    TtsBadAnswer,
    TtsUnavailable,
)
from proxy.flow.exchange import Exchange
from proxy.flow.settings import SharingSettings
from proxy.flow.siblings import Siblings
from proxy.flow.transaction import Transactions
from proxy.flow.uses import Uses
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.policy.compile import compile_destinations
from proxy.policy.permit import Destination
from proxy.policy.settings import DestinationSettings, Propagation
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.cache import TokenCache
from proxy.tokens.jwks import KeyStore
from proxy.tokens.once import UsedTransactions, use_of
from proxy.tokens.passage import Passages
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.tts import TokenService

MINT = TokenMint()
TYPE = "urn:ietf:params:oauth:token-type:txn_token"
SETTINGS = TokenSettings(
    audience="example.org",
    keys="https://tts/jwks",
    service=ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts"),
)
NONE_USED = Uses(UsedTransactions(1, 0.0))
LEDGER = DestinationSettings(
    host="ledger", address="ledger:15006", spiffe_id="spiffe://example.org/ledger", narrow=("ledger.read",)
)


def ledger() -> Destination:
    """A destination that may see one scope."""
    return compile_destinations((LEDGER,), "example.org").all[0]


def exchange_at(clock: Clock) -> Exchange:
    """A request of the app."""
    runtime = make_runtime(RuntimeClock())
    runtime.now = clock
    made = exchange_of(runtime, Caller(), get())
    made.account.local = "spiffe://example.org/orders"
    return made


async def test_the_wider_token_stays_where_the_narrow_one_has_ended_already() -> None:
    """It was obtained for this request, and is not good any more: the request ends, and is not asked for for ever."""
    clock = Clock()
    narrow = MINT.token(clock.now, scope="ledger.read", exp=int(clock.now) + 5).decode()
    web = Web(json_answer(compact_json({"access_token": narrow, "issued_token_type": TYPE, "token_type": "N_A"})))
    keys = KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), clock)
    await keys.load()
    service = TokenService(SETTINGS, web, keys, clock, lambda: 0.5)
    transactions = Transactions(Authenticator(SETTINGS, keys, TokenCache(10)), service, NONE_USED, None)
    exchange, wide = exchange_at(clock), MINT.token(clock.now, scope="ledger.read ledger.write")
    asked = transactions.token(exchange, ledger(), wide)
    assert asked is not None
    assert not isinstance(asked, bytes)
    assert (await asked).decode() == narrow
    clock.now += 10
    with pytest.raises(TtsUnavailable):
        transactions.token(exchange, ledger(), wide)
    assert len(web.sent) == 1
    await service.close()
    await keys.close()


def test_how_full_the_memories_are() -> None:
    """Read when somebody looks; without a memory nothing is in it."""
    clock, metrics = Clock(), Metrics("0", "test")
    keys = KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), clock)
    used = UsedTransactions(4, 10.0)
    transactions = Transactions(Authenticator(SETTINGS, keys, TokenCache(10)), None, Uses(used), None)
    transactions.show(metrics, clock)
    with_app, spent = metrics.transaction_memory("with_app"), metrics.transaction_memory("used")
    assert (with_app.value, spent.value) == (0.0, 0.0)
    transactions.passages = passages = Passages(2, 1000, 1.0, lambda count: b"x" * count)
    passages.enter(b"trace", b"raw", "txn", 1e9, 0.0)
    used.use(use_of("r", "t"), clock.now, clock.now)
    assert (with_app.value, spent.value) == (0.5, 0.25)
    clock.now += 11
    assert spent.value == 0.0


WIDE = "ledger.read ledger.write orders.read"
MARKS = itertools.count()
TRACE, OTHER = b"0af7651916cd43dd8448eb211c80319c", b"1af7651916cd43dd8448eb211c80319c"


class Desk:
    """One process: its token service gives ``given``, and its app is called under a trace id."""

    def __init__(self, given: bytes = b"") -> None:
        self.clock = Clock()
        self.web = Web(
            json_answer(compact_json({"access_token": given.decode(), "issued_token_type": TYPE, "token_type": "N_A"}))
        )
        self.jwks = Web(json_answer(MINT.jwks()))
        self.keys = KeyStore(SETTINGS, self.jwks, self.clock)
        self.passages = Passages(10, 100_000, 1.0, lambda count: next(MARKS).to_bytes(count))
        service = TokenService(SETTINGS, self.web, self.keys, self.clock, lambda: 0.5)
        authenticator = Authenticator(SETTINGS, self.keys, TokenCache(10))
        self.transactions = Transactions(authenticator, service, NONE_USED, self.passages)

    async def load(self) -> "Desk":
        """With its keys."""
        await self.keys.load()
        return self

    def exchange(self, *fields: str, trace_id: bytes = TRACE) -> Exchange:
        """A request of the app under a trace id."""
        made = exchange_at(self.clock)
        made.head = get(f"Traceparent: 00-{trace_id.decode()}-b7ad6b7169203331-01", *fields)
        made.trace_id = trace_id
        return made

    def enter(self, raw: bytes, txn: str = "t", life_s: float = 300.0) -> str:
        """Have a request with this token be with the app; give its tracestate."""
        passage = self.passages.enter(TRACE, raw, txn, self.clock.now + life_s, 0.0)
        return f"Tracestate: svidecar={passage.mark.decode()}"


def towards(propagate: Propagation) -> Destination:
    """A destination that sees the transaction as it is."""
    return compile_destinations((replace(LEDGER, narrow=None, propagate=propagate),), "example.org").all[0]


async def test_no_more_is_asked_for_than_both_have() -> None:
    """Neither all that the transaction may do, nor all that the destination may see; the app's own token is the subject."""
    clock = Clock()
    desk = await Desk(MINT.token(clock.now, scope="ledger.read")).load()
    wide = MINT.token(clock.now, scope=WIDE)
    much = compile_destinations((replace(LEDGER, narrow=("ledger.read", "ledger.admin")),), "example.org").all[0]
    exchange = desk.exchange()
    asked = desk.transactions.token(exchange, much, wide)
    assert asked is not None
    assert not isinstance(asked, bytes)
    narrow = await asked
    (sent,) = desk.web.sent
    form = parse_qs(sent.body.decode())
    assert (form["scope"], form["subject_token"]) == (["ledger.read"], [wide.decode()])
    assert (form["subject_token_type"], form["client_id"]) == ([TYPE], ["spiffe://example.org/orders"])
    assert desk.transactions.token(exchange, much, wide) == narrow != wide
    assert desk.transactions.token(desk.exchange(), much, wide) == narrow
    assert len(desk.web.sent) == 1


@pytest.mark.parametrize("scope", ["ledger.read", "ledger.read ledger.write"])
async def test_what_the_destination_may_see_goes_as_it_is(scope: str) -> None:
    """All of it, or less; nobody is asked."""
    desk = await Desk().load()
    most = compile_destinations((replace(LEDGER, narrow=("ledger.read", "ledger.write")),), "example.org").all[0]
    raw = MINT.token(desk.clock.now, scope=scope)
    assert desk.transactions.token(desk.exchange(), most, raw) == raw
    assert desk.web.sent == []


async def test_the_wider_token_never_leaves() -> None:
    """Nothing in common, nobody to narrow it, nobody whom we are, or no token of this issuer at all."""
    desk = await Desk().load()
    transactions, wide = desk.transactions, MINT.token(desk.clock.now, scope=WIDE)
    with pytest.raises(ScopeMissing):
        transactions.token(desk.exchange(), ledger(), MINT.token(desk.clock.now, scope="orders.read ledger.write"))
    with pytest.raises(TokenBadSignature):
        transactions.token(desk.exchange(), ledger(), MINT.forger().token(desk.clock.now, scope="ledger.read"))
    unknown = desk.exchange()
    unknown.account.local = None
    with pytest.raises(NotReady):
        transactions.token(unknown, ledger(), wide)
    transactions.service = None
    with pytest.raises(TtsUnavailable):
        transactions.token(desk.exchange(), ledger(), wide)
    assert desk.web.sent == []


async def test_a_key_that_is_not_known_yet() -> None:
    """It is learned, and the step comes again; where the issuer has none of that name the request ends."""
    desk, newer = await Desk().load(), TokenMint(kid="newer")
    raw = newer.token(desk.clock.now, scope="ledger.read")
    learned = desk.transactions.token(desk.exchange(), ledger(), raw)
    assert learned is not None
    assert not isinstance(learned, bytes)
    with pytest.raises(TokenUnknownKey):
        await learned
    desk.clock.now += 10
    desk.jwks.answer = json_answer(MINT.jwks(newer))
    learned = desk.transactions.token(desk.exchange(), ledger(), raw)
    assert learned is not None
    assert not isinstance(learned, bytes)
    assert await learned == raw
    assert desk.transactions.token(desk.exchange(), ledger(), raw) == raw


async def test_a_token_of_our_own_is_held_to_it_too() -> None:
    """The service need not give what it was asked for."""
    desk = await Desk().load()
    most = frozenset({"ledger.read", "ledger.write"})
    for scope in ("ledger.read", "ledger.read ledger.write"):
        desk.transactions.hold(desk.exchange(), MINT.token(desk.clock.now, scope=scope), most)
    with pytest.raises(TtsBadAnswer):
        desk.transactions.hold(desk.exchange(), MINT.token(desk.clock.now, scope=WIDE), most)


async def test_what_goes_out_with_nothing_copied() -> None:
    """By the mark wherever the transaction is wanted, by the trace id where that is believed, else nothing."""
    desk = await Desk().load()
    by_mark, by_trace, never = (
        towards(each) for each in (Propagation.TRACESTATE, Propagation.TRACEPARENT, Propagation.NEVER)
    )
    mark = desk.enter(b"token")
    token = desk.transactions.token
    assert [token(desk.exchange(mark), to, b"") for to in (by_mark, by_trace, never)] == [b"token", b"token", b""]
    assert [token(desk.exchange(), to, b"") for to in (by_mark, by_trace, never)] == [b"", b"token", b""]
    assert token(desk.exchange(trace_id=OTHER), by_trace, b"") == b""
    desk.enter(b"another")
    with pytest.raises(TransactionAmbiguous):
        token(desk.exchange(), by_trace, b"")
    assert token(desk.exchange(mark), by_trace, b"") == b"token"


async def test_what_was_remembered_ends_with_its_token() -> None:
    """Until then, and not at it."""
    desk = await Desk().load()
    mark = desk.enter(b"token", life_s=5.0)
    desk.clock.now += 4.9
    assert desk.transactions.token(desk.exchange(mark), towards(Propagation.TRACESTATE), b"") == b"token"
    desk.clock.now += 0.1
    with pytest.raises(TokenExpired):
        desk.transactions.token(desk.exchange(mark), towards(Propagation.TRACESTATE), b"")


async def test_what_the_app_copied_is_of_its_transaction() -> None:
    """Itself, or a replacement of it, verified; another transaction's is refused, and where nothing is known it goes."""
    desk = await Desk().load()
    token, to = desk.transactions.token, towards(Propagation.TRACESTATE)
    own, replaced, foreign = (
        MINT.token(desk.clock.now, txn=txn, jti=jti) for txn, jti in (("a", 1), ("a", 2), ("b", 3))
    )
    mark = desk.enter(own, "a")
    assert [token(desk.exchange(mark), to, raw) for raw in (own, replaced)] == [own, replaced]
    with pytest.raises(TransactionMismatch):
        token(desk.exchange(mark), to, foreign)
    with pytest.raises(TokenBadSignature):
        token(desk.exchange(mark), to, MINT.forger().token(desk.clock.now, txn="a"))
    assert token(desk.exchange(), to, foreign) == foreign
    assert token(desk.exchange(mark), towards(Propagation.NEVER), foreign) == foreign


async def test_what_is_found_is_narrowed_as_well() -> None:
    """However the token came; the mark stays in the request until the step comes again."""
    clock = Clock()
    narrow = MINT.token(clock.now, scope="ledger.read")
    desk = await Desk(narrow).load()
    to = compile_destinations((replace(LEDGER, propagate=Propagation.TRACESTATE),), "example.org").all[0]
    mark = desk.enter(MINT.token(clock.now, scope=WIDE))
    exchange = desk.exchange(mark)
    asked = desk.transactions.token(exchange, to, b"")
    assert asked is not None
    assert not isinstance(asked, bytes)
    assert await asked == narrow
    assert desk.transactions.token(exchange, to, b"") == narrow
    assert desk.transactions.token(desk.exchange(), to, b"") == b""


async def test_narrow_scopes_are_wanted_in_one_order() -> None:
    """Equal wants are one request, however the sets were made."""
    clock = Clock()
    desk = await Desk(MINT.token(clock.now, scope="ledger.read")).load()
    most = compile_destinations(
        (replace(LEDGER, narrow=("ledger.write", "orders.read", "ledger.read")),), "example.org"
    )
    asked = desk.transactions.token(desk.exchange(), most.all[0], MINT.token(clock.now, scope=f"{WIDE} admin"))
    assert asked is not None
    assert not isinstance(asked, bytes)
    await asked
    assert parse_qs(desk.web.sent[0].body.decode())["scope"] == ["ledger.read ledger.write orders.read"]


async def test_what_was_verified_is_known_of_the_request() -> None:
    """Whoever looks for what was revoked, and the audit, need not read the token again."""
    desk = await Desk().load()
    narrowed, held, copied = desk.exchange(), desk.exchange(), desk.exchange(desk.enter(b"token", "a"))
    desk.transactions.token(narrowed, ledger(), MINT.token(desk.clock.now, scope="ledger.read", txn="n"))
    desk.transactions.hold(held, MINT.token(desk.clock.now, scope="ledger.read", txn="h"), frozenset({"ledger.read"}))
    desk.transactions.token(copied, towards(Propagation.TRACESTATE), MINT.token(desk.clock.now, txn="a"))
    assert [each.token.txn for each in (narrowed, held, copied) if each.token] == ["n", "h", "a"]


async def test_the_key_of_what_is_remembered_is_learned_too() -> None:
    """The app has copied nothing; the token that was found names the key."""
    desk, newer = await Desk().load(), TokenMint(kid="newer")
    raw = newer.token(desk.clock.now, scope="ledger.read")
    to = compile_destinations((replace(LEDGER, propagate=Propagation.TRACESTATE),), "example.org").all[0]
    mark = desk.enter(raw)
    desk.jwks.answer = json_answer(MINT.jwks(newer))
    learned = desk.transactions.token(desk.exchange(mark), to, b"")
    assert learned is not None
    assert not isinstance(learned, bytes)
    assert await learned == raw
    assert desk.transactions.token(desk.exchange(mark), to, b"") == raw


async def test_without_a_memory_nothing_is_found() -> None:
    """What the app put in goes; nothing else does."""
    desk = await Desk().load()
    mark = desk.enter(b"token")
    desk.transactions.passages = None
    to = towards(Propagation.TRACEPARENT)
    assert [desk.transactions.token(desk.exchange(mark), to, raw) for raw in (b"", b"own")] == [b"", b"own"]


async def test_what_is_remembered_ends_with_its_grace() -> None:
    """By the clock that never steps back: that of the calendar plays no part."""
    desk = await Desk().load()
    passage = desk.passages.enter(TRACE, b"token", "t", desk.clock.now + 300, 0.0)
    exchange = desk.exchange(f"Tracestate: svidecar={passage.mark.decode()}")
    passage.leave(exchange.runtime.clock() - 0.5)
    assert desk.transactions.token(exchange, towards(Propagation.TRACESTATE), b"") == b"token"
    exchange.runtime.clock = RuntimeClock(exchange.runtime.clock() + 0.5)
    assert desk.transactions.token(exchange, towards(Propagation.TRACESTATE), b"") == b""


async def test_what_the_app_copied_is_of_one_of_those_that_share_a_trace() -> None:
    """One that is remembered goes as it is; a replacement is of any one of them."""
    desk = await Desk().load()
    token, to = desk.transactions.token, towards(Propagation.TRACEPARENT)
    desk.enter(b"one", "a")
    desk.enter(b"another", "b")
    assert [token(desk.exchange(), to, raw) for raw in (b"one", b"another")] == [b"one", b"another"]
    replaced = MINT.token(desk.clock.now, txn="b")
    assert token(desk.exchange(), to, replaced) == replaced
    with pytest.raises(TransactionMismatch):
        token(desk.exchange(), to, MINT.token(desk.clock.now, txn="c"))


# ---- what other processes of the app know


class Process(Desk):
    """One of several processes of an app that share their transactions."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.metrics = Metrics("0", "test")
        settings = SharingSettings(folder=folder, timeout_s=5.0)
        self.transactions.siblings = Siblings(settings, self.passages, self.metrics, time.monotonic)
        self.tasks = Tasks("test")

    @property
    def lookups(self) -> int:
        """How often the others were asked."""
        return sum(self.metrics.sibling_lookup("ok").counts)

    async def find(self, exchange: Exchange, to: Destination, brought: bytes = b"") -> bytes:
        """Take the step, and once more when the others were asked."""
        found = self.transactions.token(exchange, to, brought)
        assert found is not None
        if not isinstance(found, bytes):
            await found
            found = self.transactions.token(exchange, to, brought)
        assert isinstance(found, bytes), "nobody is asked twice"
        return found


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Process, Process]]:
    """Two of them."""
    made = Process(tmp_path / "shared"), Process(tmp_path / "shared")
    for one in made:
        await one.load()
        await one.transactions.begin(one.tasks, one.clock())
    yield made
    for one in made:
        await one.transactions.close()
        await one.tasks.close()
        await one.keys.close()
    await asyncio.sleep(0.01)


BY_MARK, BY_TRACE = Propagation.TRACESTATE, Propagation.TRACEPARENT


async def test_what_another_process_knows_is_found(two: tuple[Process, Process]) -> None:
    """By its mark or under the trace id; what nobody knows is nothing, and is asked for once."""
    here, there = two
    mark = there.enter(b"token")
    assert await here.find(here.exchange(mark), towards(BY_MARK)) == b"token"
    assert await here.find(here.exchange(mark), towards(BY_TRACE)) == b"token"
    assert await here.find(here.exchange(), towards(BY_TRACE)) == b"token"
    assert await here.find(here.exchange(trace_id=OTHER), towards(BY_TRACE)) == b""
    assert await here.find(here.exchange("Tracestate: svidecar=" + "f" * 32), towards(BY_MARK)) == b""
    assert here.lookups == 5


async def test_a_mark_is_asked_by_and_not_the_trace(two: tuple[Process, Process]) -> None:
    """Another token under the same trace id is no doubt about one that is marked."""
    here, there = two
    mark = there.enter(b"token")
    there.enter(b"another")
    assert await here.find(here.exchange(mark), towards(BY_TRACE)) == b"token"
    with pytest.raises(TransactionAmbiguous):
        await here.find(here.exchange(), towards(BY_TRACE))


async def test_what_both_know_counts_together(two: tuple[Process, Process]) -> None:
    """What is known here is not forgotten for it; two tokens under a trace id are two, wherever they are."""
    here, there = two
    here.enter(b"token", "a")
    assert await here.find(here.exchange(), towards(BY_TRACE)) == b"token"
    there.enter(b"token", "a")
    assert await here.find(here.exchange(), towards(BY_TRACE)) == b"token"
    there.enter(b"another", "b")
    with pytest.raises(TransactionAmbiguous):
        await here.find(here.exchange(), towards(BY_TRACE))
    assert await here.find(here.exchange(), towards(BY_TRACE), b"another") == b"another"
    assert here.lookups == 4


async def test_what_the_app_copied_is_held_to_what_another_process_knows(two: tuple[Process, Process]) -> None:
    """Of that transaction it goes, and of another it does not."""
    here, there = two
    mark = there.enter(b"token", "a")
    own, foreign = (MINT.token(here.clock.now, txn=txn) for txn in ("a", "b"))
    assert await here.find(here.exchange(mark), towards(BY_MARK), own) == own
    with pytest.raises(TransactionMismatch):
        await here.find(here.exchange(mark), towards(BY_MARK), foreign)


async def test_nobody_is_asked_who_could_change_nothing(two: tuple[Process, Process]) -> None:
    """A mark of our own or of nobody's, no mark where only that counts, no trace, no propagation."""
    here, there = two
    there.enter(b"token")
    mark = here.enter(b"ours")
    untraced = here.exchange(trace_id=OTHER)  # as we have made it for a request that brought none
    del untraced.head.held[b"traceparent"]
    nobodys = ("Tracestate: svidecar=xyz", "Tracestate: svidecar=" + "F" * 32, f"{mark},svidecar=1")
    token = here.transactions.token
    assert [token(here.exchange(mark), towards(each), b"") for each in (BY_MARK, BY_TRACE)] == [b"ours", b"ours"]
    for each in nobodys:
        assert [token(here.exchange(each), towards(way), b"") for way in (BY_MARK, BY_TRACE)] == [b"", b""], each
    assert token(here.exchange(), towards(BY_MARK), b"") == b""
    assert token(untraced, towards(BY_TRACE), b"") == b""
    assert token(here.exchange(), towards(Propagation.NEVER), b"") == b""
    assert here.lookups == 0

"""transaction.py: what its memories are made of, whom they are shared with, and how it begins and ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fetch import Clock, Web, json_answer
from support.revocation import entry
from support.tokens import TokenMint

from proxy.errors import (
    Internal,
    RevocationStale,
    TokenBadSignature,
    TokenRevoked,
    TransactionReplayed,
    TransactionsFull,
    UsedTransactionsFull,
)
from proxy.flow.settings import InboundSettings, ListenerSettings, SharingSettings
from proxy.flow.siblings import Siblings
from proxy.flow.transaction import Transactions, counted, memories_for, memory_for
from proxy.flow.uses import Uses
from proxy.net.accept import ListenFailed
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.policy.revocation import Revoked
from proxy.policy.settings import DestinationSettings, Propagation
from proxy.tokens.jwks import KeyStore
from proxy.tokens.passage import Passages
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.tts import TokenService, Want

MINT = TokenMint()
SETTINGS = TokenSettings(
    audience="example.org",
    keys="https://tts/jwks",
    service=ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts"),
    cache_entries=10,
)
INBOUND = InboundSettings(
    listener=ListenerSettings(host="127.0.0.1", port=0),
    app_host="127.0.0.1",
    app_port=1,
    transactions=2,
    transaction_bytes=100,
    transaction_grace_s=60.0,
    used_transactions=2,
    used_window_s=10.0,
)
SILENT = DestinationSettings(host="ledger", address="ledger:15006", spiffe_id="spiffe://example.org/ledger")
ASKING = replace(SILENT, host="stock", propagate=Propagation.TRACESTATE)
TRACE = b"0af7651916cd43dd8448eb211c80319c"
NOW = 1_700_000_000.0


def shared(folder: Path) -> SharingSettings:
    """Several processes of the app share this folder."""
    return SharingSettings(folder=folder / "shared", timeout_s=5.0)


def keys_at(clock: Clock) -> KeyStore:
    """The keys of the mint."""
    return KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), clock)


# ---- the memory of what is with the app


def test_who_pays_for_a_memory(tmp_path: Path) -> None:
    """Where one of several destinations asks for it, or other processes can; else nobody."""
    assert memory_for((SILENT, ASKING), INBOUND, None) is not None
    assert memory_for((SILENT,), INBOUND, None) is None
    assert memory_for((), INBOUND, None) is None
    assert memory_for((ASKING,), None, None) is None, "nothing is ever in it"
    assert memory_for((), INBOUND, shared(tmp_path)) is not None
    assert memory_for((), None, shared(tmp_path)) is not None


def test_other_destinations_keep_what_is_remembered(tmp_path: Path) -> None:
    """The same memory, as long as one is needed; then none, and later an empty one."""
    now = memory_for((ASKING,), INBOUND, None)
    assert now is not None
    assert memory_for((SILENT, ASKING), INBOUND, None, now) is now
    assert memory_for((SILENT,), INBOUND, shared(tmp_path), now) is now
    assert memory_for((SILENT,), INBOUND, None, now) is None
    assert memory_for((ASKING,), INBOUND, None) is not now


def test_a_memory_has_the_limits_that_inbound_says() -> None:
    """So many, of so many bytes, for so long after the answer; and marks that nobody can guess."""
    memory = memory_for((ASKING,), INBOUND, None)
    assert memory is not None
    one, two = (memory.enter(TRACE, b"x" * 20, "t", NOW, 0.0) for _ in range(2))
    assert one.mark != two.mark
    with pytest.raises(TransactionsFull):
        memory.enter(TRACE, b"", "t", NOW, 0.0)
    one.leave(100.0)
    with pytest.raises(TransactionsFull):
        memory.enter(TRACE, b"", "t", NOW, 159.9)
    with pytest.raises(TransactionsFull):
        memory.enter(TRACE, b"x" * 79, "t", NOW, 160.0)
    memory.enter(TRACE, b"x" * 78, "t", NOW, 160.0)
    again = memory_for((ASKING,), INBOUND, None)
    assert again is not None
    assert again.enter(TRACE, b"", "t", NOW, 0.0).mark not in {one.mark, two.mark}


# ---- all of them, and who shares them


def use(uses: Uses, txn: str) -> bool:
    """Whether a use passes."""
    assert uses.begin()
    try:
        uses.use("POST /pay", txn, NOW + 5, NOW)
    except TransactionReplayed:
        return False
    return True


def test_alone_nobody_is_asked() -> None:
    """Nothing is shared: uses are counted as inbound says, and what is with the app is remembered if it is asked for."""
    uses, passages, siblings = memories_for((ASKING,), INBOUND, None, Metrics("0", "test"))
    assert passages is not None
    assert siblings is None
    assert [use(uses, "a"), use(uses, "a"), use(uses, "b")] == [True, False, True]
    with pytest.raises(UsedTransactionsFull):
        use(uses, "c")
    assert memories_for((SILENT,), INBOUND, None, Metrics("0", "test"))[1:] == (None, None)


class Process:
    """One of the processes that share, with all that it is made of."""

    def __init__(self, folder: Path, inbound: InboundSettings | None) -> None:
        self.metrics = Metrics("0", "test")
        self.tasks = Tasks("test")
        memories: tuple[Uses, Passages | None, Siblings | None]
        memories = memories_for((), inbound, shared(folder), self.metrics)
        authenticator = counted(SETTINGS, keys_at(Clock()), self.metrics, Revoked())
        self.transactions = Transactions(authenticator, None, *memories)

    async def close(self) -> None:
        """End it."""
        await self.transactions.close()
        await self.tasks.close()
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def process(folder: Path, inbound: InboundSettings | None = INBOUND, now: float = NOW) -> AsyncIterator[Process]:
    """One that has begun."""
    made = Process(folder, inbound)
    await made.transactions.begin(made.tasks, now)
    yield made
    await made.close()


async def test_processes_that_share_ask_each_other(tmp_path: Path) -> None:
    """For what is with the app, also in its grace, and also who has no inbound; it is counted by who has asked."""
    async with process(tmp_path) as inbound, process(tmp_path, None) as outbound:
        passages, siblings = inbound.transactions.passages, outbound.transactions.siblings
        assert passages is not None
        assert siblings is not None
        passage = passages.enter(TRACE, b"token", "t", NOW + 300, time.monotonic())
        passage.leave(time.monotonic())
        assert [each.raw for each in await siblings.ask(TRACE, passage.mark)] == [b"token"]
        assert sum(outbound.metrics.sibling_lookup("ok").counts) == 1


async def test_processes_that_share_have_one_list_of_uses(tmp_path: Path) -> None:
    """In their folder; who begins later knows what was used before, while that counts."""
    async with process(tmp_path) as one, process(tmp_path) as two:
        assert use(one.transactions.uses, "a")
        assert not use(two.transactions.uses, "a")
        async with process(tmp_path) as late:
            assert late.transactions.uses.fullness(NOW) == 0.5, "it has read the list"
        async with process(tmp_path, now=NOW + INBOUND.used_window_s) as later:
            assert later.transactions.uses.fullness(NOW) == 0.0


# ---- beginning and end


async def test_nobody_begins_over_a_list_that_is_none(tmp_path: Path) -> None:
    """It is said at the start, and not with the first request."""
    (tmp_path / "shared").mkdir(mode=0o700)
    (tmp_path / "shared" / "used").write_bytes(b"x" * 32)
    made = Process(tmp_path, INBOUND)
    with pytest.raises(ListenFailed):
        await made.transactions.begin(made.tasks, NOW)
    await made.close()


async def test_who_ends_leaves_nothing_that_others_would_wait_for(tmp_path: Path) -> None:
    """Neither a socket to ask at nor the list, although a use had begun."""
    async with process(tmp_path) as one:
        assert {path.suffix for path in (tmp_path / "shared").iterdir()} == {".sock", ""}
        assert one.transactions.uses.begin()
        await one.close()
        assert [path.name for path in (tmp_path / "shared").iterdir()] == ["used"]
        async with process(tmp_path) as two:
            assert two.transactions.uses.begin()


async def test_what_is_asked_of_the_token_service_ends_with_it() -> None:
    """Whoever waits is told so at once; without a service, or others, there is nothing to end."""
    clock = Clock()
    web, keys = Web(json_answer(b"{}")), keys_at(clock)
    await keys.load()
    web.gate.clear()
    authenticator = counted(SETTINGS, keys, Metrics("0", "test"), Revoked())
    service = TokenService(SETTINGS, web, keys, clock, lambda: 0.5)
    transactions = Transactions(authenticator, service, *memories_for((), INBOUND, None, Metrics("0", "test")))
    await transactions.begin(Tasks("test"), NOW)
    asking = asyncio.get_running_loop().create_task(service.obtain(Want("spiffe://example.org/orders", ("a",))))
    while not web.sent:
        await asyncio.sleep(0)
    await transactions.close()
    with pytest.raises(Internal, match="given up"):
        await asking
    transactions.service = None
    await transactions.close()
    await keys.close()


# ---- what verifies tokens for both directions


async def test_a_token_is_verified_once_and_counted() -> None:
    """As many as are configured are remembered; what it took is told by its result."""
    clock, metrics = Clock(), Metrics("0", "test")
    keys = keys_at(clock)
    await keys.load()
    authenticator = counted(SETTINGS, keys, metrics, Revoked())
    tokens = [MINT.token(clock.now, txn=str(number)) for number in range(5)]
    for raw in tokens:
        authenticator.authenticate(raw, clock.now)
    assert (metrics.token_cache("hit").value, metrics.token_cache("miss").value) == (0, 5)
    for raw in tokens:
        authenticator.authenticate(raw, clock.now)
    assert (metrics.token_cache("hit").value, metrics.token_cache("miss").value) == (5, 5)
    with pytest.raises(TokenBadSignature):
        authenticator.authenticate(MINT.forger().token(clock.now), clock.now)
    for result, count in (("verified", 5), ("token_bad_signature", 1)):
        told = metrics.token_verify(result)
        assert sum(told.counts) == count
        assert told.total > 0
    await keys.close()


async def test_what_is_revoked_is_refused_also_where_it_was_verified() -> None:
    """When it is verified, and when what is remembered is doubted."""
    clock, revoked = Clock(), Revoked()
    keys = keys_at(clock)
    await keys.load()
    authenticator = counted(SETTINGS, keys, Metrics("0", "test"), revoked)
    known, new, good = (MINT.token(clock.now, txn=txn, jti=jti) for txn, jti in (("a", 1), ("a", 2), ("b", 3)))
    for raw in (known, good):
        authenticator.authenticate(raw, clock.now)
    revoked.add(entry(txn="a"))
    authenticator.doubt()
    for raw in (known, new):
        with pytest.raises(TokenRevoked):
            authenticator.authenticate(raw, clock.now)
    assert authenticator.authenticate(good, clock.now).txn == "b"
    revoked.blind = True
    authenticator.doubt()
    with pytest.raises(RevocationStale):
        authenticator.authenticate(good, clock.now)
    await keys.close()

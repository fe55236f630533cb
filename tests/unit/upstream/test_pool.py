"""The pool of one endpoint, over real connections."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
from support.apps import RawApp, answering
from support.pki import Authority, der
from support.ports import refused_port

from proxy.errors import UpstreamDown, UpstreamOverloaded, UpstreamReset
from proxy.http1.limits import Limits
from proxy.identity.bundle import Bundle
from proxy.identity.peer import identify
from proxy.identity.store import IdentityStore
from proxy.net.deadlines import Deadlines
from proxy.net.transport import EventLoop, Transports
from proxy.policy.settings import Protection
from proxy.tls.contexts import TlsContexts
from proxy.tls.proofs import Proofs
from proxy.tls.settings import TlsSettings
from proxy.upstream.connection import Upstream
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool
from proxy.upstream.settings import PoolSettings


class Answer:
    """Who has a connection on loan: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_answer(self) -> None:
        """Take bytes."""
        self.told.append("answer")

    def on_answer_end(self) -> None:
        """Take the end."""
        self.told.append("end")

    def on_upstream_lost(self, error: Exception) -> None:
        """Take the loss."""
        self.told.append(type(error).__name__)

    def on_upstream_writable(self, *, writable: bool) -> None:
        """Take the pace."""
        self.told.append(f"writable {writable}")


@pytest.fixture
async def app() -> AsyncIterator[RawApp]:
    """An app that answers."""
    made = RawApp(answering())
    yield made
    made.close()


def _pool(port: int, **settings: float) -> Pool:
    loop = asyncio.get_running_loop()
    store = IdentityStore()
    dialer = Dialer(
        Transports(loop, EventLoop.ASYNCIO),
        TlsContexts(store, TlsSettings()),
        store,
        time.time,
        time.monotonic,
        lambda _result, _seconds: None,
    )
    endpoint = Endpoint(host="127.0.0.1", port=port, protection=Protection.PLAIN)
    return Pool(endpoint, PoolSettings(**settings), Limits(), dialer, Deadlines(loop), time.monotonic)  # type: ignore[arg-type]


async def _use(upstream: Upstream) -> Answer:
    """One whole exchange."""
    answer = Answer()
    upstream.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET", answer)
    async with asyncio.timeout(20):
        while not upstream.decoder.buffered_bytes:
            await asyncio.sleep(0.001)
    while upstream.decoder.next_event() is not None:
        pass
    return answer


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_lent_again_while_it_is_fresh(app: RawApp) -> None:
    """The same connection, and only one."""
    pool = _pool(app.port)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    assert pool.lend(time.monotonic()) is upstream
    await _use(upstream)
    assert app.accepted == 1
    pool.discard(upstream)
    await _until(lambda: pool.ledger.open == 0)


async def test_closed_when_it_has_been_idle(app: RawApp) -> None:
    """By its deadline, from our side."""
    pool = _pool(app.port, idle_s=0.1)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    await _until(lambda: upstream.closed)
    assert (pool.ledger.open, pool.lend(time.monotonic())) == (0, None)


async def test_not_kept_past_the_end_of_an_identity(app: RawApp) -> None:
    """Not lent after it, and closed at it."""
    pool = _pool(app.port)
    upstream = await pool.open()
    upstream.retires_at = time.monotonic() - 1
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    assert pool.lend(time.monotonic()) is None
    await _until(lambda: upstream.closed)


async def test_an_app_that_closes_while_idle(app: RawApp) -> None:
    """It is gone from the books before anybody asks for it."""
    pool = _pool(app.port)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    app.cut()
    await _until(lambda: upstream.closed)
    assert (pool.ledger.open, pool.ledger.idle) == (0, 0)


async def test_not_lent_once_its_peer_is_believed_no_more(app: RawApp) -> None:
    """Also before the round of judging has come to it: another bundle was taken, and this one is asked for first."""
    pool = _pool(app.port)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    authority = Authority.make("example.org")
    bundle = Bundle(trust_domain="example.org", authorities=authority.anchors)
    chain = [*authority.svid("spiffe://example.org/orders").chain_der, der(authority.anchors[0])]
    upstream.peer = identify(chain, {"example.org": bundle}, time.time())
    pool._dialer.proofs = Proofs({}, time.time())
    assert pool.lend(time.monotonic()) is None
    await _until(lambda: upstream.closed)
    assert pool.ledger.open == 0


async def test_lent_again_by_a_newer_bundle_that_proves_its_peer_too(app: RawApp) -> None:
    """A bundle with one authority more costs nobody a connection."""
    pool = _pool(app.port)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    pool._dialer.proofs = Proofs({}, time.time())
    assert pool.lend(time.monotonic()) is upstream, "of a plain one nobody has to prove anything"
    pool.discard(upstream)


async def test_bytes_that_nobody_asked_for_end_it() -> None:
    """An answer between two requests is nobody's (specs 6.8)."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)

    app = RawApp(script)
    pool = _pool(app.port)
    upstream = await pool.open()
    await _until(lambda: upstream.closed)
    assert pool.ledger.open == 0
    app.close()


async def test_one_more_than_may_be(app: RawApp) -> None:
    """Refused at once; a place that comes free is taken."""
    pool = _pool(app.port, max_connections=1)
    upstream = await pool.open()
    with pytest.raises(UpstreamOverloaded):
        await pool.open()
    pool.discard(upstream)
    await _until(lambda: pool.ledger.open == 0)
    pool.discard(await pool.open())
    await _until(lambda: pool.ledger.open == 0)


async def test_what_could_not_be_opened_takes_no_place() -> None:
    """Refused connections and cancelled dials."""
    with refused_port() as port:
        pool = _pool(port, max_connections=1)
        for _ in range(3):
            with pytest.raises(UpstreamDown):
                await pool.open()
        dialing = asyncio.get_running_loop().create_task(pool.open())
        await asyncio.sleep(0)
        dialing.cancel()
        await asyncio.wait((dialing,))
        assert pool.ledger.open == 0


async def test_a_retired_pool_keeps_nothing(app: RawApp) -> None:
    """What is idle ends now, what is on loan when it comes back."""
    pool = _pool(app.port)
    idle, lent = await pool.open(), await pool.open()
    await _use(idle)
    pool.take_back(idle, time.monotonic())
    pool.retire()
    await _until(lambda: idle.closed)
    assert not lent.closed
    await _use(lent)
    pool.take_back(lent, time.monotonic())
    await _until(lambda: pool.ledger.open == 0)


async def test_a_closed_pool_cuts_what_is_idle(app: RawApp) -> None:
    """At once."""
    pool = _pool(app.port)
    upstream = await pool.open()
    await _use(upstream)
    pool.take_back(upstream, time.monotonic())
    pool.close()
    await _until(lambda: upstream.closed)
    assert pool.ledger.open == 0


async def test_a_request_that_was_not_taken_whole_is_not_waited_for() -> None:
    """An app that reads no further: discarding cuts it, though much is buffered."""
    app = RawApp(_hold)
    pool = _pool(app.port)
    upstream = await pool.open()
    upstream.send(b"x" * 20_000_000, b"POST", Answer())
    assert upstream.transport.get_write_buffer_size() > 0
    pool.discard(upstream)
    await _until(lambda: upstream.closed)
    app.close()


def _hold(connection: socket.socket) -> None:
    connection.settimeout(5)
    connection.recv(1, socket.MSG_PEEK)
    time.sleep(0.5)


async def test_what_the_listener_is_told(app: RawApp) -> None:
    """Of the end and the loss; after a deadline, that nothing came in time."""
    pool = _pool(app.port)
    first, second = await pool.open(), await pool.open()
    answers = Answer(), Answer()
    for upstream, answer in zip((first, second), answers, strict=True):
        upstream.lend_to(answer, b"GET")
    await _until(lambda: app.open == 2)
    first.on_deadline()
    app.cut()
    await _until(lambda: first.closed and second.closed)
    assert answers[0].told == ["UpstreamTimeout"]
    assert answers[1].told[-1] == UpstreamReset.__name__

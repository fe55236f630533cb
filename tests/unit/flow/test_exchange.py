"""One request and its answer between a caller that keeps what it is told and a real connection over a socket pair."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from support.flow import Caller, Clock, exchange_of, get, make_runtime, open_upstream
from support.pki import Authority

from proxy.errors import ClientClosed
from proxy.flow.exchange import Exchange
from proxy.flow.runtime import Runtime
from proxy.http1.message import EndOfMessage, RequestHead
from proxy.identity.bundle import Bundle
from proxy.identity.peer import identify
from proxy.net.deadlines import NEVER
from proxy.upstream.connection import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FIRST_BYTE_S, STREAM_IDLE_S = 60.0, 300.0


@dataclass
class Stage:
    """A caller, an upstream, and the app's end of it."""

    runtime: Runtime
    clock: Clock
    caller: Caller
    upstream: Upstream
    app: socket.socket

    def begin(self, head: RequestHead, *, reused: bool = False) -> Exchange:
        """Send a request."""
        self.upstream.uses = 1 if reused else 0
        exchange = exchange_of(self.runtime, self.caller, head)
        exchange.begin(self.upstream, FIRST_BYTE_S, STREAM_IDLE_S)
        return exchange

    async def answer(self, data: bytes) -> None:
        """Have the app send bytes, and wait until they are here."""
        await asyncio.get_running_loop().sock_sendall(self.app, data)
        await self.settle()

    async def settle(self) -> None:
        """Let the loop see what has happened."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def received(self) -> bytes:
        """What the app was sent."""
        await self.settle()
        return self.app.recv(1 << 20)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An open connection."""
    clock = Clock()
    upstream, app = await open_upstream()
    yield Stage(make_runtime(clock), clock, Caller(), upstream, app)
    upstream.transport.abort()
    app.close()
    await asyncio.sleep(0)


async def test_a_whole_exchange(stage: Stage) -> None:
    """Head out, answer back, the connection kept in step."""
    exchange = stage.begin(get())
    assert await stage.received() == exchange.offer
    assert stage.upstream.deadline == stage.clock.now + FIRST_BYTE_S
    await stage.answer(OK)
    assert stage.caller.sent == OK
    assert stage.caller.ended_with == [True]
    assert exchange.finished
    assert exchange.response_bytes == 2


async def test_cut_anywhere(stage: Stage) -> None:
    """However an answer is cut, what goes on is the same."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    stage.begin(get("TE: trailers"))
    for at in range(len(chunked)):
        await stage.answer(chunked[at : at + 1])
    head, _, body = stage.caller.sent.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n"


DEATHS: dict[str, Callable[[Stage], None]] = {
    "fin": lambda stage: stage.app.shutdown(socket.SHUT_RDWR),
    "close": lambda stage: stage.app.close(),
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize(
    ("head", "reused", "again"),
    [
        (get(), True, True),
        (get(method="HEAD"), True, True),
        (get(method="PUT"), True, True),
        (get(method="DELETE"), True, True),
        (get(method="OPTIONS"), True, True),
        (get(), False, False),
        (get(method="POST"), True, False),
        (get(method="PATCH"), True, False),
        (get(method="MKCOL"), True, False),
    ],
    ids=lambda value: value.method.decode() if isinstance(value, RequestHead) else str(value),
)
async def test_what_is_sent_again(stage: Stage, head: RequestHead, reused: bool, again: bool, death: str) -> None:  # noqa: FBT001 - cases
    """Only idempotent requests, only on a connection that was used before, however it died."""
    exchange = stage.begin(head, reused=reused)
    DEATHS[death](stage)
    await stage.settle()
    assert stage.caller.reopened == int(again)
    assert stage.caller.refused == ([] if again else ["upstream_reset"])
    assert exchange.finished is not again


async def test_not_twice(stage: Stage) -> None:
    """The second death is told."""
    exchange = stage.begin(get(), reused=True)
    stage.app.close()
    await stage.settle()
    upstream, app = await open_upstream()
    upstream.uses = 1
    exchange.begin(upstream, FIRST_BYTE_S, STREAM_IDLE_S)
    app.close()
    await stage.settle()
    assert (stage.caller.reopened, stage.caller.refused) == (1, ["upstream_reset"])


async def test_not_with_a_body(stage: Stage) -> None:
    """What was sent of it is not kept."""
    exchange = stage.begin(get("Content-Length: 2", method="PUT"), reused=True)
    exchange.body(b"ok")
    exchange.body_end(EndOfMessage())
    exchange.flush()
    stage.app.close()
    await stage.settle()
    assert (stage.caller.reopened, stage.caller.refused) == (0, ["upstream_reset"])


@pytest.mark.parametrize("first", [b"HTTP/1.1 102 X\r\n\r\n", b"H", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_not_after_a_byte(stage: Stage, first: bytes) -> None:
    """An interim answer and half a head are bytes."""
    stage.begin(get(), reused=True)
    await stage.answer(first)
    stage.app.close()
    await stage.settle()
    assert (stage.caller.reopened, stage.caller.refused) == (0, ["upstream_reset"])


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nha\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nha\r\nX\r\n",
    ],
)
async def test_half_an_answer_is_cut(stage: Stage, half: bytes) -> None:
    """No end is written after it, and no second answer."""
    stage.begin(get(), reused=True)
    await stage.answer(half)
    stage.app.close()
    await stage.settle()
    assert (stage.caller.aborted, stage.caller.reopened, stage.caller.refused) == (1, 0, [])
    assert stage.caller.ended_with == []
    assert not stage.caller.sent.endswith(b"0\r\n\r\n")


async def test_until_close_becomes_chunked(stage: Stage) -> None:
    """And the end of the connection its end."""
    stage.begin(get())
    await stage.received()  # an app that closes with bytes unread resets, and that is no end
    await stage.answer(b"HTTP/1.1 200 OK\r\n\r\nall")
    stage.app.close()
    await stage.settle()
    assert stage.caller.sent.endswith(b"\r\n\r\n3\r\nall\r\n0\r\n\r\n")
    assert stage.caller.ended_with == [True]


async def test_deadlines_follow_what_is_waited_for(stage: Stage) -> None:
    """The first byte once the request is whole, then the stream; nothing while the caller does not read."""
    exchange = stage.begin(get("Content-Length: 4", method="POST"))
    assert stage.upstream.deadline == stage.clock.now + STREAM_IDLE_S, "the body may still come"
    exchange.body(b"half")
    exchange.body_end(EndOfMessage())
    exchange.flush()
    assert stage.upstream.deadline == stage.clock.now + FIRST_BYTE_S
    stage.clock.now += 5
    await stage.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    assert stage.upstream.deadline == stage.clock.now + STREAM_IDLE_S
    exchange.on_client_writable(writable=False)
    assert stage.upstream.deadline == NEVER
    exchange.on_client_writable(writable=True)
    assert stage.upstream.deadline == stage.clock.now + STREAM_IDLE_S


async def test_an_answer_that_comes_before_the_request_is_whole(stage: Stage) -> None:
    """Its stream has the patience of a stream, and the connections end with it."""
    exchange = stage.begin(get("Content-Length: 4", method="POST"))
    await stage.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    exchange.body(b"half")
    exchange.body_end(EndOfMessage())
    exchange.flush()
    assert stage.upstream.deadline == stage.clock.now + STREAM_IDLE_S, "the first byte has come"
    await stage.answer(b"lf")
    assert b"Connection: close" in stage.caller.sent
    assert stage.caller.ended_with == [False]


async def test_back_pressure_towards_the_app(stage: Stage) -> None:
    """While the request has more to come; after that there is nobody to stop."""
    exchange = stage.begin(get("Content-Length: 4", method="POST"))
    exchange.on_upstream_writable(writable=False)
    exchange.on_upstream_writable(writable=True)
    assert stage.caller.paces == [False, True]
    exchange.body(b"body")
    exchange.body_end(EndOfMessage())
    exchange.on_upstream_writable(writable=False)
    assert stage.caller.paces == [False, True]


async def test_back_pressure_towards_the_caller(stage: Stage) -> None:
    """The upstream is not read while the caller does not read; after the exchange it is read again."""
    exchange = stage.begin(get())
    exchange.on_client_writable(writable=False)
    assert not stage.upstream.transport.is_reading()
    exchange.on_client_writable(writable=True)
    await stage.answer(OK)
    assert stage.caller.ended_with == [True]


async def test_the_caller_goes_away(stage: Stage) -> None:
    """The upstream is cut with it: what it still sends has nowhere to go."""
    exchange = stage.begin(get())
    exchange.client_lost(ClientClosed())
    exchange.client_lost(ClientClosed())
    assert stage.upstream.transport.is_closing()
    assert (stage.caller.sent, stage.caller.refused) == (b"", [])


@pytest.mark.parametrize(
    ("request_lines", "answer"),
    [
        ([], b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        (
            ["Connection: upgrade", "Upgrade: websocket"],
            b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        ),
        (["Connection: upgrade", "Upgrade: websocket"], b"HTTP/1.1 101 X\r\n\r\n"),
    ],
    ids=["nothing was offered", "something else", "nothing was taken"],
)
async def test_a_switch_that_was_not_agreed_on(stage: Stage, request_lines: list[str], answer: bytes) -> None:
    """It is no tunnel; the upstream is cut, the caller refused."""
    stage.begin(get(*request_lines))
    await stage.answer(answer + b"secret")
    assert stage.caller.tunnel is None
    assert stage.caller.refused
    assert b"secret" not in stage.caller.sent
    assert stage.upstream.transport.is_closing()


async def test_a_switch(stage: Stage) -> None:
    """What came with it, on either side, goes through; an interim answer before it stays before it."""
    stage.caller.behind = b"early"
    stage.begin(get("Connection: upgrade", "Upgrade: websocket"))
    await stage.received()
    await stage.answer(
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\nhello"
    )
    assert stage.caller.tunnel is not None
    assert stage.caller.sent == (
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 X\r\nX-A: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
    )
    assert await stage.received() == b"early"


@pytest.mark.parametrize(
    ("method", "answer", "again"),
    [
        ("HEAD", b"200 OK\r\nContent-Length: 5", False),
        ("HEAD", b"200 OK", False),
        ("GET", b"204 No Content", True),
        ("GET", b"204 No Content\r\nContent-Length: 5", False),
        ("GET", b"204 No Content\r\nTransfer-Encoding: chunked", False),
        ("GET", b"304 Not Modified", True),
        ("GET", b"304 Not Modified\r\nContent-Length: 5", False),
        ("GET", b"200 OK\r\nContent-Length: 0", True),
    ],
)
async def test_a_body_that_should_not_come_answers_nobody_else(
    stage: Stage,
    method: str,
    answer: bytes,
    again: bool,  # noqa: FBT001 - a case
) -> None:
    """An app in error sends it late, when another request may be on the way: its connection is not lent again."""
    stage.begin(get(method=method))
    await stage.answer(b"HTTP/1.1 " + answer + b"\r\n\r\n")
    assert stage.caller.ended_with == [True]
    assert (stage.upstream.uses > 0) is again


async def test_a_peer_of_the_mesh_is_held_to_its_framing_by_its_sidecar(stage: Stage) -> None:
    """So a HEAD costs no handshake."""
    ca = Authority.make("example.org")
    bundles = {"example.org": Bundle.from_der("example.org", ca.bundle_der)}
    chain = [*ca.svid("spiffe://example.org/a").chain_der, ca.bundle_der]
    stage.upstream.peer = identify(chain, bundles, time.time())
    stage.begin(get(method="HEAD"))
    await stage.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert stage.upstream.uses == 1

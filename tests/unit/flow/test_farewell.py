"""How a connection ends: over real transports of each loop, with a reader that is slow, absent or still sending."""

import asyncio
import socket
import ssl
import time

import pytest
from support.flow import Clock
from support.mtls import Wire, on_loop, store_of
from support.pki import Authority

from proxy.flow.farewell import LINGER_BYTES, Farewell
from proxy.flow.settings import Timeouts
from proxy.net.deadlines import NEVER
from proxy.net.transport import EventLoop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings

KINDS = list(EventLoop)
TIMEOUTS = Timeouts(linger_s=1.0, stream_idle_s=60.0)
ANSWER = b"a" * 4_000_000
"""More than the kernel holds for a reader with small buffers."""


def _small(sock: socket.socket) -> socket.socket:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 16384)
    return sock


async def _plain(wire: Wire) -> tuple[asyncio.Transport, socket.socket]:
    ours, theirs = wire.sockets()
    transport, _ = await wire.transports.accepted(asyncio.Protocol, _small(ours), None, 0)
    return transport, _small(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_already_ends_at_once(kind: EventLoop) -> None:
    """Nothing is buffered: the connection closes in the same moment."""

    async def test(wire: Wire) -> None:
        transport, theirs = await _plain(wire)
        assert Farewell(transport, Clock(), TIMEOUTS).look() == NEVER
        assert transport.is_closing()
        assert await _read_all(theirs) == b""

    on_loop(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slow_reader_gets_all_of_it(kind: EventLoop) -> None:
    """It closes when the last byte has left, not before."""

    async def test(wire: Wire) -> None:
        transport, theirs = await _plain(wire)
        transport.write(ANSWER)
        await asyncio.sleep(0)
        clock = Clock()
        farewell = Farewell(transport, clock, TIMEOUTS)
        assert farewell.look() <= clock.now
        assert farewell.is_sending
        assert not transport.is_closing()
        looking = asyncio.get_running_loop().create_task(_look(farewell))
        assert len(await _read_all(theirs)) == len(ANSWER)
        await looking
        assert not farewell.is_sending

    on_loop(kind, test)


def test_tls_is_not_shut_down_under_an_answer() -> None:
    """A transport's own close gives TLS two seconds for all that is buffered; a reader may need more.

    On aiofastnet alone: the two stock loops have a buffer below TLS that they do not tell of.
    """
    ca = Authority.make("example.org")

    async def test(wire: Wire) -> None:
        server, client = (
            TlsContexts(store_of(ca.svid(f"spiffe://example.org/{name}"), ca, now=time.time()), TlsSettings())
            for name in ("orders", "edge")
        )
        ours, theirs = wire.sockets()
        side, peer = await asyncio.gather(
            wire.accept(_small(ours), server.server()), wire.connect(_small(theirs), client.client())
        )
        peer.transport.pause_reading()
        side.transport.write(ANSWER)
        farewell = Farewell(side.transport, Clock(), TIMEOUTS)
        looking = asyncio.get_running_loop().create_task(_look(farewell))
        await asyncio.sleep(2.2)
        peer.transport.resume_reading()
        assert len(await peer.end.received(len(ANSWER))) == len(ANSWER)
        await looking

    on_loop(EventLoop.FAST, test)


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_read_is_cut(kind: EventLoop) -> None:
    """After ``stream_idle`` from the first look, with what is buffered."""

    async def test(wire: Wire) -> None:
        transport, theirs = await _plain(wire)
        transport.write(ANSWER)
        await asyncio.sleep(0)
        clock = Clock()
        farewell = Farewell(transport, clock, TIMEOUTS)
        farewell.look()
        clock.now += TIMEOUTS.stream_idle_s
        farewell.look()
        assert not transport.is_closing()
        clock.now += 0.1
        assert farewell.look() == NEVER
        assert transport.is_closing()
        assert len(await _read_all(theirs)) < len(ANSWER)

    on_loop(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_lingering_says_the_end_and_reads_on(kind: EventLoop) -> None:
    """The caller sees the end of the answers at once; what it sends is dropped, up to a limit."""

    async def test(wire: Wire) -> None:
        transport, theirs = await _plain(wire)
        clock = Clock()
        farewell = Farewell(transport, clock, TIMEOUTS)
        assert farewell.linger() == clock.now + TIMEOUTS.linger_s
        assert await _read_all(theirs) == b""
        assert not transport.is_closing()
        farewell.drop(b"x" * LINGER_BYTES)
        assert transport.is_reading()
        farewell.drop(b"x")
        assert not transport.is_reading()
        assert farewell.look() == NEVER

    on_loop(kind, test)


async def _read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    try:
        async with asyncio.timeout(20):
            while piece := await loop.sock_recv(sock, 65536):
                data += piece
    except (ConnectionError, ssl.SSLError):
        pass
    return data


async def _look(farewell: Farewell) -> None:
    async with asyncio.timeout(20):
        while farewell.look() != NEVER:
            await asyncio.sleep(0.01)

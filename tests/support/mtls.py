"""Real TLS handshakes over loopback, on each kind of loop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from proxy.identity.bundle import Bundle
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid
from proxy.net.transport import EventLoop, Transports, new_loop
from support.pki import Authority, Svid

T = TypeVar("T")

DEADLINE_S = 20.0
"""Of a test's handshake: far above what it takes on a busy machine."""


def store_of(svid: Svid, *authorities: Authority, now: float) -> IdentityStore:
    """A store that holds this SVID and the bundles of these authorities."""
    store = IdentityStore()
    take(store, svid, *authorities, now=now)
    return store


def take(store: IdentityStore, svid: Svid, *authorities: Authority, now: float) -> None:
    """Have a store take this SVID and the bundles of these authorities."""
    bundles = {a.trust_domain: Bundle.from_pem(a.trust_domain, a.bundle_pem) for a in authorities}
    store.replace(X509Svid.from_pem(svid.chain_pem, svid.key_pem), bundles, now)


class End(asyncio.Protocol):
    """One end of a connection: what came, and how it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.transport: asyncio.BaseTransport | None = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep how it ended."""
        if not self.lost.done():
            self.lost.set_result(exc)

    async def ended(self) -> Exception | None:
        """Wait until the connection has ended, and return how."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.lost

    async def received(self, length: int) -> bytes:
        """Wait until so many bytes have come."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.data) < length:
                await asyncio.sleep(0.001)
        return self.data


@dataclass(slots=True, kw_only=True)
class Side:
    """How a handshake ended for one side: ``transport`` and ``end``, or ``error``."""

    error: BaseException | None = None
    _transport: asyncio.Transport | None = None
    _end: End | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; the error is raised where there is none."""
        if self.error is not None:
            raise self.error
        assert self._transport is not None
        return self._transport

    @property
    def end(self) -> End:
        """The protocol."""
        assert self.transport
        assert self._end is not None
        return self._end

    def abort(self) -> None:
        """End it, if it began."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class Wire:
    """Makes connections on one loop, and ends them all. ``faults`` is what the loop's exception handler was told."""

    transports: Transports
    faults: list[dict[str, Any]] = field(default_factory=list)
    _sides: list[Side] = field(default_factory=list)
    _sockets: list[socket.socket] = field(default_factory=list)

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """Two ends of a TCP connection over loopback, not blocking."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            pair = listener.accept()[0], client
        for sock in pair:
            sock.setblocking(False)
            self._sockets.append(sock)
        return pair

    async def accept(self, sock: socket.socket, context: ssl.SSLContext, timeout_s: float = DEADLINE_S) -> Side:
        """Be the server on this socket."""
        made: list[End] = []
        return await self._side(self.transports.accepted(_into(made), sock, context, timeout_s), made)

    async def connect(self, sock: socket.socket, context: ssl.SSLContext, timeout_s: float = DEADLINE_S) -> Side:
        """Be the client on this socket."""
        made: list[End] = []
        return await self._side(self.transports.connected(_into(made), sock, context, "orders", timeout_s), made)

    async def handshake(self, server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Side, Side]:
        """Be both; returns server and client."""
        ours, theirs = self.sockets()
        return await asyncio.gather(self.accept(ours, server), self.connect(theirs, client))

    async def _side(self, making: Awaitable[tuple[asyncio.Transport, End]], made: list[End]) -> Side:
        try:
            transport, _ = await making
            side = Side(_transport=transport, _end=made[0])
        except Exception as error:  # noqa: BLE001 - what it is, is the test
            side = Side(error=error)
        self._sides.append(side)
        return side

    async def close(self) -> None:
        """End all of it, and let the loop see it."""
        for side in self._sides:
            side.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        for sock in self._sockets:
            sock.close()
        self._sides.clear()
        self._sockets.clear()


def _into(made: list[End]) -> Callable[[], End]:
    """A factory that keeps what it makes: uvloop returns a protocol of its own for an accepted socket."""

    def make() -> End:
        made.append(End())
        return made[-1]

    return make


def on_loop(kind: EventLoop, test: Callable[[Wire], Awaitable[T]]) -> T:
    """Run a test on a loop of that kind."""

    async def run() -> T:
        loop = asyncio.get_running_loop()
        wire = Wire(Transports(loop, kind))
        loop.set_exception_handler(lambda _loop, context: _keep(wire.faults, context))
        try:
            outcome = await test(wire)
        finally:
            await wire.close()
        assert wire.faults == []
        return outcome

    with _running(kind) as loop:
        return loop.run_until_complete(run())


def _keep(faults: list[dict[str, Any]], context: dict[str, Any]) -> None:
    # aiofastnet tells the handler of a peer that went away during the handshake, by the class and not an instance.
    if context.get("exception") is not ConnectionResetError:
        faults.append(context)


@contextlib.contextmanager
def _running(kind: EventLoop) -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_loop(kind)
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

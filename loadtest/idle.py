"""Many open mTLS connections to the ingress, each having done one request: what they hold."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from loadtest import backend, client, kernel
from loadtest.stage import Running

CONNECTIONS = 1000
AT_ONCE = 32  # handshakes in flight: enough to keep a proxy busy, too few to overflow its queue
ALL_S = 120.0
SETTLE_S = 4.0  # they are idle: what their handshakes left behind has been let go of


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Memory in MB with all connections open, and the CPU of the ingress for each: one handshake, one request."""

    connections: int
    open: int
    rss_mb: float
    pss_mb: float
    anonymous_mb: float
    ingress_ms_each: float

    @property
    def bad(self) -> str:
        """Why these figures may not be used; empty where they may."""
        return "" if self.open == self.connections else f"{self.open} of {self.connections} connections stayed open"


def hold(pair: Running, connections: int = CONNECTIONS) -> Idle:
    """Open them, look, close them."""
    return asyncio.run(_hold(pair, connections))


async def _hold(pair: Running, connections: int) -> Idle:
    before = kernel.cpu_s(pair.ingress.pid)
    async with _opened(pair, connections) as held_open:
        each = (kernel.cpu_s(pair.ingress.pid) - before) / connections
        await asyncio.sleep(SETTLE_S)
        held = kernel.memory(pair.ingress.pid)
        still = sum(one.good and not one.reader.at_eof() for one in held_open)
        return Idle(
            connections=connections,
            open=still,
            rss_mb=held.rss,
            pss_mb=held.pss,
            anonymous_mb=held.anonymous,
            ingress_ms_each=each * 1e3,
        )


OPEN_ERRORS = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""How a new connection, or its first answer, fails; a time-out is an OSError too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A connection that has done one request."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    good: bool


class Ask:
    """Opens an mTLS connection to the ingress and asks once."""

    def __init__(self, pair: Running) -> None:
        self._context = client.context(pair.material.bundle, pair.material.edge)
        self._port = pair.ports.ingress
        lines = "".join(f"{name}: {value}\r\n" for name, value in client.headers(pair.material.token).items())
        self._request = f"GET {backend.SMALL} HTTP/1.1\r\n{lines}\r\n".encode()

    async def once(self) -> Asked:
        """A full handshake: the context remembers no session. Raises OPEN_ERRORS."""
        reader, writer = await asyncio.open_connection(
            client.HOST, self._port, ssl=self._context, server_hostname=client.AUTHORITY
        )
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(backend.SMALL_BYTES)
        return Asked(reader, writer, head.split(b" ", 2)[1] == b"200")


@contextlib.asynccontextmanager
async def _opened(pair: Running, connections: int) -> AsyncIterator[list[Asked]]:
    gate, ask, held = asyncio.Semaphore(AT_ONCE), Ask(pair), list[Asked]()

    async def one() -> None:
        async with gate:
            held.append(await ask.once())

    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALL_S):
                await asyncio.gather(*(one() for _ in range(connections)), return_exceptions=True)
        yield held
    finally:
        for each in held:
            each.writer.transport.abort()
        await asyncio.sleep(0)

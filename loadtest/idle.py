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
SETTLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Memory in MB with all connections open, and the CPU of the ingress for each: one handshake, one request."""

    connections: int
    open: int
    rss_mb: float
    pss_mb: float
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
    async with _opened(pair, connections) as streams:
        each = (kernel.cpu_s(pair.ingress.pid) - before) / connections
        await asyncio.sleep(SETTLE_S)
        held = kernel.memory(pair.ingress.pid)
        still = sum(not reader.at_eof() for reader, _ in streams)
        return Idle(connections=connections, open=still, rss_mb=held.rss, pss_mb=held.pss, ingress_ms_each=each * 1e3)


Streams = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


@contextlib.asynccontextmanager
async def _opened(pair: Running, connections: int) -> AsyncIterator[Streams]:
    context = client.context(pair.material.bundle, pair.material.edge)
    gate, streams = asyncio.Semaphore(AT_ONCE), Streams()
    lines = "".join(f"{name}: {value}\r\n" for name, value in client.headers(pair.material.token).items())
    request = f"GET {backend.SMALL} HTTP/1.1\r\n{lines}\r\n".encode()

    async def one() -> None:
        async with gate:
            reader, writer = await asyncio.open_connection(
                client.HOST, pair.ports.ingress, ssl=context, server_hostname=client.AUTHORITY
            )
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(backend.SMALL_BYTES)
            if head.split(b" ", 2)[1] == b"200":
                streams.append((reader, writer))

    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALL_S):
                await asyncio.gather(*(one() for _ in range(connections)), return_exceptions=True)
        yield streams
    finally:
        for _, writer in streams:
            writer.transport.abort()
        await asyncio.sleep(0)

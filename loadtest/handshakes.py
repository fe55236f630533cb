"""A new mTLS connection for each request, straight to the ingress: what a handshake costs it.

The client's own handshakes are as dear as the server's, and in Python: so this says CPU, never how many a second.
"""

import asyncio
import contextlib
from dataclasses import dataclass

from loadtest import client, kernel
from loadtest.idle import AT_ONCE, OPEN_ERRORS, Ask
from loadtest.stage import Running

CONNECTIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshakes:
    """CPU of the ingress: for one full handshake without resumption, one request and the end, in milliseconds."""

    connections: int
    answered: int
    ingress_ms_each: float

    @property
    def bad(self) -> str:
        """Why these figures may not be used; empty where they may."""
        lost = self.connections - self.answered
        return f"{lost} of {self.connections} new connections failed" if lost else ""


def measure(pair: Running) -> Handshakes:
    """CONNECTIONS of them, some at once."""
    before = kernel.cpu_s(pair.ingress.pid)
    answered = asyncio.run(_all(pair))
    each = (kernel.cpu_s(pair.ingress.pid) - before) / CONNECTIONS
    return Handshakes(connections=CONNECTIONS, answered=answered, ingress_ms_each=each * 1e3)


async def _all(pair: Running) -> int:
    ask, gate = Ask(pair), asyncio.Semaphore(AT_ONCE)

    async def one() -> bool:
        async with gate:
            with contextlib.suppress(*OPEN_ERRORS):
                async with asyncio.timeout(client.TIMEOUT_S):
                    found = await ask.once()
                    found.writer.transport.abort()
                    return found.good
        return False

    return sum(await asyncio.gather(*(one() for _ in range(CONNECTIONS))))

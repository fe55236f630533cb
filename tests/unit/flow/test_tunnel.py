"""A tunnel between a near end that keeps what it is told and a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from support.flow import Caller, Clock, make_runtime, open_upstream

from proxy.flow.runtime import Runtime
from proxy.flow.tunnel import Tunnel
from proxy.net.deadlines import NEVER
from proxy.upstream.connection import Upstream

IDLE_S = 10.0


@dataclass
class Ends:
    """A tunnel and both its ends."""

    runtime: Runtime
    clock: Clock
    near: Caller
    upstream: Upstream
    app: socket.socket
    ended: list[tuple[int, int]] = field(default_factory=list)

    def tunnel(self, ends_at: float = NEVER) -> Tunnel:
        """Join the ends."""
        made = Tunnel(self.runtime, self.upstream, lambda up, down, _: self.ended.append((up, down)), IDLE_S, ends_at)
        made.open(self.near)
        return made

    async def settle(self) -> None:
        """Let the loop see what has happened."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """Two ends that are not joined."""
    clock = Clock()
    upstream, app = await open_upstream()
    made = Ends(make_runtime(clock), clock, Caller(), upstream, app)
    yield made
    made.runtime.deadlines.close()
    upstream.transport.abort()
    app.close()
    await asyncio.sleep(0)


async def test_bytes_both_ways(ends: Ends) -> None:
    """As they are, and counted for each direction."""
    tunnel = ends.tunnel()
    tunnel.to_upstream(b"up")
    tunnel.to_upstream(b"")
    ends.app.sendall(b"down")
    await ends.settle()
    assert (ends.app.recv(100), ends.near.sent) == (b"up", b"down")
    tunnel.close()
    tunnel.close()
    assert ends.ended == [(4, 2)]
    assert ends.near.aborted == 1


async def test_it_is_idle_only_while_nothing_moves(ends: Ends) -> None:
    """Either direction moves the deadline, up to the end of the authority."""
    tunnel = ends.tunnel(ends_at=ends.clock.now + 15)
    assert tunnel.deadline == ends.clock.now + IDLE_S
    ends.clock.now += 4
    tunnel.to_upstream(b"x")
    assert tunnel.deadline == ends.clock.now + IDLE_S
    ends.clock.now += 4
    tunnel.to_client(b"x")
    assert tunnel.deadline == 1015.0
    tunnel.on_deadline()
    assert ends.ended == [(1, 1)]
    assert tunnel.deadline == NEVER


async def test_the_upstream_ends(ends: Ends) -> None:
    """So does the near end, and nothing more is written to either."""
    tunnel = ends.tunnel()
    ends.app.close()
    await ends.settle()
    assert ends.near.aborted == 1
    tunnel.to_upstream(b"late")
    assert ends.ended == [(0, 0)]
    assert len(ends.runtime.deadlines) == 0


async def test_back_pressure(ends: Ends) -> None:
    """Each side's reading follows the other side's buffer."""
    tunnel = ends.tunnel()
    tunnel.on_upstream_writable(writable=False)
    tunnel.on_upstream_writable(writable=True)
    assert ends.near.paces == [False, True]
    tunnel.on_client_writable(writable=False)
    assert not ends.upstream.transport.is_reading()
    tunnel.on_client_writable(writable=True)
    assert ends.upstream.transport.is_reading()
    tunnel.close()


async def test_an_upstream_that_takes_no_more_is_cut(ends: Ends) -> None:
    """Closing waits for what is buffered; the deadline of the connection says how long."""
    tunnel = ends.tunnel()
    tunnel.to_upstream(b"x" * 4_000_000)
    tunnel.close()
    assert ends.upstream.deadline == ends.clock.now + IDLE_S
    assert not ends.upstream.closed
    ends.upstream.on_deadline()
    await ends.settle()
    assert ends.upstream.closed

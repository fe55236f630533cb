"""A tunnel of raw TCP between a near end that keeps what it is told and a real connection: how it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from support.flow import LIMITS, Caller, Clock, make_runtime

from proxy.flow.raw_tunnel import RawTunnel
from proxy.flow.runtime import Runtime
from proxy.flow.settings import Timeouts
from proxy.net.deadlines import NEVER
from proxy.upstream.connection import Upstream

TIMEOUTS = Timeouts(tcp_idle_s=100.0, linger_s=1.0, stream_idle_s=30.0)


@dataclass
class Near(Caller):
    """Tells an end in good order from another."""

    hung_up: int = 0

    def hang_up(self) -> None:
        """Take the end in good order."""
        self.hung_up += 1


@dataclass
class Ends:
    """A tunnel and both its ends."""

    runtime: Runtime
    clock: Clock
    near: Near
    upstream: Upstream
    app: socket.socket
    ended: list[tuple[int, int]] = field(default_factory=list)

    def tunnel(self, ends_at: float = NEVER, max_bytes: int = 0) -> RawTunnel:
        """Join the ends."""
        made = RawTunnel(
            self.runtime, self.upstream, lambda up, down, _: self.ended.append((up, down)), TIMEOUTS, ends_at, max_bytes
        )
        made.open(self.near)
        made.start(self.upstream.decoder.release(), b"")
        return made

    async def settle(self) -> None:
        """Let the loop see what has happened."""
        for _ in range(10):
            await asyncio.sleep(0)


async def held() -> tuple[Upstream, socket.socket]:
    """A held connection over TCP, and the app's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    _, upstream = await asyncio.get_running_loop().create_connection(lambda: Upstream(LIMITS, held=True), sock=ours)  # type: ignore[type-var]
    return upstream, theirs


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """Two ends that are not joined."""
    clock = Clock()
    upstream, app = await held()
    made = Ends(make_runtime(clock), clock, Near(), upstream, app)
    yield made
    made.runtime.deadlines.close()
    upstream.transport.abort()
    app.close()
    await asyncio.sleep(0)


async def test_what_is_said_first_waits(ends: Ends) -> None:
    """Before there is a tunnel nothing is read, and nothing ends the connection."""
    ends.app.sendall(b"hello")
    await ends.settle()
    assert not ends.upstream.closed
    ends.tunnel()
    await asyncio.sleep(0.01)
    assert ends.near.sent == b"hello"


async def test_an_end_before_there_is_a_tunnel(ends: Ends) -> None:
    """What was said is delivered, and then the end in good order."""
    ends.app.sendall(b"the time is now")
    ends.app.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    ends.tunnel()
    await asyncio.sleep(0.01)
    assert ends.near.sent == b"the time is now"
    assert (ends.near.hung_up, ends.near.aborted, ends.ended) == (1, 0, [(15, 0)])


async def test_the_client_has_sent_its_last_byte(ends: Ends) -> None:
    """What still comes is relayed, and each piece is waited for anew; then both sides end in good order."""
    tunnel = ends.tunnel()
    tunnel.on_client_end()
    tunnel.on_client_end()
    assert tunnel.deadline == ends.clock.now + 1
    ends.clock.now += 0.9
    tunnel.to_client(b"answer")
    assert tunnel.deadline == ends.clock.now + 1
    ends.clock.now += 1
    tunnel.on_deadline()
    assert (ends.near.hung_up, ends.near.aborted, ends.ended) == (1, 0, [(6, 0)])
    await ends.settle()
    assert ends.app.recv(10) == b""
    assert tunnel.failure is None


async def test_what_was_sent_is_delivered_before_the_end(ends: Ends) -> None:
    """As long as the app takes it; one that does not is cut when its time is over."""
    tunnel = ends.tunnel()
    tunnel.to_upstream(b"x" * 20_000_000)
    tunnel.on_client_end()
    ends.clock.now += 2
    tunnel.on_deadline()
    assert not ends.ended, "the app has not taken all"
    ends.clock.now += 30
    tunnel.on_deadline()
    assert ends.ended == [(0, 20_000_000)]
    assert ends.upstream.deadline <= ends.clock.now
    tunnel.to_client(b"")
    tunnel._drop(b"late")
    tunnel.on_deadline()
    assert not ends.upstream.closed
    ends.upstream.on_deadline()
    await ends.settle()
    tunnel.on_deadline()
    assert len(ends.runtime.deadlines) == 0


async def test_idle(ends: Ends) -> None:
    """No side has ended: neither may take this for an end in good order."""
    tunnel = ends.tunnel()
    ends.clock.now += 100
    tunnel.on_deadline()
    assert tunnel.failure is not None
    assert tunnel.failure.reason == "tunnel_idle"
    assert (ends.near.hung_up, ends.near.aborted) == (0, 1)
    await ends.settle()
    with pytest.raises(ConnectionResetError):
        ends.app.recv(1)
    tunnel.close()
    tunnel.finish()
    assert ends.ended == [(0, 0)]


async def test_the_end_of_its_authority(ends: Ends) -> None:
    """Also one that comes later."""
    tunnel = ends.tunnel(ends_at=ends.clock.now + 50)
    tunnel.restrict(ends.clock.now + 60, 0)
    assert tunnel.deadline == ends.clock.now + 50
    tunnel.restrict(ends.clock.now + 5, 0)
    assert tunnel.deadline == ends.clock.now + 5
    tunnel.to_client(b"x")
    assert tunnel.deadline == ends.clock.now + 5
    ends.clock.now += 5
    tunnel.on_deadline()
    assert tunnel.failure is not None
    assert tunnel.failure.reason == "grant_ended"
    assert ends.near.aborted == 1


@pytest.mark.parametrize(("size", "ended"), [(10, False), (11, True)])
async def test_bytes(ends: Ends, size: int, ended: bool) -> None:  # noqa: FBT001 - n and n + 1
    """Both ways together; what is beyond is not carried."""
    tunnel = ends.tunnel(max_bytes=14)
    tunnel.to_upstream(b"1234")
    tunnel.to_client(b"x" * size)
    assert ends.near.sent == b"x" * 10
    assert bool(ends.ended) is ended
    assert (tunnel.failure is not None) is ended
    if ended:
        assert ends.ended == [(10, 4)]


async def test_a_reset_is_passed_on(ends: Ends) -> None:
    """In either direction."""
    ends.tunnel()
    ends.app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    ends.app.close()
    await asyncio.sleep(0.01)
    assert (ends.near.hung_up, ends.near.aborted) == (0, 1)


async def test_a_lower_limit_than_was_carried(ends: Ends) -> None:
    """Not a byte more, in either direction."""
    tunnel = ends.tunnel(max_bytes=100)
    tunnel.to_client(b"x" * 10)
    tunnel.restrict(NEVER, 5)
    tunnel.to_client(b"abcdefgh")
    await ends.settle()
    assert ends.near.sent == b"x" * 10
    assert tunnel.failure is not None
    assert tunnel.failure.reason == "bytes_spent"

"""A reset is seen at once on every loop, also when bytes came with it."""

import asyncio
import contextlib
import socket
import struct

import pytest

from proxy.net.transport import EventLoop, Transports, new_loop

KINDS = pytest.mark.parametrize("kind", list(EventLoop))


class Seen(asyncio.Protocol):
    """What a connection was told."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Take the end."""
        self.lost.set()


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    return ours, theirs


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def _seen(kind: EventLoop, ours: socket.socket) -> Seen:
    _, seen = await Transports(asyncio.get_running_loop(), kind).accepted(Seen, ours, None, 0)
    return seen


@KINDS
@pytest.mark.parametrize("data", [b"", b"half", b"x" * 65536, b"x" * 500_000])
@pytest.mark.parametrize("early", [True, False])
def test_a_reset_with_the_last_bytes(kind: EventLoop, data: bytes, early: bool) -> None:  # noqa: FBT001
    """Before our transport is made or after it; what had come is told first."""

    async def main() -> None:
        ours, theirs = _pair()
        seen = None if early else await _seen(kind, ours)
        with contextlib.suppress(BlockingIOError):
            theirs.setblocking(False)
            theirs.send(data)
        _reset(theirs)  # in the same turn of our loop: both are there when it looks
        seen = seen or await _seen(kind, ours)
        await asyncio.wait_for(seen.lost.wait(), 5)
        assert data.startswith(seen.data)

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


@KINDS
def test_a_reset_while_reading_is_paused(kind: EventLoop) -> None:
    """It is seen when reading goes on, at the latest."""

    async def main() -> None:
        ours, theirs = _pair()
        seen = await _seen(kind, ours)
        await asyncio.sleep(0.01)
        seen.transport.pause_reading()
        theirs.sendall(b"half")
        _reset(theirs)
        await asyncio.sleep(0.01)
        if not seen.lost.is_set():
            seen.transport.resume_reading()
        await asyncio.wait_for(seen.lost.wait(), 5)

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


@KINDS
def test_a_transport_closed_in_the_last_call_is_left_alone(kind: EventLoop) -> None:
    """Its descriptor may be another's by then: that one gets its own bytes, and its own only."""

    class Closing(Seen):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.abort()

    async def main() -> None:
        transports = Transports(asyncio.get_running_loop(), kind)
        for _ in range(20):
            ours, theirs = _pair()
            theirs.sendall(b"half")
            _reset(theirs)
            _, closing = await transports.accepted(Closing, ours, None, 0)
            await asyncio.wait_for(closing.lost.wait(), 5)
            ours, theirs = _pair()  # with the descriptor that has come free
            seen = await _seen(kind, ours)
            theirs.sendall(b"mine")
            theirs.close()
            await asyncio.wait_for(seen.lost.wait(), 5)
            assert seen.data == b"mine"

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


@KINDS
def test_a_loop_that_closes_with_readers_on_it(kind: EventLoop) -> None:
    """Nothing is put back on a closed loop."""
    loop = new_loop(kind)
    ours, theirs = _pair()
    with ours, theirs:
        loop.add_reader(ours, lambda: None)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@KINDS
def test_readers_are_replaced_and_removed(kind: EventLoop) -> None:
    """As asyncio says: the last one added is called, by whatever name of the descriptor it goes; none after removal."""
    called: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = _pair()
        with ours, theirs:
            loop.remove_reader(ours)  # there is none
            loop.add_reader(ours, called.append, "first")
            loop.add_reader(ours.fileno(), called.append, "second")
            theirs.sendall(b"x")
            await asyncio.sleep(0.01)
            assert set(called) == {"second"}
            loop.remove_reader(ours)
            called.clear()
            await asyncio.sleep(0.01)
            assert called == []

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())

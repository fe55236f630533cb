"""Listening sockets and the accept loop, over real sockets on loopback."""

import asyncio
import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from proxy.net.accept import GIVE_WAY_S, Acceptor, ListenFailed, listen
from proxy.net.transport import EventLoop, new_loop


class Door:
    """An acceptor that keeps what came."""

    def __init__(self, **options: int) -> None:
        self.came: list[socket.socket] = []
        self.acceptor = Acceptor(asyncio.get_running_loop(), listen("127.0.0.1", 0), self.came.append, **options)
        self.acceptor.resume()

    async def wait_for(self, count: int) -> None:
        """Until that many came."""
        async with asyncio.timeout(20):
            while len(self.came) < count:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        """Close the door and what came through it."""
        self.acceptor.close()
        for sock in self.came:
            sock.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """An open door."""
    made = Door()
    yield made
    made.close()


@contextlib.contextmanager
def callers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """That many who have connected."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    yield socks
    for sock in socks:
        sock.close()


async def quiet() -> None:
    """Long enough for a loop turn that accepts, on a busy machine."""
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_both_families_and_a_free_port(host: str) -> None:
    """Port 0 takes a free port, on IPv4 and IPv6."""
    sock = listen(host, 0)
    assert sock.getsockname()[1] > 0
    sock.close()


def test_all_addresses_of_ipv6_take_ipv4_too() -> None:
    """``::`` in a dual-stack pod must hear both; one port is one port."""
    sock = listen("::", 0)
    caller = socket.create_connection(("127.0.0.1", sock.getsockname()[1]))
    caller.close()
    sock.close()


def test_port_in_use_says_where_and_what_to_do() -> None:
    """The message names host and port, and the way out."""
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    with pytest.raises(ListenFailed, match=rf"127\.0\.0\.1:{port}: the port is in use.*another port") as caught:
        listen("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE
    sock.close()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.1", 0, "no such address"),
        ("localhost", 0, "must be an IP address"),
        ("", 0, "must be an IP address"),
        ("127.0.0.1", 65536, "0-65535"),
        ("2001:db8::1", 80, r"\[2001:db8::1\]:80"),
    ],
)
def test_unusable_addresses(host: str, port: int, message: str) -> None:
    """Not ours, not a literal, not a port: each has its message."""
    with pytest.raises(ListenFailed, match=message):
        listen(host, port)


@pytest.mark.parametrize("kind", list(EventLoop))
def test_accepted_sockets_are_ready_for_a_transport(kind: EventLoop) -> None:
    """Non-blocking and without Nagle, on every loop."""

    async def accept_one() -> tuple[bool, int]:
        door = Door()
        with callers(door.acceptor.port, 1):
            await door.wait_for(1)
            sock = door.came[0]
            found = sock.getblocking(), sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        door.close()
        return found

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        assert runner.run(accept_one()) == (False, 1)


async def test_pending_n_is_accepted_and_n_plus_1_waits() -> None:
    """At the limit the next caller waits in the kernel's queue, and comes in when one has settled."""
    door = Door(max_pending=3)
    with callers(door.acceptor.port, 4):
        await door.wait_for(3)
        await quiet()
        assert (len(door.came), door.acceptor.pending) == (3, 3)
        door.acceptor.settled(door.came[0])
        await door.wait_for(4)
        assert door.acceptor.pending == 3
    door.close()


async def test_the_oldest_gives_way_when_it_has_had_its_time() -> None:
    """Callers that say nothing are ended one by one for those who wait; none before its time, none without need."""
    door = Door(max_pending=3)
    with callers(door.acceptor.port, 3) as silent:
        await door.wait_for(3)
        await asyncio.sleep(GIVE_WAY_S + 0.2)
        assert door.acceptor.pending == 3, "nobody waits: nobody must go"
        with callers(door.acceptor.port, 1):
            await door.wait_for(4)
            silent[0].setblocking(False)
            assert silent[0].recv(1) == b"", "it was the oldest"
            assert door.acceptor.pending == 3
        for other in silent[1:]:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(1)
    door.close()


async def test_nobody_gives_way_before_its_time() -> None:
    """A burst of good callers must not throw each other out: that would end none of their handshakes."""
    door, began = Door(max_pending=3), time.monotonic()
    with callers(door.acceptor.port, 5):
        await door.wait_for(4)
        assert time.monotonic() - began >= GIVE_WAY_S
        await door.wait_for(5)
    door.close()


async def test_who_settles_late_is_not_counted_twice() -> None:
    """The owner of a handshake that gave way tells of its end, too."""
    door = Door(max_pending=1)
    with callers(door.acceptor.port, 2):
        await door.wait_for(2)
        door.acceptor.settled(door.came[0])
        assert door.acceptor.pending == 1
        door.acceptor.settled(door.came[1])
        assert door.acceptor.pending == 0
    door.close()


async def test_pause_and_resume(door: Door) -> None:
    """While paused, callers connect (in the kernel) and nobody is accepted; nobody is lost."""
    door.acceptor.pause()
    with callers(door.acceptor.port, 2):
        await quiet()
        assert door.came == []
        door.acceptor.resume()
        await door.wait_for(2)


async def test_settling_does_not_undo_a_pause() -> None:
    """The reasons to wait are independent of each other."""
    door = Door(max_pending=1)
    with callers(door.acceptor.port, 2):
        await door.wait_for(1)
        door.acceptor.pause()
        door.acceptor.settled(door.came[0])
        await quiet()
        assert len(door.came) == 1
    door.close()


async def test_close_resets_who_waits_and_may_be_repeated(door: Door) -> None:
    """After close nobody can connect."""
    port = door.acceptor.port
    door.acceptor.close()
    door.acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_more_callers_than_one_burst(door: Door) -> None:
    """A burst is cut, and the rest comes with the next turn."""
    with callers(door.acceptor.port, 150):
        await door.wait_for(150)


async def test_a_failing_owner_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    """The socket is closed, it is logged, it is not pending, and the next one is served."""
    came: list[socket.socket] = []

    def on_socket(sock: socket.socket) -> None:
        came.append(sock)
        if len(came) == 1:
            raise RuntimeError("the owner failed")

    acceptor = Acceptor(asyncio.get_running_loop(), listen("127.0.0.1", 0), on_socket)
    acceptor.resume()
    with callers(acceptor.port, 2):
        await asyncio.sleep(0.1)
    assert (len(came), came[0].fileno(), acceptor.pending) == (2, -1, 1)
    assert "could not be served" in caplog.text
    acceptor.close()
    came[1].close()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """The process has none left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_out_of_descriptors_waits_and_recovers(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """EMFILE: no spinning, one warning, and the caller is served when there are descriptors again."""
    caller = socket.socket()
    spins = count_calls(door.acceptor)
    with no_descriptors():
        caller.connect(("127.0.0.1", door.acceptor.port))
        await asyncio.sleep(0.4)
        assert door.came == []
    await door.wait_for(1)
    assert len(spins) < 12, "5, 10, 20 ms ... up to 1 s: a spinning loop would come back thousands of times"
    assert caplog.text.count("cannot accept connections") == 1
    caller.close()


def count_calls(acceptor: Acceptor) -> list[float]:
    """Count how often the loop calls in: by the log of its own clock."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    plain: Callable[..., asyncio.TimerHandle] = loop.call_later

    def call_later(delay: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        if getattr(callback, "__self__", None) is acceptor:
            times.append(delay)
        return plain(delay, callback, *args)

    loop.call_later = call_later  # type: ignore[method-assign,assignment]
    return times

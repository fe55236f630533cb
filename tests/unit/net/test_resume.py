"""A reader that pauses gets all that was sent, also what its transport had taken from the kernel before the pause."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
from support.pki import Authority, write_svid

import proxy
from proxy.net.resume import resume_reading
from proxy.net.transport import EventLoop, Transports, new_loop

CA = Authority.make("example.org")
PAUSE_S = 0.05
RECORD_BYTES = 16384
FIRST, REST = b"x", b"y" * (8 * RECORD_BYTES)
"""The first byte begins a pause. The rest comes meanwhile, and fills what a transport takes from the kernel at once."""


class Reader(asyncio.Protocol):
    """Pauses after each piece."""

    def __init__(self) -> None:
        self.count = 0
        self.told: list[str] = []
        self.whole, self.lost = asyncio.Event(), asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.count += len(data)
        if self.count == len(FIRST) + len(REST):
            self.whole.set()
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(PAUSE_S, resume_reading, self.transport)

    def eof_received(self) -> bool:
        """The other side has said that this was all."""
        self.told.append("end")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.told.append("lost" if exc is None else type(exc).__name__)
        self.lost.set()


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    paths = write_svid(folder, CA.svid("spiffe://example.org/orders"), CA)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(paths["svid"], paths["key"])
    client.check_hostname = False
    client.load_verify_locations(paths["bundle"])
    return server, client


def _run(kind: EventLoop, folder: Path, *, ends: bool) -> Reader:
    """Send all within the first pause, and then the end of TLS or nothing; the socket stays open."""
    server, client = _contexts(folder)

    async def main() -> Reader:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            theirs.settimeout(20)
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(REST))
            reader = Reader()
            made = Transports(loop, kind).accepted(lambda: reader, ours, server, 20)
            secured, _ = await asyncio.gather(asyncio.to_thread(client.wrap_socket, theirs), made)
            with secured:
                await asyncio.to_thread(secured.sendall, FIRST)
                while not reader.count:
                    await asyncio.sleep(0)
                secured.sendall(REST)  # at once: the loop does not run meanwhile
                async with asyncio.timeout(5):
                    if ends:
                        with contextlib.suppress(OSError):
                            await asyncio.to_thread(secured.unwrap)
                        await reader.lost.wait()
                    else:
                        await reader.whole.wait()
        reader.transport.abort()
        return reader

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        return runner.run(main())


@pytest.mark.parametrize("kind", list(EventLoop))
def test_what_was_read_before_the_pause_comes_after_it(kind: EventLoop, tmp_path: Path) -> None:
    """No further byte comes that could wake the reader."""
    assert _run(kind, tmp_path, ends=False).count == len(FIRST) + len(REST)


@pytest.mark.parametrize("kind", list(EventLoop))
def test_an_end_behind_the_last_bytes_is_told_as_an_end(kind: EventLoop, tmp_path: Path) -> None:
    """Whoever counts on it takes what came for the whole; a mere loss would mean that something is missing."""
    reader = _run(kind, tmp_path, ends=True)
    assert reader.count == len(FIRST) + len(REST)
    assert reader.told == ["end", "lost"]


def test_nobody_reads_on_in_another_way() -> None:
    """A call past it would bring the hang back, and no test of that place would show it."""
    package = Path(proxy.__file__).parent
    callers = [
        str(path.relative_to(package)) for path in package.rglob("*.py") if ".resume_reading(" in path.read_text()
    ]
    assert callers == ["net/resume.py"]

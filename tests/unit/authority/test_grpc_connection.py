"""The server of the Workload API as HTTP/2: what callers may pile up, and what they may not. The client is raw ``h2``."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from support.sidecar import SOON_S

from proxy.authority import grpc_connection, grpc_server
from proxy.authority.attest import Caller
from proxy.authority.grpc import MAX_REQUEST_BYTES, Code, Refused, framed
from proxy.authority.grpc_server import GrpcServer
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports
from proxy.net.unix import listen_unix


class Service:
    """``/S/Stream`` says the newest text for ever, ``/S/Once`` says the request once."""

    def __init__(self) -> None:
        self.text = b"one"
        self.asked = 0
        self.denied = False

    def is_stream(self, path: str) -> bool:
        """By its name."""
        if path not in {"/S/Stream", "/S/Once"}:
            raise Refused(Code.UNIMPLEMENTED, "no such call")
        return path == "/S/Stream"

    def answer(self, caller: Caller, path: str, metadata: Sequence[tuple[str, str]], request: bytes) -> bytes:
        """As its class says."""
        assert caller.is_alive
        assert dict(metadata)[":path"] == path
        self.asked += 1
        if self.denied:
            raise Refused(Code.PERMISSION_DENIED, "not any more: 100 %")
        return self.text if path == "/S/Stream" else request


class Client:
    """A connection of raw HTTP/2; ``events`` is all that came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[Event] = []
        self.ended = False

    async def begin(self, window: int | None = None) -> None:
        """Preface and settings."""
        if window is not None:
            self.h2.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
            self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        """Send."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(self.h2.data_to_send())
            await self.writer.drain()

    async def open(self, path: str = "/S/Once", body: bytes | None = b"", *, end: bool = True, **fields: str) -> int:
        """Begin a call; ``body`` is a message, None for nothing after the head."""
        stream: int = self.h2.get_next_available_stream_id()
        head = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost"}
        head |= {"content-type": "application/grpc", "te": "trailers"} | {
            k.replace("_", "-"): v for k, v in fields.items()
        }
        self.h2.send_headers(stream, list(head.items()), end_stream=body is None and end)
        if body is not None:
            await self.send(stream, framed(body), end=end)
        await self.flush()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Send bytes as the flow control allows."""
        while data:
            size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size <= 0:
                await self.flush()
                await self.hear()
                continue
            self.h2.send_data(stream, data[:size], end_stream=end and size >= len(data))
            data = data[size:]
        await self.flush()

    async def hear(self, *, acknowledge: bool = True) -> list[Event]:
        """Take what comes next; the end of the connection is no events."""
        try:
            async with asyncio.timeout(20):
                data = await self.reader.read(65536)
        except ConnectionError:
            data = b""
        self.ended = not data
        found: list[Event] = list(self.h2.receive_data(data)) if data else []
        for event in found:
            if acknowledge and isinstance(event, DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
        self.events += found
        if data:
            await self.flush()
        return found

    def data(self, stream: int) -> bytes:
        """What came on a stream."""
        return b"".join(e.data or b"" for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream)

    async def message(self, stream: int, number: int = 1) -> bytes:
        """The message with this number."""
        while True:
            data = self.data(stream)
            for _ in range(number - 1):
                data = data[5 + int.from_bytes(data[1:5], "big") :] if len(data) >= 5 else b""
            if len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
                return data[5 : 5 + int.from_bytes(data[1:5], "big")]
            assert await self.hear(), "the connection has ended"

    async def status(self, stream: int) -> tuple[int, str]:
        """How a call ended."""
        while True:
            for event in self.events:
                if isinstance(event, TrailersReceived | ResponseReceived) and event.stream_id == stream:
                    fields = {str(name): str(value) for name, value in event.headers or []}
                    if "grpc-status" in fields:
                        return int(fields["grpc-status"]), fields.get("grpc-message", "")
            assert await self.hear(), "the connection has ended"

    async def gone(self) -> bool:
        """Whether the server ends the connection."""
        while not self.ended:
            await self.hear()
        return True


class Place:
    """A running server."""

    def __init__(self, server: GrpcServer, service: Service, path: Path) -> None:
        self.server, self.service, self.path = server, service, path

    @contextlib.asynccontextmanager
    async def client(self, window: int | None = None, *, begin: bool = True) -> AsyncIterator[Client]:
        """A connection."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        made = Client(reader, writer)
        if begin:
            await made.begin(window)
        try:
            yield made
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture(params=[EventLoop.ASYNCIO])
async def place(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A server at a socket; nothing is left when it ends."""
    loop = asyncio.get_running_loop()
    tasks, deadlines, service = Tasks("test"), Deadlines(loop), Service()
    server = GrpcServer(Transports(loop, request.param), tasks, deadlines, service)
    path = tmp_path / "w.sock"
    before = len(list(Path("/proc/self/fd").iterdir()))
    server.start(listen_unix(path))
    yield Place(server, service, path)
    await server.close()
    async with asyncio.timeout(20):
        while len(server) or len(tasks):
            await asyncio.sleep(0.01)
    await tasks.close()
    deadlines.close()
    assert len(deadlines) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


async def test_a_call_and_a_stream(place: Place) -> None:
    """A unary call ends with its status; a stream is told of each change, and of nothing else."""
    async with place.client() as client:
        once = await client.open("/S/Once", b"hello")
        assert await client.message(once) == b"hello"
        assert await client.status(once) == (0, "")
        stream = await client.open("/S/Stream")
        assert await client.message(stream) == b"one"
        place.server.refresh()
        place.service.text = b"two"
        place.server.refresh()
        assert await client.message(stream, 2) == b"two"
        assert client.data(stream) == framed(b"one") + framed(b"two")
        place.service.denied = True
        place.server.refresh()
        assert await client.status(stream) == (Code.PERMISSION_DENIED, "not any more: 100 %25")


async def test_an_empty_message_is_a_message(place: Place) -> None:
    """Proto3 writes defaults as nothing."""
    async with place.client() as client:
        place.service.text = b""
        stream = await client.open("/S/Stream")
        assert await client.message(stream) == b""


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (b"\0\0\0", Code.INVALID_ARGUMENT),
        (b"\x01\0\0\0\x01x", Code.UNIMPLEMENTED),
        (b"\0\0\0\0\x05x", Code.INVALID_ARGUMENT),
        (b"\0\xff\xff\xff\xffx", Code.INVALID_ARGUMENT),
        (framed(b"a") + framed(b"b"), Code.INVALID_ARGUMENT),
    ],
)
async def test_what_is_not_one_whole_message(place: Place, raw: bytes, code: Code) -> None:
    """Nothing, half, compressed, a length that lies, two: refused, and never asked."""
    async with place.client() as client:
        stream = await client.open("/S/Once", None, end=not raw)
        await client.send(stream, raw)
        assert (await client.status(stream))[0] == code
        assert place.service.asked == 0


async def test_what_is_not_a_call(place: Place) -> None:
    """Another path, method or content type."""
    async with place.client() as client:
        unknown = await client.open("/S/Other")
        assert (await client.status(unknown))[0] == Code.UNIMPLEMENTED
        for fields in ({"content_type": "application/json"}, {":method": "GET"}, {"content_type": "application/grpcx"}):
            stream = await client.open("/S/Once", **fields)  # type: ignore[arg-type]
            assert (await client.status(stream))[0] == Code.INVALID_ARGUMENT


async def test_a_request_at_its_limit_and_one_more(place: Place) -> None:
    """The rest of one that is too large is not waited for, and other calls go on."""
    async with place.client() as client:
        most = MAX_REQUEST_BYTES - 5
        good = await client.open("/S/Once", b"x" * most)
        assert len(await client.message(good)) == most
        bad = await client.open("/S/Once", b"x" * (most + 1), end=False)
        assert (await client.status(bad))[0] == Code.RESOURCE_EXHAUSTED
        after = await client.open("/S/Once", b"still")
        assert await client.message(after) == b"still"


async def test_streams_at_their_limit_and_one_more(place: Place) -> None:
    """One more ends the connection: it was told how many."""
    async with place.client() as client:
        for _ in range(grpc_connection.MAX_STREAMS):
            assert await client.message(await client.open("/S/Stream")) == b"one"
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        await client.open("/S/Stream")
        assert await client.gone()


async def test_a_head_that_is_too_large(place: Place) -> None:
    """At once, or by a dictionary bomb: 4000 references to one long field."""
    async with place.client() as client:
        client.h2.remote_settings[SettingCodes.MAX_HEADER_LIST_SIZE] = 1 << 20
        await client.open("/S/Once", x_large="x" * grpc_connection.MAX_HEADER_BYTES)
        assert await client.gone()
    async with place.client() as client:
        stream = client.h2.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":path", "/S/Once"), (":authority", "x"), ("a", "x" * 3000)]
        client.h2.send_headers(stream, head + [("a", "x" * 3000)] * 4000)
        await client.flush()
        assert await client.gone()
    assert place.service.asked == 0


@pytest.mark.parametrize(
    "raw", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100), os.urandom(1000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff"]
)
async def test_garbage(place: Place, raw: bytes) -> None:
    """What is no HTTP/2 ends its connection, and no other."""
    async with place.client() as good, place.client(begin=False) as bad:
        bad.writer.write(raw)
        bad.writer.write_eof()
        async with asyncio.timeout(20):
            await bad.reader.read()
        assert await good.message(await good.open("/S/Stream")) == b"one"


async def test_half_a_request_ends_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head without an end, and a connection that says nothing; what is whole stays."""
    monkeypatch.setattr(grpc_connection, "REQUEST_S", 0.3)
    async with place.client() as client, place.client(begin=False) as silent:
        stream = await client.open("/S/Stream")
        half = await client.open("/S/Once", b"x", end=False)
        began = time.monotonic()
        assert (await client.status(half))[0] == Code.DEADLINE_EXCEEDED
        assert time.monotonic() - began < SOON_S
        assert await silent.gone()
        place.service.text = b"after"
        place.server.refresh()
        assert await client.message(stream, 2) == b"after"


async def test_an_idle_connection_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its last call, in time; one with a stream never."""
    monkeypatch.setattr(grpc_connection, "IDLE_S", 0.3)
    async with place.client() as idle, place.client() as busy:
        await idle.status(await idle.open("/S/Once"))
        stream = await busy.open("/S/Stream")
        assert await idle.gone()
        place.service.text = b"later"
        place.server.refresh()
        assert await busy.message(stream, 2) == b"later"


async def test_who_does_not_read_gets_the_newest_alone(place: Place) -> None:
    """A hundred changes for a caller with a small window are two messages: the one that was begun, and the last."""
    async with place.client(window=10) as client:
        stream = await client.open("/S/Stream")
        while len(client.data(stream)) < len(framed(b"one")):
            await client.hear(acknowledge=False)
        for number in range(101):
            place.service.text = b"%05d" % number + b"x" * 1000
            place.server.refresh()
        asked = place.service.asked
        client.h2.increment_flow_control_window(10_000, stream)
        await client.flush()
        assert (await client.message(stream, 2))[:5] == b"00000"
        assert (await client.message(stream, 3))[:5] == b"00100"
        assert (asked, place.service.asked) == (2, 3)


async def test_who_never_reads_is_reset(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends; what it would have been sent is held no longer."""
    monkeypatch.setattr(grpc_connection, "READ_S", 0.3)
    async with place.client(window=1) as client:
        stream = await client.open("/S/Stream")
        while not any(isinstance(event, StreamReset) and event.stream_id == stream for event in client.events):
            assert await client.hear(acknowledge=False)


async def test_streams_that_are_only_reset(place: Place) -> None:
    """Opened to make us work: the connection ends. As many calls that are answered do not."""
    async with place.client() as client:
        for _ in range(grpc_connection.MAX_RESETS + 50):
            await client.status(await client.open("/S/Once"))
        with contextlib.suppress(ConnectionError):
            for _ in range(grpc_connection.MAX_RESETS + 50):
                stream = await client.open("/S/Once", b"x", end=False)
                client.h2.reset_stream(stream)
                await client.flush()
        assert await client.gone()


async def test_pings_whose_answers_nobody_reads(place: Place) -> None:
    """The connection ends before they fill the memory."""
    async with place.client() as client:
        frames = bytearray()
        for _ in range(200_000):
            client.h2.ping(b"12345678")
        frames += client.h2.data_to_send()
        client.writer.write(bytes(frames))
        async with asyncio.timeout(20):
            while len(place.server):
                await asyncio.sleep(0.02)


async def test_connections_of_a_user_at_their_limit_and_one_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is closed unheard; when one has ended there is room."""
    monkeypatch.setattr(grpc_server, "MAX_CONNECTIONS_OF_USER", 3)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(place.client()) for _ in range(3)]
        for client in clients:
            await client.message(await client.open("/S/Stream"))
        async with place.client() as more:
            assert await more.gone()
        clients[0].writer.close()
        async with asyncio.timeout(20):
            while len(place.server) == 3:
                await asyncio.sleep(0.01)
        async with place.client() as again:
            assert await again.message(await again.open("/S/Stream")) == b"one"


async def test_a_caller_that_leaves_in_the_middle(place: Place) -> None:
    """Nothing is left of it, wherever it was."""
    for cut in (1, 10, 24, 40, 70):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(place.path))
        client = H2Connection(H2Configuration(client_side=True))
        client.initiate_connection()
        client.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", "/S/Stream"), (":authority", "x")])
        sock.sendall(client.data_to_send()[:cut])
        sock.close()
    async with asyncio.timeout(20):
        await asyncio.sleep(0.05)
        while len(place.server):
            await asyncio.sleep(0.01)


async def test_the_end_is_told(place: Place) -> None:
    """GOAWAY: a client then makes another connection, and has not lost a call without a word."""
    async with place.client() as client:
        await client.message(await client.open("/S/Stream"))
        await place.server.close()
        assert await client.gone()
        assert any(type(event).__name__ == "ConnectionTerminated" for event in client.events)
        assert not any(isinstance(event, StreamEnded) for event in client.events)

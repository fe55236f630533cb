"""A control server on loopback, raw callers, and identities for both."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

from proxy.control.connection import ControlLimits, Handler
from proxy.control.message import Request, Response
from proxy.control.server import ControlServer
from proxy.identity.bundle import Bundle
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports
from support.pki import Authority, Svid


async def echo(request: Request) -> Response:
    """Answers with what it understood."""
    said = f"{request.method} {request.path}?{request.query} {len(request.body)}"
    return Response(200, said.encode())


@contextlib.asynccontextmanager
async def serving(
    handler: Handler = echo,
    *,
    limits: ControlLimits | None = None,
    kind: EventLoop = EventLoop.ASYNCIO,
    **options: object,
) -> AsyncIterator[tuple[ControlServer, int]]:
    """A started server and its port; all of it has ended afterwards."""
    loop = asyncio.get_running_loop()
    tasks, deadlines = Tasks("test"), Deadlines(loop)
    server = ControlServer(Transports(loop, kind), tasks, deadlines, handler, name="test", limits=limits, **options)  # type: ignore[arg-type]
    port = await server.start("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.close()
        await tasks.close()
        deadlines.close()
        assert len(server) == 0


@contextlib.asynccontextmanager
async def in_time(seconds: float = 10) -> AsyncIterator[None]:
    """What takes longer fails the test: a TimeoutError is an OSError, and would pass for a refused connection."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise AssertionError(f"not in {seconds:g} s") from error


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator["Caller"]:
        """Connect, and disconnect at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def say(self, data: bytes) -> None:
        """Send."""
        self.writer.write(data)
        await self.writer.drain()

    async def hear(self) -> tuple[bytes, bytes]:
        """One answer of a known length: its head, its body."""
        async with in_time():
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length: "):
                    length = int(line.split(b": ")[1])
            return head, await self.reader.readexactly(length)

    async def rest(self, seconds: float = 10) -> bytes:
        """Everything up to the end of the connection, which must come."""
        async with in_time(seconds):
            return await self.reader.read()

    async def ask(self, data: bytes) -> tuple[bytes, bytes]:
        """Say, then hear."""
        await self.say(data)
        return await self.hear()


def get(path: str = "/", *fields: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: test", *fields, "\r\n")).encode()


def post(body: bytes, *fields: str, path: str = "/") -> bytes:
    """A request with a counted body."""
    return get(path, f"Content-Length: {len(body)}", *fields, method="POST") + body


def store_of(svid: Svid, *authorities: Authority) -> IdentityStore:
    """A store that holds ``svid`` and trusts these authorities, each for its own domain."""
    store = IdentityStore()
    renew(store, svid, *authorities)
    return store


def renew(store: IdentityStore, svid: Svid, *authorities: Authority) -> None:
    """Give a store a new identity."""
    bundles = {a.trust_domain: Bundle.from_pem(a.trust_domain, a.bundle_pem) for a in authorities}
    store.replace(X509Svid.from_pem(svid.chain_pem, svid.key_pem), bundles, time.time())


def client_context(folder: Path, svid: Svid | None) -> ssl.SSLContext:
    """A client that believes anybody, and shows ``svid``: what an attacker would use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if svid is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "client.pem"
        path.write_bytes(svid.chain_pem + svid.key_pem)
        context.load_cert_chain(path)
    return context

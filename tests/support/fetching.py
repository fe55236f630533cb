"""Clients of the control plane, a mesh for them, and servers that say what they are told to."""

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from proxy.control.connection import ControlLimits
from proxy.control.fetch import ControlFetch
from proxy.control.server import Request, Response
from proxy.identity.peer import Peer, identify
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports, new_loop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings
from support.control import serving, store_of
from support.pki import Authority

TD = "example.org"
TTS = SpiffeId.parse(f"spiffe://{TD}/tts")
KINDS = pytest.mark.parametrize("kind", list(EventLoop))


@contextlib.asynccontextmanager
async def fetching(
    store: IdentityStore | None = None, kind: EventLoop = EventLoop.ASYNCIO, now: Callable[[], float] = time.time
) -> AsyncIterator[ControlFetch]:
    """A fetch with that identity."""
    contexts = TlsContexts(store, TlsSettings()) if store else None
    made = ControlFetch(Transports(asyncio.get_running_loop(), kind), contexts, store, now)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0.02)


@dataclass
class Script:
    """A server that says what it is told to, whatever it hears, and remembers both."""

    answers: list[bytes]
    keep: bool = True
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [int(row[15:]) for row in head.split(b"\r\n") if row.lower().startswith(b"content-length:")]
                self.heard.append(head + (await reader.readexactly(length[0]) if length else b""))
                writer.write(self.answers.pop(0))
                await writer.drain()
                if not self.keep:
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a scripted server."""
    server = await asyncio.start_server(script, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def answer(body: bytes = b"", *fields: str, status: str = "200 OK") -> bytes:
    """One answer of a counted length."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "\r\n")).encode() + body


async def who(request: Request) -> Response:
    """Answers with the peer, the method and the body."""
    return Response(
        200, f"{request.peer.uri if request.peer else '-'} {request.method} {request.body.decode()}".encode()
    )


@dataclass
class Mesh:
    """A trust domain with a TTS that listens."""

    ca: Authority
    url: str
    store: IdentityStore
    connections: Callable[[], int]


@contextlib.asynccontextmanager
async def mesh(
    kind: EventLoop = EventLoop.ASYNCIO,
    limits: ControlLimits | None = None,
    refuse: bool = False,  # noqa: FBT001, FBT002
) -> AsyncIterator[Mesh]:
    """The server, and the identity of a client."""
    ca = Authority.make(TD)
    own = store_of(ca.svid(str(TTS)), ca)

    def recognise(chain: list[bytes]) -> Peer:
        return identify(chain, {} if refuse else own.require().bundles, time.time())

    contexts = TlsContexts(own, TlsSettings())
    async with serving(who, kind=kind, limits=limits, context=contexts.server, identify=recognise) as (server, port):
        client = store_of(ca.svid(f"spiffe://{TD}/orders"), ca)
        yield Mesh(ca=ca, url=f"https://127.0.0.1:{port}/token", store=client, connections=lambda: len(server))


def on(kind: EventLoop, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on that loop."""

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


def server_context(ca: Authority, uri: str) -> ssl.SSLContext:
    """A server that shows that identity and asks for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        svid = ca.svid(uri, dns=["localhost"])
        file.write(svid.chain_pem + svid.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def both(one: Authority, other: Authority) -> Authority:
    """A domain whose bundle has two roots."""
    return replace(one, anchors=(*one.anchors, *other.anchors))


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, not for ever."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)

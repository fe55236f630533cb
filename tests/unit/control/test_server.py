"""The control server: its port, its limits, its identities, its end."""

import asyncio
import contextlib
import errno
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.control import Caller, client_context, get, post, renew, serving, store_of
from support.pki import Authority

from proxy.control.server import ControlLimits, ControlServer, Request, Response
from proxy.errors import NotReady
from proxy.identity.peer import Peer, identify
from proxy.identity.store import IdentityStore
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports, new_loop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings

DOMAIN = "example.org"
KINDS = pytest.mark.parametrize("kind", list(EventLoop))


async def who(request: Request) -> Response:
    """Answers with the peer."""
    return Response(200, b"nobody" if request.peer is None else request.peer.uri.encode())


@dataclass
class Mesh:
    """A server that demands an identity, and what belongs to it."""

    ca: Authority
    store: IdentityStore
    server: ControlServer
    port: int
    folder: Path
    ahead_s: float = 0.0

    def caller(self, uri: str | None, ca: Authority | None = None, **shape: float) -> ssl.SSLContext:
        """A client's context."""
        return client_context(self.folder, (ca or self.ca).svid(uri, **shape) if uri else None)  # type: ignore[arg-type]

    async def refuses(self, context: ssl.SSLContext | None) -> bool:
        """Whether not one byte of an answer comes."""
        try:
            async with Caller.to(self.port, context) as caller:
                await caller.say(get())
                return await caller.rest() == b""
        except OSError:
            return True


@contextlib.asynccontextmanager
async def mesh(
    folder: Path, kind: EventLoop = EventLoop.ASYNCIO, limits: ControlLimits | None = None
) -> AsyncIterator[Mesh]:
    """The server of a trust domain."""
    ca = Authority.make(DOMAIN)
    store = store_of(ca.svid(f"spiffe://{DOMAIN}/server"), ca)
    contexts = TlsContexts(store, TlsSettings())
    made: Mesh | None = None

    def recognise(chain: list[bytes]) -> Peer:
        return identify(chain, store.require().bundles, time.time() + (made.ahead_s if made else 0))

    async with serving(who, kind=kind, limits=limits, context=contexts.server, identify=recognise) as (server, port):
        made = Mesh(ca=ca, store=store, server=server, port=port, folder=folder)
        yield made


def on(kind: EventLoop, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on that loop."""

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


@KINDS
def test_plain_on_every_loop(kind: EventLoop) -> None:
    """Requests, pipelining, refusal, half-close: the same on each loop."""

    async def test() -> None:
        limits = ControlLimits(linger_s=0.2)
        async with serving(kind=kind, limits=limits) as (_, port):
            async with Caller.to(port) as caller:
                await caller.say(get("/1") + post(b"abc", path="/2") + b"nonsense\r\n\r\n")
                assert (await caller.hear())[1] == b"GET /1? 0"
                assert (await caller.hear())[1] == b"POST /2? 3"
                assert (await caller.hear())[0].startswith(b"HTTP/1.1 400 ")
                assert await caller.rest() == b""
            async with Caller.to(port) as caller:
                await caller.say(get("/3"))
                caller.writer.write_eof()
                assert (await caller.rest()).endswith(b"GET /3? 0")

    on(kind, test)


@KINDS
def test_a_large_answer_over_tls_and_a_slow_reader(kind: EventLoop, tmp_path: Path) -> None:
    """An answer of 5 MB goes out whole, and the connection is used again."""

    async def big(_: Request) -> Response:
        return Response(200, b"b" * 5_000_000)

    async def test() -> None:
        ca = Authority.make(DOMAIN)
        contexts = TlsContexts(store_of(ca.svid(f"spiffe://{DOMAIN}/s"), ca), TlsSettings())
        context = client_context(tmp_path, ca.svid(f"spiffe://{DOMAIN}/c"))
        async with serving(big, kind=kind, context=contexts.server) as (_, port), Caller.to(port, context) as caller:
            for _ in range(2):
                await caller.say(get())
                await asyncio.sleep(0.1)
                assert len((await caller.hear())[1]) == 5_000_000

    on(kind, test)


@KINDS
def test_the_peer_reaches_the_handler(kind: EventLoop, tmp_path: Path) -> None:
    """On every loop the handler knows the SPIFFE ID of each caller."""

    async def test() -> None:
        async with mesh(tmp_path, kind) as made:
            for name in ("a", "ns/b/c"):
                async with Caller.to(made.port, made.caller(f"spiffe://{DOMAIN}/{name}")) as caller:
                    for _ in range(2):
                        assert (await caller.ask(get()))[1] == f"spiffe://{DOMAIN}/{name}".encode()

    on(kind, test)


@KINDS
def test_who_has_no_good_identity_gets_no_answer(kind: EventLoop, tmp_path: Path) -> None:
    """No certificate, a foreign authority, an expired SVID, plaintext: nothing is answered, and the next good one is."""

    async def test() -> None:
        async with mesh(tmp_path, kind, ControlLimits(handshake_s=1.0)) as made:
            uri = f"spiffe://{DOMAIN}/a"
            assert await made.refuses(made.caller(None))
            assert await made.refuses(made.caller(uri, Authority.make(DOMAIN)))
            assert await made.refuses(made.caller("spiffe://other.org/a", Authority.make("other.org")))
            assert await made.refuses(made.caller("spiffe://other.org/a"))  # our authority, a foreign name
            assert await made.refuses(made.caller(uri, lifetime_s=-5))
            assert await made.refuses(None)
            async with Caller.to(made.port, made.caller(uri)) as caller:
                assert (await caller.ask(get()))[1] == uri.encode()

    on(kind, test)


@KINDS
def test_who_has_no_good_identity_holds_no_connection(kind: EventLoop, tmp_path: Path) -> None:
    """TLS is content with a foreign name under our root; it is ended at once, without waiting for a request."""

    async def test() -> None:
        async with mesh(tmp_path, kind, ControlLimits(idle_s=60)) as made:
            stranger = made.caller("spiffe://other.org/a")
            with contextlib.suppress(OSError):
                async with Caller.to(made.port, stranger) as caller:
                    assert await caller.rest(3) == b""
            assert len(made.server) == 0

    on(kind, test)


async def test_who_says_nothing_in_the_handshake_is_ended(tmp_path: Path) -> None:
    """A caller that connects to the TLS port and waits holds no place for longer than the deadline."""
    async with mesh(tmp_path, limits=ControlLimits(handshake_s=0.2)) as made, Caller.to(made.port) as caller:
        assert await caller.rest() == b""


async def test_an_identity_that_ends_ends_its_connection(tmp_path: Path) -> None:
    """The peer is identified for each request, not once: an SVID expires under an open connection."""
    async with (
        mesh(tmp_path) as made,
        Caller.to(made.port, made.caller(f"spiffe://{DOMAIN}/a", lifetime_s=60)) as caller,
    ):
        assert (await caller.ask(get()))[0].startswith(b"HTTP/1.1 200 ")
        made.ahead_s = 61.0
        await caller.say(get())
        with contextlib.suppress(OSError):
            assert await caller.rest() == b""


async def test_a_bundle_that_is_taken_back_ends_connections(tmp_path: Path) -> None:
    """A federated domain is dropped: its open connections end with the next request."""
    other = Authority.make("other.org")
    async with mesh(tmp_path) as made:
        renew(made.store, made.ca.svid(f"spiffe://{DOMAIN}/server"), made.ca, other)
        async with Caller.to(made.port, made.caller("spiffe://other.org/x", other)) as caller:
            assert (await caller.ask(get()))[1] == b"spiffe://other.org/x"
            renew(made.store, made.ca.svid(f"spiffe://{DOMAIN}/server"), made.ca)
            await caller.say(get())
            with contextlib.suppress(OSError):
                assert await caller.rest() == b""


async def test_the_next_connection_has_the_newest_svid(tmp_path: Path) -> None:
    """Rotation needs no restart, and does not end the connection that began before it."""
    async with mesh(tmp_path) as made:
        context = made.caller(f"spiffe://{DOMAIN}/a")
        async with Caller.to(made.port, context) as before:
            await before.ask(get())
            renew(made.store, made.ca.svid(f"spiffe://{DOMAIN}/server"), made.ca)
            async with Caller.to(made.port, context) as after:
                await after.ask(get())
                shown = [c.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) for c in (before, after)]
                assert shown[0] != shown[1]
            assert (await before.ask(get()))[0].startswith(b"HTTP/1.1 200 ")


async def test_without_an_identity_of_ours_nobody_is_served() -> None:
    """NotReady is a closed connection, not a crash."""

    def nothing_yet() -> ssl.SSLContext:
        raise NotReady("no SVID is loaded yet")

    async with serving(context=nothing_yet) as (_, port), Caller.to(port) as caller:
        assert await caller.rest() == b""


async def test_connections_n_are_served_and_n_plus_1_takes_the_place_of_an_idle_one() -> None:
    """Whoever collects idle connections cannot keep a probe out: the oldest idle one makes room."""
    async with AsyncExitStack() as stack:
        server, port = await stack.enter_async_context(serving(limits=ControlLimits(max_connections=2)))
        first, second = [await stack.enter_async_context(Caller.to(port)) for _ in range(2)]
        await first.ask(get())
        await second.ask(get())
        assert len(server) == 2
        third = await stack.enter_async_context(Caller.to(port))
        assert (await third.ask(get()))[0].startswith(b"HTTP/1.1 200 ")
        assert len(server) == 2
        with contextlib.suppress(ConnectionResetError):
            assert await first.rest() == b""
        assert (await second.ask(get()))[0].startswith(b"HTTP/1.1 200 ")


async def test_connections_n_plus_1_is_closed_when_all_are_busy() -> None:
    """No work in progress is thrown away for a newcomer."""
    gate = asyncio.Event()

    async def handler(_: Request) -> Response:
        await gate.wait()
        return Response(200)

    async with AsyncExitStack() as stack:
        _, port = await stack.enter_async_context(serving(handler, limits=ControlLimits(max_connections=2)))
        first, second = [await stack.enter_async_context(Caller.to(port)) for _ in range(2)]
        await first.say(get())
        await second.say(get())
        await asyncio.sleep(0.1)
        third = await stack.enter_async_context(Caller.to(port))
        assert await third.rest() == b""
        gate.set()
        assert (await first.hear())[0].startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_does_not_end_makes_room() -> None:
    """Who sends half a head to each connection keeps no probe out."""
    async with AsyncExitStack() as stack:
        _, port = await stack.enter_async_context(serving(who, limits=ControlLimits(max_connections=2)))
        held = [await stack.enter_async_context(Caller.to(port)) for _ in range(2)]
        for caller in held:
            await caller.say(b"GET / HT")
        await asyncio.sleep(0.1)
        probe = await stack.enter_async_context(Caller.to(port))
        await probe.say(get())
        assert (await probe.hear())[0].startswith(b"HTTP/1.1 200 ")


async def test_a_port_in_use_says_so() -> None:
    """Where, and what to do."""
    async with serving() as (_, port):
        loop = asyncio.get_running_loop()
        other = ControlServer(Transports(loop, EventLoop.ASYNCIO), Tasks("t"), Deadlines(loop), who, name="other")
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: the port is in use") as caught:
            await other.start("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        await other.close()


async def test_close_ends_handlers_handshakes_and_idle_connections(tmp_path: Path) -> None:
    """Nothing of the server outlives it; whoever is connected sees the end."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(mesh(tmp_path))
        silent = await stack.enter_async_context(Caller.to(made.port))
        idle = await stack.enter_async_context(Caller.to(made.port, made.caller(f"spiffe://{DOMAIN}/a")))
        await idle.ask(get())
        await asyncio.wait_for(made.server.close(), 3)
        assert len(made.server) == 0
        with contextlib.suppress(ConnectionResetError):
            assert await silent.rest() == b""
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", made.port)


async def test_a_real_client() -> None:
    """httpx, with its own ideas of keep-alive and Expect."""
    async with serving() as (_, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert (await client.get("/a", params={"b": "c d"})).text == "GET /a?b=c+d 0"
        assert (await client.post("/p", content=b"x" * 5000)).text == "POST /p? 5000"
        assert (await client.head("/h")).headers["content-length"] == "9"

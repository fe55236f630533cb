"""Opening connections: who answered, with which identity, and for how long."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.mesh import load_svid
from support.mtls import store_of, take
from support.pki import Authority, Svid
from support.ports import refused_port

from proxy.errors import NotReady, UpstreamDown, UpstreamTimeout, UpstreamUntrusted
from proxy.http1.limits import Limits
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports
from proxy.policy.settings import Protection
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings
from proxy.upstream.connection import Upstream
from proxy.upstream.dial import LEND_MARGIN_S, Dialer
from proxy.upstream.endpoint import Endpoint

LEDGER = "spiffe://example.org/ledger"
EDGE = "spiffe://example.org/edge"


@dataclass
class World:
    """A CA, a dialer, and a server that a test gives an SVID."""

    ca: Authority
    folder: Path
    store: IdentityStore
    dialer: Dialer
    results: list[str]

    def server_context(self, svid: Svid) -> ssl.SSLContext:
        """Give the context of a server with this SVID."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.ca.bundle_pem.decode())
        load_svid(context, svid, self.folder)
        return context

    async def serve(self, svid: Svid) -> asyncio.Server:
        """Listen with this SVID."""
        context = self.server_context(svid)
        return await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """With an identity of an hour."""
    ca = Authority.make("example.org")
    store = store_of(ca.svid(EDGE), ca, now=time.time())
    results: list[str] = []
    dialer = Dialer(
        Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO),
        TlsContexts(store, TlsSettings()),
        store,
        time.time,
        time.monotonic,
        lambda result, _seconds: results.append(result),
    )
    yield World(ca, tmp_path, store, dialer, results)
    await asyncio.sleep(0.05)


def _endpoint(port: int, expected: str = LEDGER, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(host=host, port=port, protection=Protection.MTLS, expected=SpiffeId.parse(expected))


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def test_who_was_expected(world: World) -> None:
    """It is open until the earlier end of the two SVIDs, less a margin."""
    server = await world.serve(world.ca.svid(LEDGER, lifetime_s=60))
    upstream = await world.dialer.dial(_endpoint(_port(server)), Limits(), 5)
    left = upstream.ends_at - time.monotonic()
    assert 60 - LEND_MARGIN_S - 3 < left <= 60 - LEND_MARGIN_S + 0.1
    assert world.results == ["ok"]
    upstream.transport.abort()
    server.close()


async def _dial_through_a_change(world: World, svid: Svid) -> Upstream:
    """Dial, and take this SVID during the handshake."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as front:
        front.setblocking(False)
        dialing = loop.create_task(world.dialer.dial(_endpoint(front.getsockname()[1]), Limits(), 5))
        ours, _ = await loop.sock_accept(front)
        await _readable(ours)  # the client waits for an answer to its hello
        take(world.store, svid, world.ca, now=time.time())
        context = world.server_context(world.ca.svid(LEDGER))
        serving, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours, ssl=context)
    try:
        return await dialing
    finally:
        serving.abort()


async def test_the_end_is_that_of_the_svid_that_was_shown(world: World) -> None:
    """A rotation during the handshake changes who we are, not who we said that we were."""
    take(world.store, world.ca.svid(EDGE, lifetime_s=30), world.ca, now=time.time())
    upstream = await _dial_through_a_change(world, world.ca.svid(EDGE, lifetime_s=3000))
    assert upstream.ends_at - time.monotonic() < 31
    upstream.transport.abort()


async def test_what_was_opened_in_another_name_is_not_used(world: World) -> None:
    """Over there we would be somebody else than we are now."""
    with pytest.raises(NotReady):
        await _dial_through_a_change(world, world.ca.svid("spiffe://example.org/other"))


@pytest.mark.parametrize("uri", ["spiffe://example.org/orders", LEDGER + "/x", "spiffe://other.org/ledger"])
async def test_somebody_else(world: World, uri: str) -> None:
    """Verified by our CA, and not whom we wanted."""
    server = await world.serve(world.ca.svid(uri))
    with pytest.raises(UpstreamUntrusted) as refused:
        await world.dialer.dial(_endpoint(_port(server)), Limits(), 5)
    assert f"127.0.0.1:{_port(server)}" in refused.value.detail
    assert world.results == ["upstream_untrusted"]
    server.close()


async def test_nobody(world: World) -> None:
    """A port without a listener, a name without an address."""
    with refused_port() as port:
        for endpoint in (_endpoint(port), _endpoint(80, host="nowhere.invalid")):
            with pytest.raises(UpstreamDown):
                await world.dialer.dial(endpoint, Limits(), 5)
    assert world.results == [], "there was no handshake"


async def test_a_server_that_says_nothing(world: World) -> None:
    """Within the time that was given."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            await world.dialer.dial(_endpoint(silent.getsockname()[1]), Limits(), 0.3)
        assert time.monotonic() - began < 3
    assert world.results == ["upstream_timeout"]


async def test_without_an_identity_nobody_is_called() -> None:
    """Not even by a connection of TCP."""
    store = IdentityStore()
    loop = asyncio.get_running_loop()
    dialer = Dialer(
        Transports(loop, EventLoop.ASYNCIO),
        TlsContexts(store, TlsSettings()),
        store,
        time.time,
        time.monotonic,
        lambda _result, _seconds: None,
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        with pytest.raises(NotReady):
            await dialer.dial(_endpoint(server.getsockname()[1]), Limits(), 5)
        with pytest.raises(TimeoutError):
            server.accept()


async def test_a_cancelled_dial_leaves_nothing_open(world: World) -> None:
    """Neither while it connects nor while it shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dialing = asyncio.get_running_loop().create_task(
            world.dialer.dial(_endpoint(silent.getsockname()[1]), Limits(), 5)
        )
        connection, _ = silent.accept() if await _tick() else (None, None)
        assert connection is not None
        dialing.cancel()
        await asyncio.wait((dialing,))
        connection.settimeout(5)
        with connection:
            while connection.recv(65536):
                pass


async def _tick() -> bool:
    await asyncio.sleep(0.05)
    return True


async def _readable(sock: socket.socket) -> None:
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sock, readable.set)
    await readable.wait()
    loop.remove_reader(sock)


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a name has IPv6, and IPv6 leads nowhere."""
    loop = asyncio.get_running_loop()
    server = await world.serve(world.ca.svid(LEDGER))
    with socket.socket() as silent, socket.socket() as full:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        full.connect(silent.getsockname())  # its queue has room for no other
        addresses = [silent.getsockname(), ("127.0.0.1", _port(server))]

        async def two(*_: object, **__: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        monkeypatch.setattr(loop, "getaddrinfo", two)
        upstream = await world.dialer.dial(_endpoint(1, host="ledger.test"), Limits(), 2.0)
        assert str(upstream.peer and upstream.peer.spiffe_id) == LEDGER
        upstream.transport.abort()
        addresses.reverse()
        del addresses[0]
        with pytest.raises(UpstreamTimeout):
            await world.dialer.dial(_endpoint(1, host="ledger.test"), Limits(), 0.3)
    server.close()

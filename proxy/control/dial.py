"""Connections of the control plane: the name, the addresses, the handshake, and who answered."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from proxy.control.exchange import Exchange
from proxy.errors import ConnectionRefusal, NotReady, UpstreamDown, UpstreamUntrusted
from proxy.identity.bundle import Bundles
from proxy.identity.peer import Peer, identify
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import Transports
from proxy.policy.revocation import Revoked
from proxy.tls.contexts import TlsContexts, web_client_context
from proxy.tls.handshake import dial_failure, verified_chain

MAX_ADDRESSES = 4
CONNECT_S = 3.0
"""For each address of a name: one that swallows packets must leave time for the next."""

HANDSHAKE_S = 5.0
"""As the data plane."""


class Server(NamedTuple):
    """Whom to reach. ``where`` is ``host:port`` for people; ``expect`` asks for mTLS and this identity."""

    scheme: str
    host: str
    port: int
    where: str
    expect: SpiffeId | None


class Trust(Protocol):
    """With what a workload is reached, and by which bundles it is known."""

    def client(self) -> ssl.SSLContext:
        """Give the newest context. Raises NotReady."""
        ...

    def bundles(self) -> Bundles:
        """Give the newest bundles. Raises NotReady."""
        ...


class MeshTrust:
    """Our own identity, to whomever its bundles prove."""

    def __init__(self, contexts: TlsContexts, store: IdentityStore) -> None:
        self.client = contexts.client
        self._store = store

    def bundles(self) -> Bundles:
        """As the Trust says."""
        return self._store.require().bundles


class Dialer:
    """Makes connections. Without ``trust`` it cannot reach a workload."""

    def __init__(
        self, transports: Transports, trust: Trust | None, now: Callable[[], float], revoked: Revoked | None = None
    ) -> None:
        self._revoked = revoked if revoked is not None else Revoked()
        self._transports = transports
        self._loop = transports.loop
        self._trust = trust
        self._now = now
        self._web: ssl.SSLContext | None = None

    def context(self, server: Server) -> ssl.SSLContext | None:
        """Give the TLS context that a connection to ``server`` has now; None for plain http. Raises NotReady."""
        if server.scheme == "http":
            return None
        if server.expect is not None:
            if self._trust is None:
                raise NotReady("there is no identity to reach a workload with")
            return self._trust.client()
        if self._web is None:
            self._web = web_client_context()  # once: it reads the certificates of the whole web
        return self._web

    async def dial(self, server: Server, context: ssl.SSLContext | None) -> Exchange:
        """Connect, and know who answered.

        Raises:
            UpstreamDown, UpstreamTimeout, UpstreamUntrusted, UpstreamRefusedUs: with what a person can do.

        """
        sock = await self._connect(server)
        try:
            # aiofastnet takes no empty name; a mesh context does not check it, and nobody minds the SNI
            name = server.host if context is not None else None
            _, exchange = await self._transports.connected(lambda: Exchange(context), sock, context, name, HANDSHAKE_S)
        except (OSError, EOFError) as error:  # ssl.SSLError and TimeoutError among them
            sock.close()
            failure = dial_failure(error)
            raise type(failure)(f"{server.where}: {failure.detail}") from error
        except asyncio.CancelledError:
            sock.close()
            raise
        if server.expect is not None:
            exchange.peer = self._recognise(exchange, server)
        return exchange

    def _recognise(self, exchange: Exchange, server: Server) -> Peer:
        try:
            bundles = self._trust.bundles() if self._trust is not None else {}
            peer = identify(verified_chain(exchange.transport), bundles, self._now())
            self._revoked.recheck(peer)
        except NotReady:  # our identity was taken away during the handshake
            exchange.abort()
            raise
        except ConnectionRefusal as refusal:
            exchange.abort()
            raise UpstreamUntrusted(f"{server.where} is not {server.expect}: {refusal.detail}") from refusal
        if peer.spiffe_id == server.expect:
            return peer
        exchange.abort()
        raise UpstreamUntrusted(f"{server.where} showed {peer.uri}, expected {server.expect}")

    async def _connect(self, server: Server) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, address in await self._resolve(server):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a kernel without IPv6, and a name that has it
                failure = error
                continue
            try:
                sock.setblocking(False)
                async with asyncio.timeout(CONNECT_S):
                    await self._loop.sock_connect(sock, address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:  # TimeoutError among them
                sock.close()
                failure = error
            except asyncio.CancelledError:
                sock.close()
                raise
            else:
                return sock
        raise UpstreamDown(_why(server, failure)) from failure

    async def _resolve(self, server: Server) -> list[Any]:
        try:
            found = await self._loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise UpstreamDown(f"the name {server.host} does not resolve") from error
        return found[:MAX_ADDRESSES]


def _why(server: Server, error: OSError | None) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {server.where}"
    if isinstance(error, TimeoutError):
        return f"{server.where} does not answer: is a firewall between, or the address wrong?"
    if error is None:
        return f"the name {server.host} has no address"
    if error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return f"no route leads to {server.where}"
    return f"no connection to {server.where}: {os.strerror(error.errno or 0)}"

"""Opening a connection: resolve, connect, shake hands, and see who is there. Each failure has its reason."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import socket
import ssl
from collections.abc import Callable

from proxy.errors import ConnectionRefusal, NotReady, ProxyError, UpstreamDown, UpstreamTimeout, UpstreamUntrusted
from proxy.http1.limits import Limits
from proxy.identity.lifetime import LifetimeSettings, serves_s
from proxy.identity.peer import identify
from proxy.identity.store import Identity, IdentityStore
from proxy.net.deadlines import NEVER
from proxy.net.lifetimes import Lifetimes
from proxy.net.transport import Transports
from proxy.policy.revocation import Revoked
from proxy.policy.settings import Protection
from proxy.tls.contexts import TlsContexts, web_client_context
from proxy.tls.handshake import dial_failure, verified_chain
from proxy.tls.proofs import GRACE_S, Proofs
from proxy.upstream.connection import Upstream
from proxy.upstream.endpoint import Endpoint

_log = logging.getLogger(__name__)

Addresses = list[tuple[socket.AddressFamily, tuple[str, int]]]


LEND_MARGIN_S = 1.0
"""Before an identity ends: what leaves at the last moment must arrive before it, by either side's clock."""


ATTEMPT_S = 0.25
"""For one of several addresses, at the least (RFC 8305 section 5): of two families one may lead nowhere."""


class Dialer:
    """Opens connections with the newest identity, and knows those of workloads as long as they are open.

    ``handshake_done(result, seconds)`` is told of every TLS handshake, with ``ok`` or the reason. ``lifetimes`` ends
    connections with the identities that proved them; ``chance`` is from 0 to 1.
    """

    def __init__(
        self,
        transports: Transports,
        contexts: TlsContexts,
        store: IdentityStore,
        now: Callable[[], float],
        clock: Callable[[], float],
        handshake_done: Callable[[str, float], None],
        *,
        lifetimes: Lifetimes[Upstream] | None = None,
        lifetime: LifetimeSettings | None = None,
        chance: Callable[[], float] = random.random,
        revoked: Revoked | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._revoked = revoked if revoked is not None else Revoked()
        self._grace_s = grace_s
        self._transports = transports
        self._contexts = contexts
        self._store = store
        self._now = now
        self._clock = clock
        self._handshake_done = handshake_done
        self._lifetimes = lifetimes
        self._lifetime = lifetime or LifetimeSettings()
        self._chance = chance
        self._web: ssl.SSLContext | None = None
        self.proofs: Proofs | None = None  # of the newest round of judging

    async def dial(self, endpoint: Endpoint, limits: Limits, timeout_s: float, *, held: bool = False) -> Upstream:
        """Open one connection to ``endpoint``; ``held`` as in ``Upstream``, for one that is not protected.

        Raises:
            UpstreamDown, UpstreamTimeout, UpstreamUntrusted, UpstreamRefusedUs, NotReady: as their names say.

        """
        self._context(endpoint.protection)  # first: without an identity nobody is called
        try:
            async with asyncio.timeout(timeout_s):
                sock = await self._connect(endpoint, timeout_s)
        except TimeoutError as error:
            raise UpstreamTimeout(f"no connection to {endpoint} within {timeout_s:g} s") from error
        context, shown = self._context(endpoint.protection), self._store.current
        if context is None:
            _, upstream = await self._transports.connected(lambda: Upstream(limits, held=held), sock, None, None, 0)
            upstream.retires_at = self._retires_at(NEVER)
            return upstream
        started = self._clock()
        try:
            _, upstream = await self._transports.connected(
                lambda: Upstream(limits), sock, context, endpoint.server_name or endpoint.host, timeout_s
            )
            self._check(endpoint, upstream, shown)
        except (OSError, TimeoutError, ProxyError) as error:
            sock.close()
            failure = error if isinstance(error, ProxyError) else dial_failure(error)
            self._handshake_done(failure.reason, self._clock() - started)
            raise failure from error
        self._handshake_done("ok", self._clock() - started)
        return upstream

    def _context(self, protection: Protection) -> ssl.SSLContext | None:
        if protection is Protection.PLAIN:
            return None
        if protection is Protection.MTLS:
            return self._contexts.client()
        if self._web is None:
            self._web = web_client_context()
        return self._web

    def _check(self, endpoint: Endpoint, upstream: Upstream, shown: Identity | None) -> None:
        """Compare who answered with who was expected: the chain alone says it (law 2).

        ``shown`` is who we said we are: the newest identity may be another one by now, and end later.
        """
        if endpoint.protection is not Protection.MTLS or shown is None:
            upstream.retires_at = self._retires_at(NEVER)
            return
        now, newest = self._now(), self._store.current
        if newest is not None and newest.svid.spiffe_id != shown.svid.spiffe_id:
            upstream.transport.abort()
            raise NotReady("our SVID became that of another workload during the handshake")
        try:
            peer = identify(verified_chain(upstream.transport), self._store.require().bundles, now)
            self._revoked.admit(peer)
        except NotReady:  # our identity was taken away during the handshake
            upstream.transport.abort()
            raise
        except ConnectionRefusal as error:
            upstream.transport.abort()
            raise UpstreamUntrusted(f"{endpoint} is no workload that we trust: {error.reason}") from error
        if peer.spiffe_id != endpoint.expected:
            upstream.transport.abort()
            raise UpstreamUntrusted(f"{endpoint} is {peer.uri}, expected {endpoint.expected}")
        left_s = min(peer.not_after, shown.svid.not_after) - now
        upstream.peer = peer
        upstream.ends_at = self._clock() + left_s - LEND_MARGIN_S
        upstream.retires_at = min(self._retires_at(left_s), upstream.ends_at)

    def _retires_at(self, left_s: float) -> float:
        return self._clock() + serves_s(left_s, self._chance(), self._lifetime)

    # ---- while they are open

    def opened(self, upstream: Upstream) -> None:
        """Look after a connection that was lent."""
        upstream.proofs = self.proofs
        if self._lifetimes is not None and upstream.peer is not None:
            self._lifetimes.add(upstream)

    def closed(self, upstream: Upstream) -> None:
        """Forget it."""
        if self._lifetimes is not None:
            self._lifetimes.discard(upstream)

    def judge_anew(self) -> None:
        """Verify who is at the other end of each connection by the newest bundles.

        That takes turns of the loop where there are many: one that is to be lent before its turn is judged then.
        """
        if self._lifetimes is not None:
            self.proofs = Proofs(self._store.trusted, self._now())
            self._lifetimes.judge(self._judge)

    def trusts(self, upstream: Upstream) -> bool:
        """Whether who is at the other end is still believed, by the newest bundles; if not, it ends."""
        self._judge(upstream)
        return upstream.is_open()

    def _judge(self, upstream: Upstream) -> None:
        proofs = self.proofs
        if proofs is None or upstream.proofs is proofs or upstream.transport.is_closing():
            return
        upstream.proofs = proofs
        if upstream.peer is None:
            return
        try:
            upstream.peer = proofs.again(upstream.peer, upstream.transport)
            self._revoked.recheck(upstream.peer)
        except ConnectionRefusal as error:
            _log.info("a connection to %s ends: %s", upstream.peer.uri, error.reason)
            self.withdraw(upstream)

    def withdraw(self, upstream: Upstream) -> None:
        """End a connection whose other end may be called no more: what it has in progress has a moment left."""
        upstream.withdraw(self._clock() + self._grace_s)
        if self._lifetimes is not None:
            self._lifetimes.add(upstream)  # it looks in time for that end

    async def _connect(self, endpoint: Endpoint, timeout_s: float) -> socket.socket:
        """Try each address in its turn; one that does not answer leaves time for the others."""
        addresses = await self._resolve(endpoint)
        share_s = max(timeout_s / max(len(addresses), 1), ATTEMPT_S)
        failure: OSError | None = None
        for left, (family, address) in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # out of descriptors
                failure = error
                continue
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(share_s if left else None):
                    await self._transports.loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError among them
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        why = os.strerror(failure.errno) if failure is not None and failure.errno else "no address"
        raise UpstreamDown(f"nothing answers at {endpoint}: {why}") from failure

    async def _resolve(self, endpoint: Endpoint) -> Addresses:
        with contextlib.suppress(ValueError):  # a literal needs no resolver, and no thread for it
            version = ipaddress.ip_address(endpoint.host).version
            return [(socket.AF_INET if version == 4 else socket.AF_INET6, (endpoint.host, endpoint.port))]
        try:
            found = await self._transports.loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise UpstreamDown(f"the name {endpoint.host} does not resolve") from error
        return [(family, address) for family, _, _, _, address in found if len(address) in {2, 4}]  # type: ignore[misc]

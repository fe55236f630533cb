"""The one client of the control plane: JWK Sets, the Transaction Token Service, bundles. Implements ``tokens.Fetch``.

Redirects are not followed: whoever configures a URL means that one. A failure says what a person can do, and names only
what the configuration names, or what a verified certificate proved.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping

from proxy.control.dial import Dialer, MeshTrust, Server, Trust
from proxy.control.exchange import Exchange
from proxy.control.message import field_line
from proxy.control.url import InvalidUrl, Url, parse_url
from proxy.errors import UpstreamDown, UpstreamFailure, UpstreamReset, UpstreamTimeout, UpstreamUntrusted
from proxy.http1.write import head
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import Transports
from proxy.policy.revocation import Revoked
from proxy.tls.contexts import TlsContexts
from proxy.tokens.fetch import Answer

IDLE_S = 20.0
"""Shorter than the 30 s of our own server: who closes first must be the one who would send next."""

MAX_IDLE = 2
"""For each server: a key fetch beside a token request."""

_REPEATABLE = frozenset({"GET", "HEAD"})
"""What may be sent again when a kept connection turns out to be dead (RFC 9110 section 9.2.2)."""


class ControlFetch:
    """See the module. ``now`` is the wall clock, by which certificates are judged. ``close`` ends kept connections.

    A workload is reached by our own identity (``contexts`` and ``store``), or by another ``trust``.
    """

    def __init__(
        self,
        transports: Transports,
        contexts: TlsContexts | None,
        store: IdentityStore | None,
        now: Callable[[], float],
        *,
        trust: Trust | None = None,
        revoked: Revoked | None = None,
    ) -> None:
        self._revoked = revoked if revoked is not None else Revoked()
        self._loop = transports.loop
        if contexts is not None and store is not None:
            trust = MeshTrust(contexts, store)
        self._dialer = Dialer(transports, trust, now, self._revoked)
        self._now = now
        self._closed = False
        self._idle: dict[Server, list[Exchange]] = {}

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float,
        expect: SpiffeId | None = None,
    ) -> Answer:
        """Send one request and give its whole answer, whatever its status; see ``tokens.fetch.Fetch``."""
        try:
            parsed = parse_url(url)
        except InvalidUrl as error:
            raise UpstreamDown(f"the URL cannot be fetched: it {error}") from error
        if expect is not None and parsed.scheme != "https":
            raise UpstreamUntrusted(f"{parsed.where} can prove no SPIFFE ID over plain http")
        request = _written(method, parsed, fields or {}, body)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(method, parsed, request, expect)
        except TimeoutError as error:
            raise UpstreamTimeout(f"{parsed.where} did not answer in {timeout_s:g} s") from error

    def close(self) -> None:
        """End every kept connection now, and keep none any more: nothing is under way on them, and the loop may end."""
        self._closed = True
        for exchanges in self._idle.values():
            for exchange in exchanges:
                exchange.abort()
        self._idle.clear()

    async def _ask(self, method: str, url: Url, request: bytes, expect: SpiffeId | None) -> Answer:
        server = Server(url.scheme, url.host, url.port, url.where, expect)
        context = self._dialer.context(server)
        kept = self._take(server, context)
        if kept is not None:
            try:
                return await self._through(kept, server, method, request)
            except UpstreamReset:
                if kept.heard or method not in _REPEATABLE:
                    raise
        return await self._through(await self._dialer.dial(server, context), server, method, request)

    async def _through(self, exchange: Exchange, server: Server, method: str, request: bytes) -> Answer:
        try:
            answer = await exchange.ask(method, request)
        except UpstreamFailure as failure:
            raise type(failure)(f"{server.where}: {failure.detail}") from failure
        except asyncio.CancelledError:
            exchange.abort()
            raise
        self._keep(server, exchange)
        return answer

    def _take(self, server: Server, context: ssl.SSLContext | None) -> Exchange | None:
        kept = self._idle.get(server, [])
        while kept:
            exchange = kept.pop()
            good = exchange.is_reusable and exchange.idle_until > self._loop.time() and exchange.context is context
            if good and (exchange.peer is None or self._is_believed(exchange.peer)):
                return exchange
            exchange.close()
        return None

    def _is_believed(self, peer: Peer) -> bool:
        return peer.not_after > self._now() and self._revoked.of_peer(peer) is None

    def _keep(self, server: Server, exchange: Exchange) -> None:
        kept = self._idle.setdefault(server, [])
        if self._closed or not exchange.is_reusable or len(kept) >= MAX_IDLE:
            exchange.close()
            return
        exchange.idle_until = self._loop.time() + IDLE_S
        kept.append(exchange)
        self._loop.call_later(IDLE_S, self._expire, server, exchange, exchange.idle_until)

    def _expire(self, server: Server, exchange: Exchange, idle_until: float) -> None:
        kept = self._idle.get(server, [])
        if exchange in kept and exchange.idle_until == idle_until:
            kept.remove(exchange)
            exchange.close()
        if not kept:
            self._idle.pop(server, None)


def _written(method: str, url: Url, fields: Mapping[str, str], body: bytes) -> bytes:
    own = {"Host": url.authority, "User-Agent": "svidecar", "Accept-Encoding": "identity"}
    if body or method not in _REPEATABLE:
        own["Content-Length"] = str(len(body))
    lines = [field_line(name, value) for name, value in (own | dict(fields)).items()]
    return head(f"{method} {url.target} HTTP/1.1".encode("ascii"), lines) + body

"""From the mesh to the app. This is the way of a request (DESIGN.md section 2); read it from top to bottom.

The connection is admitted once, after its handshake: identity from the verified chain, a Grant from the policy. Each
request shows its token, gets a Permit, and is forwarded; a refusal at any step is the end of it.
"""

import asyncio
import ssl
from collections.abc import Iterable

from proxy.errors import ConnectionRefusal, NotReady, PeerNotAllowed, ProxyError, TokenUnknownKey
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.offer import is_websocket, offer, trace
from proxy.flow.owner import Owner
from proxy.flow.settings import InboundSettings
from proxy.identity.peer import identify
from proxy.identity.store import IdentityStore
from proxy.observe.catalog import Direction
from proxy.policy.grant import Grant, admit
from proxy.policy.rules import Policy
from proxy.tls.contexts import TlsContexts
from proxy.tls.handshake import verified_chain
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.carry import one_token
from proxy.upstream.pool import Pool


class Inbound:
    """What the inbound listener adds: mTLS, policy, tokens, and the app as the only upstream."""

    direction: Direction = "inbound"

    def __init__(
        self,
        settings: InboundSettings,
        store: IdentityStore,
        contexts: TlsContexts,
        authenticator: Authenticator,
        policy: Policy,
        pool: Pool,
    ) -> None:
        self.store = store
        self.authenticator = authenticator
        self.policy = policy
        self.pool = pool
        self.app_authority = f"{settings.app_host}:{settings.app_port}".encode()
        self._contexts = contexts

    def context(self) -> ssl.SSLContext:
        """Give the newest server context. Raises NotReady."""
        return self._contexts.server()

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""
        return InboundConnection(listener, self)

    def readmit(self, connections: Iterable[Downstream]) -> None:
        """Judge the peers of these connections by the newest policy."""
        for connection in connections:
            if isinstance(connection, InboundConnection):
                connection.readmit()

    def verify_anew(self, connections: Iterable[Downstream]) -> None:
        """Verify the peers of these connections by the newest bundles."""
        for connection in connections:
            if isinstance(connection, InboundConnection):
                connection.verify_anew()


class InboundConnection(Downstream):
    """One connection of a peer, from its admission on."""

    __slots__ = ("_forwarded_client_cert", "_grant", "_inbound")

    _grant: Grant
    _forwarded_client_cert: bytes

    def __init__(self, listener: Owner[Downstream], inbound: Inbound) -> None:
        super().__init__(listener)
        self._inbound = inbound

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Identify and admit, or close before a byte reaches the app."""
        try:
            self._admit(transport)
        except (ConnectionRefusal, NotReady) as error:
            self.transport = transport  # type: ignore[assignment]
            self.listener.refuse_peer(self, error)
            return
        super().connection_made(transport)

    def _admit(self, transport: asyncio.BaseTransport) -> None:
        identity = self._inbound.store.require()
        self.account.local = str(identity.svid.spiffe_id)
        peer = identify(verified_chain(transport), identity.bundles, self.runtime.now())
        self.account.peer = peer.uri
        self._grant = admit(self._inbound.policy, peer, min(peer.not_after, identity.svid.not_after))
        # Envoy's text form (specs 6.11). An SVID's characters need no quotes.
        text = f"X-Forwarded-Client-Cert: By={self.account.local};Hash={peer.certificate_sha256};URI={peer.uri}"
        self._forwarded_client_cert = text.encode()

    def readmit(self) -> None:
        """Judge the peer by the newest policy. Whoever it names no more ends with the request in progress."""
        try:
            self._grant = admit(self._inbound.policy, self._grant.peer, self._grant.until)
        except PeerNotAllowed as error:
            self.account.refuse(error)
            self.drain(at_once=True)

    def verify_anew(self) -> None:
        """Verify the peer by the newest bundles. Whoever they prove no more ends with the request in progress."""
        bundles = self._inbound.store.require().bundles
        try:
            identify(verified_chain(self.transport), bundles, self.runtime.now())
        except ConnectionRefusal as error:
            self.account.refuse(error)
            self.drain(at_once=True)

    def on_request(self, exchange: Exchange) -> None:
        """Authenticate, authorise, forward."""
        head = exchange.head
        inbound = self._inbound
        now = self.runtime.now()
        raw = b""
        try:
            traceparent = trace(exchange)
            raw = one_token(head.held.get(b"txn-token"))
            exchange.token = token = inbound.authenticator.authenticate(raw, now)
            exchange.permit = self._grant.permit(head.method, head.target, token, now)
            own = [b"Txn-Token: " + raw, self._forwarded_client_cert, traceparent]
            exchange.offer = offer(exchange, head.authority or inbound.app_authority, own)
        except TokenUnknownKey as error:
            if exchange.learned:
                exchange.fail(error)
                return
            exchange.learned = True
            self.listener.follow_up(self, exchange, inbound.authenticator.learn(raw))
            return
        except ProxyError as error:
            exchange.fail(error)
            return
        if is_websocket(head):
            exchange.tunnel_ends_at = exchange.started + min(token.exp, self._grant.until) - now
        self.forward(exchange, inbound.pool)

"""From the mesh to the app. This is the way of a request (DESIGN.md section 2); read it from top to bottom.

The connection is admitted once, after its handshake: identity from the verified chain, a Grant from the policy. Each
request shows its token, gets a Permit, and is forwarded; a refusal at any step is the end of it.
"""

import asyncio
import random
import ssl
from collections.abc import Callable

from proxy.errors import (
    BeyondGrant,
    BodyTooLarge,
    ConnectionRefusal,
    GrantEnded,
    NotReady,
    ProxyError,
    TokenUnknownKey,
)
from proxy.flow.acquaintance import Acquaintances
from proxy.flow.consent import consent
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.meter import Meter
from proxy.flow.offer import is_websocket, offer, trace
from proxy.flow.owner import Owner
from proxy.flow.permitted import charge, permit_anew, renew, use
from proxy.flow.settings import InboundSettings
from proxy.flow.trade import facts_of, trade
from proxy.flow.transaction import Transactions, remember
from proxy.flow.tunnel import Tunnel
from proxy.flow.withdrawal import KINDLY, Withdrawal
from proxy.identity.lifetime import LifetimeSettings, serves_s
from proxy.identity.peer import identify
from proxy.identity.store import IdentityStore
from proxy.net.cut import cut
from proxy.net.deadlines import NEVER
from proxy.net.lifetimes import Lifetimes
from proxy.observe.catalog import Direction
from proxy.outside.authoriser import Authoriser
from proxy.policy.binding import Undecided
from proxy.policy.grant import Grant, admit, route_that_trades
from proxy.policy.modes import let_pass
from proxy.policy.permit import Permit
from proxy.policy.rules import Policy
from proxy.tls.contexts import TlsContexts
from proxy.tls.handshake import verified_chain
from proxy.tls.proofs import Proofs
from proxy.tokens.carry import one_token
from proxy.tokens.claims import TxnToken
from proxy.upstream.pool import Pool

LAST_S = 0.3
"""For the last answer of a connection whose authority has ended; then it is cut."""


class Inbound:
    """What the inbound listener adds: mTLS, policy, tokens, and the app as the only upstream."""

    direction: Direction = "inbound"

    def __init__(
        self,
        settings: InboundSettings,
        store: IdentityStore,
        contexts: TlsContexts,
        transactions: Transactions,
        policy: Policy,
        pool: Pool,
        lifetimes: "Lifetimes[InboundConnection]",
        lifetime: LifetimeSettings,
        chance: Callable[[], float] = random.random,
        authoriser: Authoriser | None = None,
        withdrawal: Withdrawal = KINDLY,
    ) -> None:
        self.authoriser = authoriser
        self.store = store
        self.uses = transactions.uses
        self.transactions = transactions
        self.authenticator = transactions.authenticator
        self.policy = policy
        self.pool = pool
        self.app_authority = f"{settings.app_host}:{settings.app_port}".encode()
        self.lifetimes = lifetimes
        self.lifetime = lifetime
        self.chance = chance
        self.withdrawal = withdrawal
        self.acquaintances = Acquaintances()
        self.proofs: Proofs | None = None  # of the newest round of judging
        self.known_as: str | None = None  # whatever a peer that stays has seen
        self._contexts = contexts

    def context(self) -> ssl.SSLContext:
        """Give the newest server context. Raises NotReady."""
        return self._contexts.server()

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""
        return InboundConnection(listener, self)

    def judge_anew(self, now: float) -> None:
        """Judge the peer of every connection by the newest bundles and policy. Without an identity, all end.

        That takes turns of the loop where there are many. A request that comes before the turn of its connection has it
        judged first: nothing is asked of the rules that were.
        """
        self.proofs = Proofs(self.store.trusted, now)
        self.lifetimes.judge(InboundConnection.judge)


class InboundConnection(Downstream):
    """One connection of a peer, from its admission on.

    It takes no new request after ``retires_at`` and is cut at ``ends_at``, in seconds on the loop's clock.
    """

    __slots__ = (
        "_beyond",
        "_forwarded_client_cert",
        "_grant",
        "_inbound",
        "_judged",
        "_meter",
        "ends_at",
        "retires_at",
    )

    _grant: Grant
    _forwarded_client_cert: bytes

    def __init__(self, listener: Owner[Downstream], inbound: Inbound) -> None:
        super().__init__(listener)
        self._inbound = inbound
        self._beyond = 0  # tokens beyond the Grant
        self._judged: Proofs | None = None  # the round that it has passed
        self._meter: Meter | None = None
        self.retires_at = self.ends_at = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Identify and admit, or close before a byte reaches the app."""
        try:
            self._admit(transport)
        except (ConnectionRefusal, NotReady) as error:
            self.transport = transport  # type: ignore[assignment]
            self.listener.refuse_peer(self, error)
            return
        super().connection_made(transport)
        self.account.admit(self._grant.barred)
        left_s, now = self._grant.until - self.runtime.now(), self.runtime.clock()
        self.retires_at = now + serves_s(left_s, self._inbound.chance(), self._inbound.lifetime)
        self.ends_at = now + left_s
        self._inbound.lifetimes.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._inbound.lifetimes.discard(self)
        super().connection_lost(exc)

    def _admit(self, transport: asyncio.BaseTransport) -> None:
        identity = self._inbound.store.require()
        peer = identify(verified_chain(transport), identity.bundles, self.runtime.now())
        self._judged = self._inbound.proofs
        self._inbound.withdrawal.revoked.admit(peer)
        known = self._inbound.acquaintances.meet(peer, identity.svid.spiffe_id)
        self.account.local, self.account.peer = known.local, known.peer.uri
        self._forwarded_client_cert = known.forwarded
        until = min(peer.not_after, identity.svid.not_after)
        self.account.policy = self._inbound.policy.version
        self._grant = admit(self._inbound.policy, known.peer, until, self.runtime.now())
        self._measure()

    def _measure(self) -> None:
        """Hold what is carried to the newest Grant. What passed while there was no limit was counted by nobody."""
        max_bytes = self._grant.max_bytes
        if not max_bytes:
            self._meter = None
        elif self._meter is None:
            self._meter = Meter(max_bytes)
        else:
            self._meter.max_bytes = max_bytes
        if self.exchange is not None and self.exchange.permit is not None:
            self.exchange.meter = self._meter

    def judge(self) -> None:
        """Verify and admit the peer again. Whoever is proved or named no more has a moment for what is in progress."""
        grant, proofs = self._grant, self._inbound.proofs
        if proofs is None or self._judged is proofs or not grant.until or self.transport.is_closing():
            return
        self._judged = proofs
        try:
            peer = proofs.again(grant.peer, self.transport)
            self._inbound.withdrawal.revoked.recheck(peer)
            self.account = self.account.under(self._inbound.policy.version)
            self._grant = admit(self._inbound.policy, peer, min(grant.until, peer.not_after), grant.since)
            self.ends_at = min(self.ends_at, self.runtime.clock() + self._grant.until - self.runtime.now())
            self._inbound.lifetimes.hasten(self.ends_at)
        except ConnectionRefusal as error:
            self.account.refuse(error)
            self._grant = grant.withdrawn()
            self._withdraw(self._inbound.withdrawal.grace_of(error, grant.peer))
            return
        self._measure()
        self._judge_tunnel(self.runtime.now())

    def _judge_first(self, exchange: Exchange) -> bool:
        """Judge before the round has come to this connection. False where that was the end of the exchange."""
        self.judge()
        if exchange.account is not self.account:  # as in ``again``
            exchange.account, exchange.learned, exchange.shown = self.account, False, None
        return not exchange.finished

    def _judge_tunnel(self, now: float) -> None:
        """Judge a websocket again, open or about to be: its request passed under rules that may be others now."""
        exchange, tunnel = self.tunnelled or self.exchange, self._tunnel
        if exchange is None or exchange.token is None:
            return
        if tunnel is None and (exchange.upstream is None or exchange.answered or not is_websocket(exchange.head)):
            return
        try:
            permit = permit_anew(self._grant, exchange, exchange.token, now, self._source())
        except ProxyError as refusal:
            exchange.fail(refusal) if tunnel is None else tunnel.end(refusal)
            return
        exchange.permit = permit
        self._bound_tunnel(exchange, permit, exchange.token, now)
        if tunnel is not None:
            tunnel.restrict(exchange.tunnel_ends_at, exchange.tunnel_max_bytes)

    def enter(self, tunnel: Tunnel, first: bytes) -> None:
        """Become one end of a tunnel, where it is allowed still: its turn to be judged may not have come yet."""
        exchange, refusal = self.exchange, GrantEnded("the peer of this connection is trusted no more")
        self._tunnel, self.tunnelled, self.exchange = tunnel, exchange, None
        tunnel.failure = refusal  # should it end here, for no other reason
        self.judge()
        if not self._grant.until:
            tunnel.end(refusal)
        self.exchange, tunnel.failure = exchange, None
        if exchange is None or not exchange.finished:
            super().enter(tunnel, first)
        else:
            self._tunnel = self.exchange = None
            self.abort()

    def still_holds(self, exchange: Exchange) -> bool:
        """Judge a request again that has waited for a connection to the app: by the newest rules, and its token."""
        self.judge()
        inbound, now = self._inbound, self.runtime.now()
        try:
            if exchange.token is not None:
                inbound.authenticator.recheck(exchange.token, now)
            if exchange.account is not self.account or not self._grant.until:
                exchange.account = self.account
                renew(self._grant, exchange, inbound.transactions, inbound.authoriser, now, self._source())
                if is_websocket(exchange.head) and exchange.permit is not None:
                    self._bound_tunnel(exchange, exchange.permit, exchange.token, now)
        except ProxyError as error:
            exchange.fail(error)
        return not exchange.finished

    def _bound_tunnel(self, exchange: Exchange, permit: Permit, token: TxnToken | None, now: float) -> None:
        """Set when a tunnel ends at last, on the loop's clock, never later than before; and its bytes."""
        until = self._grant.until
        if token is not None and permit.tunnel.ends_with_token:
            until = min(until, token.exp)
        ends_at = min(self.runtime.clock() + until - now, exchange.started + permit.tunnel.max_s)
        exchange.tunnel_ends_at = min(exchange.tunnel_ends_at, ends_at)
        exchange.tunnel_max_bytes = permit.tunnel.max_bytes

    def _withdraw(self, grace_s: float) -> None:
        """Finish what is in progress within the grace; without one it is cut."""
        if grace_s <= 0:
            if self.exchange is not None:
                self.exchange.fail(GrantEnded("the peer of this connection is trusted no more"))
            if self._tunnel is not None:
                self._tunnel.end(GrantEnded("the peer of this connection is trusted no more"))
            cut(self.transport)
            return
        self.ends_at = self.runtime.clock() + grace_s
        self._inbound.lifetimes.hasten(self.ends_at)
        self.drain(at_once=True)

    def retire(self) -> None:
        """Say ``Connection: close`` with the next answer; a tunnel goes on to its end."""
        self.retires_at = NEVER
        self._leaving = True
        if self.exchange is not None:
            self.exchange.keep = False

    def end(self) -> None:
        """End what is in progress, and the connection with it."""
        if self._farewell is not None:  # not even its last answer was taken in time
            self.ends_at = NEVER
            cut(self.transport)
            return
        self.ends_at = self.runtime.clock() + LAST_S
        self._inbound.lifetimes.hasten(self.ends_at)
        self._leaving = True
        if self._tunnel is not None:
            self._tunnel.end(GrantEnded("an SVID of this connection has ended, or its peer is trusted no more"))
        elif self.exchange is not None:
            self.exchange.fail(GrantEnded("an SVID of this connection has ended, or its peer is trusted no more"))
        else:
            self.part()

    def on_request(self, exchange: Exchange) -> None:  # noqa: C901 - every step in its order
        """Authenticate, authorise, forward."""
        head, inbound = exchange.head, self._inbound
        if self._judged is not inbound.proofs and not self._judge_first(exchange):
            return
        now, raw = self.runtime.now(), b""
        try:
            traceparent = trace(exchange)
            brought = head.held.get(b"txn-token")
            raw = one_token(brought) if not self._grant.trades else self._traded(exchange, brought)
            if not raw:
                return
            exchange.token = token = inbound.authenticator.authenticate(raw, now)
            try:
                permit = self._grant.permit(head.method, head.target, token, now, exchange.shown)
            except ProxyError as refusal:
                permit = let_pass(self._grant, head.method, head.target, token, now, exchange.shown, refusal)
            exchange.permit = permit
            if self._meter is not None:
                charge(exchange, self._meter)
            if inbound.authoriser is not None and not self._agreed(exchange, inbound.authoriser):
                return
            if permit.once and not inbound.uses.begin():
                self.listener.follow_up(self, exchange, inbound.uses.turn())
                return
            if (passages := inbound.transactions.passages) is not None:
                remember(exchange, passages, permit, raw)
            own = [b"Txn-Token: " + raw, self._forwarded_client_cert, traceparent]
            exchange.offer = offer(exchange, head.authority or inbound.app_authority, own)
            if permit.once:  # last: whatever was refused before has used nothing
                use(inbound.transactions, self._grant, exchange, token, now)
        except Undecided as undecided:
            self._show(exchange, undecided)
            return
        except ProxyError as error:
            self._fail(exchange, raw, error)
            return
        if is_websocket(head):
            self._bound_tunnel(exchange, permit, token, now)
        self.forward(exchange, inbound.pool)

    def _fail(self, exchange: Exchange, raw: bytes, error: ProxyError) -> None:
        """Refuse, or look for the key of the token, once. With the last beyond its Grant the connection ends."""
        if isinstance(error, TokenUnknownKey) and not exchange.learned:
            exchange.learned = True
            self.listener.follow_up(self, exchange, self._inbound.authenticator.learn(raw))
            return
        self._inbound.uses.end()
        if isinstance(error, BeyondGrant):
            self._beyond += 1
            if self._beyond >= self._grant.refusals:
                exchange.keep = False
        exchange.fail(error)

    def _agreed(self, exchange: Exchange, authoriser: Authoriser) -> bool:
        """Whether the authoriser outside agrees; False while it is being asked. Raises AuthoriserDenied."""
        asked = consent(authoriser, exchange, self._source())
        if asked is not None:
            self.listener.follow_up(self, exchange, asked)
        return asked is None

    def _traded(self, exchange: Exchange, brought: list[bytes] | None) -> bytes:
        """Give the token of a request at the edge of the mesh; empty while it is being asked for.

        What the caller says is a transaction token is not looked at there: outside the mesh nobody can have one.
        """
        head = exchange.head
        route = route_that_trades(self._grant, head.method, head.target, self.runtime.now())
        if route is None or route.ask is None:
            return one_token(brought)
        inbound, limit_bytes = self._inbound, self.listener.settings.held_body_bytes
        service, where = inbound.transactions.service, route.template.path
        found = trade(exchange, route.ask, service, limit_bytes, self._source(), where, inbound.known_as)
        if isinstance(found, bytes):
            return found
        if found is not None:
            self.listener.follow_up(self, exchange, found)
        return b""

    def _show(self, exchange: Exchange, undecided: Undecided) -> None:
        """Show the facts of a request to the Grant, and take the steps again; read the body before if it is one."""
        if undecided.needs_body and exchange.hold is None:
            try:
                exchange.wait_for_body(self.listener.settings.held_body_bytes)
            except BodyTooLarge as error:
                exchange.fail(error)
                return
        if exchange.hold is None or exchange.hold.body is not None:
            exchange.shown = facts_of(exchange, self._source())
            self.again(exchange)

    def _source(self) -> str:
        host = self.transport.get_extra_info("peername") or ("",)
        return str(host[0])

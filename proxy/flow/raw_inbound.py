"""From the mesh to an app of raw TCP: one CONNECT, judged as every request is, then bytes.

The connection was admitted as any other (``flow/inbound.py``): identity, Grant. Its one request shows its token, or by
the policy's word none; the authority that it names must be one that a rule gives this app; then the app is called, and
only when its connection is there is the tunnel open.
"""

from typing import Final

from proxy.errors import GrantEnded, ProxyError, SiblingUnavailable, TokenUnknownKey
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.inbound import Inbound, InboundConnection
from proxy.flow.offer import trace
from proxy.flow.opening import Opening, ToApp
from proxy.flow.owner import Owner
from proxy.flow.trade import facts_of
from proxy.http1.connect import ConnectDecoder
from proxy.http1.message import RequestHead
from proxy.net.cut import reset
from proxy.net.deadlines import NEVER
from proxy.policy.binding import Undecided
from proxy.policy.connect import permit_tunnel
from proxy.policy.permit import Permit
from proxy.tls.handshake import is_cut
from proxy.tokens.carry import one_token
from proxy.tokens.claims import TxnToken

_ENDED: Final = "an SVID of this connection has ended, or its peer is trusted no more"


class RawInbound(Inbound):
    """What the inbound listener adds where the app speaks raw TCP."""

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""
        return RawInboundConnection(listener, self)


class RawInboundConnection(InboundConnection):
    """One connection of a peer: a CONNECT, then its tunnel."""

    __slots__ = ("_opening", "_used")

    def __init__(self, listener: Owner[Downstream], inbound: Inbound) -> None:
        super().__init__(listener, inbound)
        self._decoder = ConnectDecoder(listener.settings.limits)
        self._opening: Opening | None = None
        self._used = ""  # the route that its transaction was used for

    def _begin(self, head: RequestHead) -> None:
        exchange = ToApp(self, self.runtime, head, self.account, self._timeouts)
        self.exchange = self._opening = exchange
        self.deadline = NEVER
        self._in_head = False
        self.last_used = exchange.started
        self.on_request(exchange)

    def on_request(self, exchange: Exchange) -> None:
        """Authenticate, authorise, call the app."""
        head, inbound = exchange.head, self._inbound
        if self._judged is not inbound.proofs and not self._judge_first(exchange):
            return
        now = self.runtime.now()
        raw = b""
        try:
            trace(exchange)
            brought = head.held.get(b"txn-token")
            raw = b"" if brought is None else one_token(brought)
            exchange.token = token = inbound.authenticator.authenticate(raw, now) if raw else None
            exchange.permit = permit = self._permit(exchange, token, now)
            if not self._use(permit, token, now):
                self.listener.follow_up(self, exchange, inbound.uses.turn())
                return
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
        self._bound_tunnel(exchange, permit, token, now)
        exchange.pool = inbound.pool
        self.listener.open_upstream(self, exchange)

    def _permit(self, exchange: Exchange, token: TxnToken | None, now: float) -> Permit:
        """Ask the Grant; show it facts of the request where a rule asks for them."""
        target = exchange.head.target
        try:
            return permit_tunnel(self._grant, target, token, now, exchange.shown)
        except Undecided:
            exchange.shown = facts_of(exchange, self._source())
        return permit_tunnel(self._grant, target, token, now, exchange.shown)

    def _use(self, permit: Permit, token: TxnToken | None, now: float) -> bool:
        """Use the transaction for a route that takes each once; False: another process has the list."""
        if not permit.once or token is None or permit.once == self._used:
            return True
        uses = self._inbound.uses
        if not uses.begin():
            return False
        uses.use(permit.once, token.txn, token.exp + self._inbound.authenticator.skew_s, now)
        self._used = permit.once
        return True

    def _judge_tunnel(self, now: float) -> None:
        """Judge what was opened or is about to be: another policy may allow it less, or not at all."""
        opening = self._opening
        if opening is None or opening.permit is None or opening.finished:
            return
        try:
            opening.permit = permit = self._permit(opening, opening.token, now)
        except ProxyError as error:
            if opening.tunnel is not None:
                opening.tunnel.end(error)
            else:
                opening.fail(error)
            return
        self._bound_tunnel(opening, permit, opening.token, now)
        if opening.tunnel is not None:
            opening.tunnel.restrict(opening.tunnel_ends_at, opening.tunnel_max_bytes)

    def still_holds(self, exchange: Exchange) -> bool:
        """Judge what is about to be opened, where its turn has not come yet; and use what newer rules take once."""
        self.judge()
        exchange.account = self.account
        token, permit, now = exchange.token, exchange.permit, self.runtime.now()
        try:
            if token is not None:
                self._inbound.authenticator.recheck(token, now)
            if not self._grant.until:
                raise GrantEnded(_ENDED)
            if permit is not None and not exchange.finished and not self._use(permit, token, now):
                raise SiblingUnavailable("by other rules it is taken once, and another process has the list of uses")
        except ProxyError as error:
            exchange.fail(error)
        return not exchange.finished

    def eof_received(self) -> bool:
        """Take the end of TLS. Only one with a close_notify says that what came is the whole."""
        tunnel = self._opening.tunnel if self._opening is not None else None
        if tunnel is None or is_cut(self.transport):
            return super().eof_received()
        tunnel.finish()
        return False

    def drain(self, *, at_once: bool = False) -> None:
        """Finish what is in progress; ``at_once``: a tunnel has no more time."""
        if at_once:
            self._end_tunnel()
        super().drain(at_once=at_once)

    def end(self) -> None:
        """End what is in progress, and the connection with it."""
        self._end_tunnel()
        super().end()

    def _end_tunnel(self) -> None:
        if self._opening is not None and self._opening.tunnel is not None:
            self._opening.tunnel.end(GrantEnded(_ENDED))

    def hang_up(self) -> None:
        """Send what is buffered, then close."""
        self._tunnel = None
        self.part()

    def abort(self) -> None:
        """End the connection at once, so that nobody takes what came for the whole."""
        self._tunnel = None
        reset(self.transport)

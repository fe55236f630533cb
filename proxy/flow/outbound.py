"""From the app to the mesh: route by authority, find the transaction's token, send it to a peer that was expected."""

import asyncio
import ssl
from collections.abc import Callable

from proxy.errors import BadHost, ProxyError
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.mark import take_mark
from proxy.flow.offer import offer, trace
from proxy.flow.owner import Owner
from proxy.flow.trade import Traded, trade
from proxy.flow.transaction import Transactions
from proxy.identity.store import IdentityStore
from proxy.observe.catalog import Direction
from proxy.policy.destinations import Destination, Destinations
from proxy.policy.screen import Screen
from proxy.tokens.carry import one_token
from proxy.upstream.pool import Pool


class Outbound:
    """What the outbound listener adds: destinations, each with its pool, and the token service."""

    direction: Direction = "outbound"

    def __init__(
        self,
        store: IdentityStore,
        destinations: Destinations,
        transactions: Transactions,
        pool_of: Callable[[Destination], Pool],
        screen: Screen,
    ) -> None:
        self.store = store
        self.transactions = transactions
        self.destinations = destinations
        self.pool_of = pool_of
        self.screen = screen

    def context(self) -> ssl.SSLContext | None:
        """Give None: the app speaks plain HTTP over loopback."""
        return None

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""
        return OutboundConnection(listener, self)


class OutboundConnection(Downstream):
    """One connection of the app."""

    __slots__ = ("_outbound",)

    def __init__(self, listener: Owner[Downstream], outbound: Outbound) -> None:
        super().__init__(listener)
        self._outbound = outbound

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the app's connection."""
        identity = self._outbound.store.current
        self.account.policy = self._outbound.destinations.version
        self.account.local = str(identity.svid.spiffe_id) if identity is not None else None
        super().connection_made(transport)

    def on_request(self, exchange: Exchange) -> None:
        """Route, find the token, forward."""
        head = exchange.head
        outbound = self._outbound
        try:
            traceparent = trace(exchange)
            if not head.authority:
                raise BadHost("a request without Host has no destination")
            exchange.permit = permit = outbound.destinations.permit(head.authority)
            destination = permit.destination
            if destination is None:
                raise RuntimeError("an outbound permit names its destination")
            own = [traceparent]
            if destination.in_domain:
                raw = self._token(exchange, destination)
                if raw is None:
                    return
                if raw:
                    if outbound.screen.active:
                        outbound.screen.check(raw)
                    exchange.carried = raw
                    own.append(b"Txn-Token: " + raw)
            if outbound.transactions.passages is not None:
                head.lines, _ = take_mark(head.lines)  # wherever it goes
            exchange.offer = offer(exchange, head.authority, own)
        except ProxyError as error:
            exchange.fail(error)
            return
        self.forward(exchange, outbound.pool_of(destination))

    def still_holds(self, exchange: Exchange) -> bool:
        """Have the steps taken again, as for a request that has just come, where its destination is another by now."""
        head, permit = exchange.head, exchange.permit
        try:
            if exchange.carried:
                self._outbound.screen.check(exchange.carried)
            if exchange.account is self.account:
                return True
            exchange.account = self.account
            newest = self._outbound.destinations.permit(head.authority)
        except ProxyError as error:
            exchange.fail(error)
            return False
        if permit is not None and permit.destination == newest.destination:
            return True
        head.lines = exchange.lines
        exchange.learned, exchange.token, exchange.carried = False, None, b""
        return False

    def _token(self, exchange: Exchange, destination: Destination) -> bytes | None:
        """Give the token to send; empty for none, None while it is being asked for."""
        head = exchange.head
        ask = destination.ask
        brought = head.held.get(b"txn-token")
        own = b"" if brought is None else one_token(brought)
        if ask is None and not destination.settles:  # nearly every destination
            return own
        found: Traded = self._outbound.transactions.token(exchange, destination, own) if destination.settles else own
        if ask is not None:
            if found == b"":
                found = trade(
                    exchange, ask, self._outbound.transactions.service, self.listener.settings.held_body_bytes
                )
                if isinstance(found, bytes) and destination.narrow is not None:
                    self._outbound.transactions.hold(exchange, found, destination.narrow)
            elif isinstance(found, bytes):
                head.lines = ask.without(head.lines)
        if found is None or isinstance(found, bytes):
            return found
        self.listener.follow_up(self, exchange, found)
        return None

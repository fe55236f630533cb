"""From the app to the mesh, raw TCP: whatever connects to a port of its own is carried to one destination.

The app says nothing that could be read, and may wait for the other side to speak first; so nothing waits for its bytes.
The token is asked of the token service, CONNECT goes to the peer that was expected, and 200 joins both ends. A refusal
is a reset: an end in good order could be taken for an answer.
"""

import asyncio
import logging
import ssl
from typing import Final

from proxy.errors import DestinationUnknown, ProxyError
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.offer import trace
from proxy.flow.opening import Opening, ToMesh
from proxy.flow.owner import Owner
from proxy.flow.trade import trade
from proxy.flow.tunnel import Tunnel
from proxy.http1.message import RequestHead
from proxy.http1.write import head as write_head
from proxy.identity.store import IdentityStore
from proxy.net.cut import reset
from proxy.net.deadlines import NEVER
from proxy.observe.catalog import Direction
from proxy.policy.destinations import Destination, Destinations
from proxy.policy.screen import Screen
from proxy.tokens.tts import TokenService
from proxy.upstream.pool import Pool

_log = logging.getLogger("svidecar")

TELL_S: Final = 1.0
"""Between two lines of the log about one port: an app that tries again at once must not fill the disk."""


class RawOutbound:
    """What one port for raw TCP adds: its destination, with a pool of its own, and the token service."""

    direction: Direction = "outbound"

    def __init__(
        self,
        store: IdentityStore,
        destinations: Destinations,
        service: TokenService | None,
        pool: Pool,
        screen: Screen,
    ) -> None:
        self.store = store
        self.destinations = destinations
        self.service = service
        self.pool = pool
        self.screen = screen
        self.told_at = -NEVER

    @property
    def destination(self) -> Destination:
        """The one destination."""
        return self.destinations.all[0]

    def context(self) -> ssl.SSLContext | None:
        """Give None: the app speaks as it would to the other end itself."""
        return None

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""
        return RawOutboundConnection(listener, self)


class RawOutboundConnection(Downstream):
    """One connection of the app. What it sends before the tunnel is open waits, some of it with us."""

    __slots__ = ("_door", "_opening")

    def __init__(self, listener: Owner[Downstream], door: RawOutbound) -> None:
        super().__init__(listener)
        self._door = door
        self._opening: Opening | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the app's connection, and begin."""
        identity = self._door.store.current
        self.account.local = str(identity.svid.spiffe_id) if identity is not None else None
        self.account.policy = self._door.destinations.version
        super().connection_made(transport)
        name = self._door.destination.name.encode()
        head = RequestHead(b"CONNECT", name, name, 1, [], {})
        exchange = ToMesh(self, self.runtime, head, self.account, self._timeouts)
        self.exchange = self._opening = exchange
        self.deadline = NEVER
        self.last_used = exchange.started
        if self.listener.draining:  # its port was withdrawn after it had been accepted
            self.withdraw()
        else:
            self.on_request(exchange)

    def on_request(self, exchange: Exchange) -> None:
        """Find the token, call the peer."""
        name, door = exchange.head.target, self._door
        try:
            own = [b"Host: " + name, trace(exchange)]
            exchange.permit = permit = door.destinations.permit(name)
            ask = permit.destination.ask if permit.destination is not None else None
            if ask is not None:
                found = trade(exchange, ask, door.service, 0)
                if not isinstance(found, bytes):
                    if found is not None:
                        self.listener.follow_up(self, exchange, found)
                    return
                if door.screen.active:
                    door.screen.check(found)
                exchange.carried = found
                own.append(b"Txn-Token: " + found)
            exchange.offer = write_head(b"CONNECT " + name + b" HTTP/1.1", own)
        except ProxyError as error:
            exchange.fail(error)
            return
        exchange.pool = door.pool
        self.listener.open_upstream(self, exchange)

    def still_holds(self, exchange: Exchange) -> bool:
        """Whether the token may still go out; where the port leads elsewhere, it has been ended."""
        try:
            if exchange.carried:
                self._door.screen.check(exchange.carried)
        except ProxyError as error:
            exchange.fail(error)
        return not exchange.finished

    # ---- what it does otherwise than a connection of HTTP

    def enter(self, tunnel: Tunnel, first: bytes) -> None:
        """Become one end of the tunnel."""
        super().enter(tunnel, first)
        if self._ended:
            self._end_of_client()

    def eof_received(self) -> bool:
        """Take the end of what the app sends; it may still wait for what comes."""
        if self._farewell is not None:
            return False
        self._ended = True
        self._end_of_client()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See the app go. If it has said before that it had sent all, all of that is still delivered."""
        if self._ended and self._opening is not None and self._opening.tunnel is not None:
            self._tunnel = None
            self._opening.tunnel.finish()
        super().connection_lost(exc)

    def _end_of_client(self) -> None:
        opening = self._opening
        if opening is not None and opening.tunnel is not None:
            opening.tunnel.on_client_end()

    def withdraw(self) -> None:
        """End it, open or not: its port leads elsewhere now, or is gone."""
        error = DestinationUnknown("another configuration leads this port elsewhere, or nowhere")
        if self._opening is not None and self._opening.tunnel is not None:
            self._opening.tunnel.end(error)
        elif self._opening is not None:
            self._opening.fail(error)

    def hang_up(self) -> None:
        """Send what is buffered, and the end; then see the app go."""
        self._tunnel = None
        self.part(linger=True)

    def abort(self) -> None:
        """End it at once, so that nobody takes what came for the whole."""
        self._tunnel = None
        reset(self.transport)

    def refuse(self, exchange: Exchange, error: ProxyError) -> None:
        """Write down why, and reset: the app speaks no protocol that we could answer in."""
        if exchange.finished or self._lost:
            return
        exchange.finished = True
        now = self.runtime.clock()
        if now - self._door.told_at >= TELL_S:
            self._door.told_at = now
            _log.warning("no tunnel to %s: %s", self._door.destination.name, error.detail or error.reason)
        if not exchange.offer:
            exchange.own_s += now - exchange.started - exchange.away_s
        exchange.account.fail(exchange, error, now)
        self.exchange = None
        reset(self.transport)

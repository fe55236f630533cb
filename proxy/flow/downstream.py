"""A connection from someone who asks: reads requests one after the other, answers them in order.

What is done with a request is told by ``on_request`` of the two subclasses; everything here is the same for both
directions: pipelining, early answers, back-pressure, deadlines, and ending without losing the last answer.

A connection is in one of four states: between messages, in an exchange, in a tunnel, or lingering (an answer with
``Connection: close`` is out; what still comes is read and dropped, so that a reset does not eat the answer).
"""

import asyncio
from typing import Final

from proxy.errors import BadMessage, BodyTimeout, ClientClosed, HeadTimeout, ProxyError, Side
from proxy.flow.account import Account
from proxy.flow.body_pace import BodyPace
from proxy.flow.exchange import Client, Exchange
from proxy.flow.farewell import Farewell
from proxy.flow.owner import Owner
from proxy.flow.rescue import RESCUES, rescue
from proxy.flow.tunnel import Tunnel
from proxy.http1.decoder import RequestDecoder
from proxy.http1.message import EndOfMessage, RequestEvent, RequestHead
from proxy.net.cut import cut, reset
from proxy.net.deadlines import NEVER
from proxy.net.resume import resume_reading
from proxy.upstream.connection import WRITE_BUFFER_BYTES
from proxy.upstream.pool import Pool

READ_AHEAD_BYTES: Final = 65536
"""What may wait undecoded behind a request in progress: one head's worth; then the sender is told to stop."""


class Downstream(Client):
    """See the module. An ``asyncio.Protocol`` by shape, not by base class, so that it can be compiled.

    ``deadline`` is seconds on the loop's clock.
    """

    __slots__ = (
        "_body_pace",
        "_decoder",
        "_ended",
        "_farewell",
        "_in_head",
        "_leaving",
        "_lost",
        "_paused",
        "_pumping",
        "_timeouts",
        "_tunnel",
        "_writable",
        "account",
        "deadline",
        "exchange",
        "last_used",
        "listener",
        "runtime",
        "transport",
        "tunnelled",
    )

    transport: asyncio.Transport

    def __init__(self, listener: Owner["Downstream"]) -> None:
        self.listener = listener
        self.runtime = listener.runtime
        self._timeouts = listener.settings.timeouts
        self._decoder = RequestDecoder(listener.settings.limits)
        self.exchange: Exchange | None = None
        self.last_used = 0.0
        self.deadline = NEVER
        self.account = Account(listener.runtime, listener.direction, None, None)
        self._body_pace: BodyPace | None = None
        self._tunnel: Tunnel | None = None
        self.tunnelled: Exchange | None = None  # what the tunnel began with
        self._in_head = False  # its deadline runs
        self._ended = False  # the caller has sent its last byte; what it had sent before is answered
        self._farewell: Farewell | None = None
        self._leaving = False  # no request after the one in progress
        self._lost = False
        self._paused = False
        self._pumping = False
        self._writable = True

    def on_request(self, exchange: Exchange) -> None:
        """Take the steps of this direction, in order. Called again after a miss was followed up."""
        raise NotImplementedError  # pragma: no cover - the two directions have it

    def again(self, exchange: Exchange) -> None:
        """Take them again; the rules may have changed meanwhile."""
        if exchange.account is not self.account:  # what these miss, and want to see, is not known yet
            exchange.account, exchange.learned, exchange.shown = self.account, False, None
        self.on_request(exchange)

    # ---- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; for TLS, after the handshake."""
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.deadline = self.runtime.clock() + self._timeouts.idle_s
        self._leaving = self.listener.draining
        self.listener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._tunnel is not None:
            self._tunnel.to_upstream(data)
        elif self._farewell is not None:
            self._farewell.drop(data)
        else:
            self._decoder.receive(data)
            if not self._pumping:
                self._pump()

    def eof_received(self) -> bool:
        """Take the end of the requests. A plain connection stays open for the answer; TLS has no half-close here."""
        if self._tunnel is not None:
            self._tunnel.close()
            return False
        exchange = self.exchange
        if self._farewell is not None or exchange is None or not exchange.request_done:
            return False
        if self._decoder.buffered_bytes:
            self._ended = True
        else:
            exchange.keep = False
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        """Tell the exchange."""
        self._lost = True
        self.deadline = NEVER
        exchange, self.exchange = self.exchange, None
        tunnel, self._tunnel = self._tunnel, None
        self.listener.closed(self)
        if tunnel is not None:
            tunnel.close()
        elif exchange is not None:
            exchange.client_lost(ClientClosed("the caller went away before the answer was whole"))

    def pause_writing(self) -> None:
        """The caller reads too slowly."""
        self._writable = False
        if self._tunnel is not None:
            self._tunnel.on_client_writable(writable=False)
        elif self._farewell is None:
            self.deadline = self.runtime.clock() + self._timeouts.stream_idle_s
            if self.exchange is not None:
                self.exchange.on_client_writable(writable=False)

    def resume_writing(self) -> None:
        """The caller has read on."""
        self._writable = True
        if self._tunnel is not None:
            self._tunnel.on_client_writable(writable=True)
        elif self.exchange is not None:
            self.deadline = NEVER
            self.exchange.on_client_writable(writable=True)
        else:
            self.resume()

    def on_deadline(self) -> None:
        """Something did not come in time; what it was depends on the state."""
        self.deadline = NEVER
        exchange = self.exchange
        if self._farewell is not None:
            self.deadline = self._farewell.look()
        elif not self._writable:
            self.abort()
        elif exchange is not None and not exchange.request_done:
            exchange.fail(BodyTimeout("the request body did not come in time, or too slowly"))
        elif exchange is None and self._decoder.in_head:
            self._refuse_message(HeadTimeout("the request head did not come in time"))
        else:
            self.part()

    # ---- reading requests

    def _pump(self) -> None:
        """Take events from the decoder until it needs bytes, or the answer must come first."""
        self._pumping = True
        try:
            while not (self._farewell is not None or self._lost or self._tunnel is not None):
                exchange = self.exchange
                if (exchange.request_done or not exchange.takes_body) if exchange is not None else not self._writable:
                    self._hold_back()  # the answer must come first, or be read
                    return
                event = self._decoder.next_event()
                if event is None:
                    self._wait(exchange)
                    return
                if exchange is None:
                    self._begin(event)  # type: ignore[arg-type]  # the decoder begins every message with its head
                else:
                    self._take_body(exchange, event)
        except BadMessage as error:
            self._refuse_message(error)
        finally:
            self._pumping = False

    def _take_body(self, exchange: Exchange, event: RequestEvent) -> None:
        if type(event) is bytes:
            exchange.body(event)
        else:
            if self._writable:
                self.deadline = NEVER
            exchange.body_end(event)  # type: ignore[arg-type]  # no head comes before the end of a body
            exchange.flush()

    def _begin(self, head: RequestHead) -> None:
        exchange = Exchange(self, self.runtime, head, self.account, self.runtime.clock())
        self.exchange = exchange
        self.deadline = NEVER
        self._in_head = False
        self.last_used = exchange.started
        if self._leaving:
            exchange.keep = False
        self.on_request(exchange)

    def _wait(self, exchange: Exchange | None) -> None:
        """Set the deadline for what must come next."""
        if self._ended:  # no more will come: at best this is between two messages
            self.abort() if exchange is not None else self.part()
        elif exchange is not None:
            exchange.flush()
            if not self._paused:  # else it is the upstream that must take bytes first
                self._wait_for_body(exchange, anew=False)
        elif not self._decoder.in_head:
            self._in_head = False
            self.deadline = self.runtime.clock() + self._timeouts.idle_s
        elif not self._in_head:
            self._in_head = True
            self.deadline = self.runtime.clock() + self._timeouts.head_s  # once: bytes that drip do not move it

    def _wait_for_body(self, exchange: Exchange, *, anew: bool) -> None:
        now, pace = self.runtime.clock(), self._body_pace
        if anew or pace is None or pace.body is not exchange:
            pace = BodyPace(exchange, now, self._timeouts.body_s, self.listener.settings.min_body_rate)
            self._body_pace = pace
        self.deadline = pace.deadline(now)

    def _hold_back(self) -> None:
        if not self._paused and self._decoder.buffered_bytes > READ_AHEAD_BYTES:
            self.pace(reading=False)

    def resume(self) -> None:
        """The exchange takes its body now (a token or a connection has come)."""
        if self._paused:
            self.pace(reading=True)
        if not self._pumping:
            self._pump()

    def _refuse_message(self, error: ProxyError) -> None:
        """Answer what is not HTTP, or came too late: nothing behind it can be trusted to be in step."""
        exchange = self.exchange
        if exchange is not None:
            exchange.keep = False
            exchange.fail(error)
            return
        self.account.refuse(error)
        self.write(rescue(error, b"", close=True))
        self.part(linger=True)

    # ---- what an exchange asks of its client

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""
        if not self._lost:
            self.transport.write(data)

    def abort(self) -> None:
        """End the connection at once. In HTTP/1.0 a mere end would be that of a whole answer."""
        if self.exchange is not None and self.exchange.head.version == 0:
            reset(self.transport)
        else:
            cut(self.transport)

    def hang_up(self) -> None:
        """Send what is buffered, then close."""
        self._tunnel = None
        self.part()

    def pace(self, *, reading: bool) -> None:
        """Read on, or stop."""
        if self._paused is reading and not self._lost:
            self._paused = not reading
            if reading:
                resume_reading(self.transport)
                if self.exchange is not None and not self.exchange.request_done:
                    self._wait_for_body(self.exchange, anew=True)
            else:
                self.transport.pause_reading()
                if self._writable:  # else it is the caller who must move, in its time
                    self.deadline = NEVER

    def refuse(self, exchange: Exchange, error: ProxyError) -> None:
        """Answer with an error, then end the exchange."""
        if exchange.finished or self._lost:
            return
        row = RESCUES[error.reason]
        if not exchange.request_done and not row.close:
            self._drop_body(exchange)
        keep = exchange.keep and exchange.request_done and not row.close and not self._leaving
        now = self.runtime.clock()
        exchange.finished, exchange.status = True, row.status
        if exchange.upstream is None and not exchange.offer:
            exchange.own_s += now - exchange.started - exchange.away_s
        tell = self.listener.direction == "outbound" or error.side is Side.DOWNSTREAM  # a peer need not know our app
        self.write(rescue(error, exchange.head.method, close=not keep, tell=tell))
        exchange.account.fail(exchange, error, now)
        self.ended(exchange, now, keep=keep)

    def _drop_body(self, exchange: Exchange) -> None:
        """Read past the body of a refused request as far as it has come, to keep the connection where that is all."""
        try:
            while (event := self._decoder.next_event()) is not None:
                if type(event) is EndOfMessage:
                    exchange.request_done = True
                    return
        except BadMessage:
            return

    def ended(self, exchange: Exchange, now: float, *, keep: bool) -> None:
        """The answer is out: take the next request, or end."""
        if self.exchange is exchange:
            self.exchange = None
        if self._lost:
            return
        if not keep:
            self.part(linger=not exchange.request_done or self._decoder.buffered_bytes > 0)
            return
        if self._paused:
            self.pace(reading=True)
        if self._pumping:
            return
        if self._decoder.buffered_bytes:
            self._pump()
        elif self._ended:
            self.part()
        else:
            self.deadline = now + self._timeouts.idle_s

    def part(self, *, linger: bool = False) -> None:
        """Take nothing more, and end when the last answer has left us; ``linger`` where the caller may still send."""
        if self._lost or self._farewell is not None:
            return
        self._farewell = farewell = Farewell(self.transport, self.runtime.clock, self._timeouts)
        self.deadline = farewell.linger() if linger else farewell.look()
        if linger and self._paused:
            self._paused = False
            resume_reading(self.transport)

    def forward(self, exchange: Exchange, pool: Pool) -> None:
        """Send the request over an idle connection of ``pool``, or open one first."""
        exchange.pool = pool
        upstream = pool.lend(exchange.started)
        if upstream is None:
            self.listener.open_upstream(self, exchange)
        else:
            exchange.begin(upstream, self._timeouts.first_byte_s, self._timeouts.stream_idle_s)

    def reopen(self, exchange: Exchange) -> None:
        """Send the request again: the connection that was lent had died."""
        self.listener.open_upstream(self, exchange)

    def still_holds(self, exchange: Exchange) -> bool:  # noqa: ARG002 - the two directions ask what is theirs
        """Whether what was decided holds, now that a connection is open. If not, it has failed or is to come again."""
        return True

    def enter(self, tunnel: Tunnel, first: bytes) -> None:
        """Become one end of a tunnel."""
        self._tunnel = tunnel
        self.tunnelled, self.exchange = self.exchange, None
        if self._paused:
            self.pace(reading=True)
        self.deadline = NEVER
        self.write(first)
        tunnel.open(self)

    def release(self) -> bytes:
        """Give up what came after the request."""
        return self._decoder.release()

    def drain(self, *, at_once: bool = False) -> None:
        """Finish what is in progress, and take nothing new; ``at_once`` ends a tunnel, and a head that is not whole."""
        self._leaving = True
        if self._tunnel is not None:
            if at_once:
                self._tunnel.close()  # else it ends with the grace
        elif self.exchange is not None:
            self.exchange.keep = False
        elif at_once or not self._decoder.in_head:
            self.part()

    @property
    def is_busy(self) -> bool:
        """Whether something would be cut if the connection ended now."""
        unfinished = self._farewell.is_sending if self._farewell is not None else self._decoder.in_head
        return unfinished or self.exchange is not None or self._tunnel is not None

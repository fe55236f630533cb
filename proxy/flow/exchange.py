"""One request and its answer on their way between two connections. It moves bytes and decides nothing.

Life: a connection makes it with a head; the steps put in token and permit; ``begin`` sends the head that they agreed
on; body and answer are pumped, each as fast as the slower side takes it; ``_finish`` or ``fail`` ends it once.

Our own time is what passed before the head went out, and what the callbacks of the answer took: the rest was waiting.
"""

from typing import Final

from proxy.errors import BytesSpent, ProxyError, UpstreamReset
from proxy.flow.account import Account, Facts
from proxy.flow.answer import answer_head
from proxy.flow.hold import CONTINUE, Hold
from proxy.flow.meter import SPENT, Meter
from proxy.flow.runtime import Runtime
from proxy.flow.tunnel import Tunnel
from proxy.http1.framing import may_be_followed
from proxy.http1.message import CHUNKED, UNTIL_CLOSE, EndOfMessage, RequestHead, ResponseHead
from proxy.http1.write import chunk, last_chunk
from proxy.http1.write import head as write_head
from proxy.net.cut import cut
from proxy.net.deadlines import NEVER
from proxy.net.resume import resume_reading
from proxy.tokens.facts import Facts as Shown
from proxy.upstream.connection import Upstream
from proxy.upstream.pool import Pool

REPLAYABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""The idempotent methods (RFC 9110 section 9.2.2) that we forward: only they may be sent twice."""


class Client:
    """The downstream connection, as its exchange sees it. A base class, which compiled code calls directly."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""
        raise NotImplementedError  # pragma: no cover

    def abort(self) -> None:
        """End the connection at once: the answer cannot be completed."""
        raise NotImplementedError  # pragma: no cover

    def pace(self, *, reading: bool) -> None:
        """Read on, or stop: the upstream's buffer is full."""
        raise NotImplementedError  # pragma: no cover

    def refuse(self, exchange: "Exchange", error: ProxyError) -> None:
        """Answer with an error, then end the exchange."""
        raise NotImplementedError  # pragma: no cover

    def ended(self, exchange: "Exchange", now: float, *, keep: bool) -> None:
        """The answer is whole."""
        raise NotImplementedError  # pragma: no cover

    def reopen(self, exchange: "Exchange") -> None:
        """Send the request again over a new connection."""
        raise NotImplementedError  # pragma: no cover

    def enter(self, tunnel: Tunnel, first: bytes) -> None:
        """The connection is a tunnel now; ``first`` goes to this side."""
        raise NotImplementedError  # pragma: no cover

    def again(self, exchange: "Exchange") -> None:
        """Take the steps again, by the newest rules: what was waited for is here."""
        raise NotImplementedError  # pragma: no cover

    def release(self) -> bytes:
        """Give up the bytes that came after the request."""
        raise NotImplementedError  # pragma: no cover


class Exchange(Facts):
    """See the module. Times are seconds on the runtime's clock."""

    # Defaults stand on the class, as those of its facts.
    away_s = 0.0  # off the hot path: waiting for a key, a token, a connection; not our own time
    learned = False  # a miss (an unknown key, no token yet) was already followed up
    hold: Hold | None = None  # where the body is read before it is forwarded
    shown: Shown | None = None  # to the Grant, where a route has terms
    offer = b""  # the head as it goes upstream
    pool: Pool | None = None
    upstream: Upstream | None = None
    tunnel_ends_at = NEVER
    meter: Meter | None = None  # where the connection may carry so many bytes
    first_byte_s = NEVER
    answer_done = False
    consented = b""  # to this, as the authoriser outside was asked
    replayed = False
    finished = False
    _stream_idle_s = NEVER
    _chunk_answer = False
    _upstream_paused = False

    def __init__(self, client: Client, runtime: Runtime, head: RequestHead, account: Account, started: float) -> None:
        super().__init__(head, started)
        self._client = client
        self.runtime = runtime
        self.account = account
        self.request_done = head.length == 0
        self.keep = head.keep_alive
        self.lines = head.lines  # as they came: the steps put others in their place
        self._out: list[bytes] = []

    # ---- towards the upstream

    def begin(self, upstream: Upstream, first_byte_s: float, stream_idle_s: float) -> None:
        """Send the head; the body follows through ``body`` and ``flush``."""
        self.upstream = upstream
        self.first_byte_s = first_byte_s
        self._stream_idle_s = stream_idle_s
        now = self.runtime.clock()
        if self.request_done:
            upstream.deadline = now + first_byte_s
            pieces, self._out = self._out, []
            upstream.send(b"".join([self.offer, *pieces]) if pieces else self.offer, self.head.method, self)
        else:
            upstream.deadline = now + stream_idle_s
            self._out.append(self.offer)
            upstream.lend_to(self, self.head.method)
        if not self.replayed:
            self.own_s += now - self.started - self.away_s

    def body(self, data: bytes) -> None:
        """Take a piece of the request body."""
        if self.meter is not None and not self.meter.takes(len(data)):
            self.fail(BytesSpent(SPENT))
            return
        self.request_bytes += len(data)
        self._out.append(chunk(data) if self.head.length is CHUNKED else data)
        if self.hold is not None and (error := self.hold.take(data)) is not None:
            self.fail(error)

    def body_end(self, end: EndOfMessage) -> None:
        """Take the end of the request body."""
        self.request_done = True
        if self.head.length is CHUNKED:
            self._out.append(last_chunk(() if self.hold or self.shown else end.trailers))  # nothing after the facts
        if self.hold is not None:
            self.hold.end(self.runtime.clock(), trailers=bool(end.trailers))
            self.away_s += self.hold.waited_s

    def wait_for_body(self, limit_bytes: int) -> None:
        """Read the whole body before it is forwarded; then the steps are taken again. Raises BodyTooLarge."""
        self.hold = Hold(self.head.length, limit_bytes, self.runtime.clock())
        if self.hold.pending and self.head.held.pop(b"expect", None) is not None:
            self._client.write(CONTINUE)

    def flush(self) -> None:
        """Send what ``begin`` and ``body`` have collected, in one write."""
        upstream = self.upstream
        if upstream is None or not self._out:
            if self.hold is not None and not self.finished and self.hold.has_come():
                self._client.again(self)
            return
        pieces, self._out = self._out, []
        upstream.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if not self._upstream_paused:
            patience = self.first_byte_s if self.request_done and not self.answered else self._stream_idle_s
            upstream.deadline = self.runtime.clock() + patience

    @property
    def takes_body(self) -> bool:
        """Whether the request body may be read on."""
        return not self.request_done and (self.upstream is not None or self.hold is not None) and not self.finished

    # ---- the answer

    def on_answer(self) -> None:
        """Pump what the decoder has."""
        entered = self.runtime.clock()
        upstream = self.upstream
        if upstream is None:
            return
        pieces: list[bytes] = []
        try:
            self._collect(upstream, pieces)
        except ProxyError as error:
            if pieces:
                self._client.write(b"".join(pieces))
            self.fail(error)
            return
        if pieces:
            self._client.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        now = self.runtime.clock()
        self.own_s += now - entered
        if self.answer_done:
            self._finish(now)
        elif self.upstream is upstream:
            patience_s = self.first_byte_s if self.request_done and not self.answered else self._stream_idle_s
            upstream.deadline = NEVER if self._upstream_paused else now + patience_s

    def _collect(self, upstream: Upstream, pieces: list[bytes]) -> None:
        decoder = upstream.decoder
        while not self.answer_done:
            event = decoder.next_event()
            if event is None:
                return
            if type(event) is bytes:
                data = event if self.meter is None else self.meter.part(event)
                self.response_bytes += len(data)
                pieces.append(chunk(data) if self._chunk_answer else data)
                if data is not event:
                    raise BytesSpent(SPENT)
                if decoder.wants_more:
                    return
            elif type(event) is ResponseHead:
                if not self._answer_head(upstream, event, pieces):
                    return
                if event.length and (body := decoder.whole_body()) is not None:
                    if self.meter is not None:
                        self.meter.part(body)  # which fits: its head was held to what is left
                    self.response_bytes += len(body)
                    pieces.append(body)
                    self.answer_done = True
            else:
                self._answer_end(event, pieces)  # type: ignore[arg-type]  # all else was told apart above

    def _answer_head(self, upstream: Upstream, answer: ResponseHead, pieces: list[bytes]) -> bool:
        """Write the head of an answer; False when the connection became a tunnel."""
        if answer.status < 200:
            return self._interim(upstream, answer, pieces)
        if not self.request_done:
            self.keep = False
        if self.meter is not None and answer.length != 0:
            self.meter.expect(answer.length)
            if answer.length == self.meter.left:
                self.keep = False
        if not answer.keep_alive or (answer.length == 0 and not upstream.peer and may_be_followed(answer, self.head)):
            upstream.uses = -1  # not to be lent again
        self.answered = True
        self.status = answer.status
        length = answer.length
        if length == 0:
            self.answer_done = True
        elif length and length > 0 and self.keep:  # nearly every answer
            if answer.plain is None:
                answer.plain = answer_head(answer, self.head, keep=True)
            pieces.append(answer.plain)
            return True
        elif length is CHUNKED or length == UNTIL_CLOSE:
            self._chunk_answer = self.head.version == 1
            self.keep = self.keep and self._chunk_answer
        pieces.append(answer_head(answer, self.head, keep=self.keep))
        return True

    def _interim(self, upstream: Upstream, answer: ResponseHead, pieces: list[bytes]) -> bool:
        if answer.status == 101:
            self._switch(upstream, answer, pieces)
            return False
        self.replayed = True  # it has begun to answer: not to be sent again
        if self.head.version == 1:  # never to HTTP/1.0 (RFC 9110 section 15.2)
            pieces.append(write_head(answer.first_line, answer.lines))
        return True

    def _answer_end(self, end: EndOfMessage, pieces: list[bytes]) -> None:
        self.answer_done = True
        if self._chunk_answer:
            wanted = any(b"trailers" in value.lower() for value in self.head.held.get(b"te", ()))
            pieces.append(last_chunk(end.trailers if wanted else ()))

    def on_answer_end(self) -> None:
        """The upstream sends no more: the end of an answer, or too early."""
        upstream = self.upstream
        if upstream is None or self.finished:
            return
        pieces: list[bytes] = []
        try:
            end = upstream.decoder.receive_eof()
        except ProxyError:
            return  # connection_lost follows, and knows whether a replay may mend it
        if end is not None and self.answered and not self.answer_done:
            upstream.uses = -1  # not to be lent again
            self._answer_end(end, pieces)
            if pieces:
                self._client.write(b"".join(pieces))
            self._finish(self.runtime.clock())

    def _finish(self, now: float) -> None:
        self.finished = True
        if self.meter is not None and not self.meter.left:
            self.keep = False
        upstream, self.upstream = self.upstream, None
        if upstream is not None and self.pool is not None:
            if self._upstream_paused:
                resume_reading(upstream.transport)
            if self.request_done and upstream.uses >= 0 and not self._unsent(upstream):
                self.pool.take_back(upstream, now)
            else:
                self.pool.discard(upstream)
        self.account.close(self, now)
        self._client.ended(self, now, keep=self.keep)

    def _unsent(self, upstream: Upstream) -> bool:
        """Whether the other side has answered before it took the whole body: it may never take it."""
        return self.head.length != 0 and upstream.transport.get_write_buffer_size() > 0

    # ---- what goes wrong

    def fail(self, error: ProxyError) -> None:
        """End the exchange: with an answer if none has begun, else cut short, so that nobody takes it as whole."""
        if self.finished:
            return
        self._drop_upstream()
        if self.answered:
            self.finished = True
            self.account.fail(self, error, self.runtime.clock())
            self._client.abort()
        else:
            self._client.refuse(self, error)

    def on_upstream_lost(self, error: ProxyError) -> None:
        """The upstream is gone: send again where that is safe, else fail."""
        upstream, self.upstream = self.upstream, None
        if self.finished or upstream is None:
            return
        reused = upstream.uses > 1
        if (
            reused
            and not self.replayed
            and not self.answered
            and self.head.length == 0
            and self.head.method in REPLAYABLE
            and type(error) is UpstreamReset
            and upstream.decoder.buffered_bytes == 0
        ):
            self.replayed = True
            self._client.reopen(self)
            return
        if not reused and not self.answered and type(error) is UpstreamReset:
            error = UpstreamReset("the upstream ended the connection without an answer: its policy may not admit us")
        self.fail(error)

    def client_lost(self, error: ProxyError) -> None:
        """The one who asked is gone: what the upstream still sends has nowhere to go."""
        if self.finished:
            return
        self.finished = True
        self._drop_upstream()
        self.account.fail(self, error, self.runtime.clock())

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.listener = None
            upstream.deadline = NEVER
            cut(upstream.transport)

    # ---- back-pressure

    def on_upstream_writable(self, *, writable: bool) -> None:
        """The upstream's buffer is full, or has room again."""
        if not self.request_done:
            self._client.pace(reading=writable)

    def on_client_writable(self, *, writable: bool) -> None:
        """The client's buffer is full, or has room again: the upstream waits with it."""
        upstream = self.upstream
        if upstream is None or self._upstream_paused is not writable:
            return
        self._upstream_paused = not writable
        if writable:
            resume_reading(upstream.transport)
            upstream.deadline = self.runtime.clock() + self._stream_idle_s
        else:
            upstream.transport.pause_reading()
            upstream.deadline = NEVER  # the client's own deadline watches now

    # ---- websocket

    def _switch(self, upstream: Upstream, answer: ResponseHead, pieces: list[bytes]) -> None:
        """Become a tunnel (RFC 9110 section 7.8): only if we offered the protocol and the upstream took that one."""
        offered = self.head.held.get(b"upgrade")
        taken = [value.lower() for value in answer.held.get(b"upgrade", ())]
        if not offered or taken != [b"websocket"] or not self.request_done:
            raise UpstreamReset("the upstream switched to a protocol that was not offered")
        lines = [*answer.lines, b"Connection: Upgrade", b"Upgrade: websocket"]
        self.status = 101
        self.answered = True
        self.upstream = None
        ends_at = min(self.tunnel_ends_at, upstream.ends_at)
        limit = self.tunnel_max_bytes if self.meter is None else self.meter.lower(self.tunnel_max_bytes)
        tunnel = Tunnel(self.runtime, upstream, self._tunnel_ended, self._stream_idle_s, ends_at, limit)
        first = [*pieces, write_head(answer.first_line, lines), upstream.decoder.release()]
        pieces.clear()
        self._client.enter(tunnel, b"".join(first))
        tunnel.to_upstream(self._client.release())

    def _tunnel_ended(self, upstream_bytes: int, client_bytes: int, failure: ProxyError | None) -> None:
        self.finished = True
        self.upstream = None
        self.request_bytes += client_bytes
        self.response_bytes += upstream_bytes
        if failure is None:
            self.account.close(self, self.runtime.clock())
        else:
            self.account.fail(self, failure, self.runtime.clock())

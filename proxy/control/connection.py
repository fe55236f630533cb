"""One connection of a control server: requests come whole and in order, one at a time, each before its deadline.

How it moves: *reading* until a request is whole, *serving* while its handler runs (what is pipelined waits), then
reading again; *ending* once the last answer is written, when whatever still comes is thrown away for a moment so that
a reset does not eat the answer.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from proxy.control.message import Request, Response, problem, written
from proxy.errors import BadMessage, BodyTimeout, ConnectionRefusal, HeadTimeout
from proxy.http1.decoder import RequestDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead
from proxy.identity.peer import Peer
from proxy.net.deadlines import NEVER, Deadlines
from proxy.net.resume import resume_reading
from proxy.net.tasks import Tasks
from proxy.tls.handshake import verified_chain

Handler = Callable[[Request], Awaitable[Response]]
"""Answers one request. It is cancelled when its connection ends; what must outlive that is the handler's own task."""

READ_AHEAD_BYTES = 65536
"""Pipelined bytes that wait in memory while a handler runs; more wait in the kernel."""

_STATUSES = {
    "bad_version": 505,
    "head_too_large": 431,
    "too_many_fields": 431,
    "target_too_long": 414,
    "head_timeout": 408,
    "body_timeout": 408,
    "method_refused": 501,
    "coding_unknown": 501,
    "expectation_unknown": 417,
}
"""The status of each refusal of the codec that is not 400; the same as in ``flow.rescue``, which stands above us."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """Bytes, counts and seconds of one server."""

    max_body_bytes: int = 65536  # a token request with its context is a few KiB
    max_connections: int = 256  # scrapers, probes, a person, the workloads of a small site
    head_s: float = 10.0  # from the first byte of a head to its last
    body_s: float = 10.0  # from the head to the end of the body
    answer_s: float = 60.0  # of a handler: more than any drain takes; then it is a fault, and must not hold its place
    idle_s: float = 30.0  # between two requests; also: until a written answer begins to be read
    linger_s: float = 1.0  # reading on after the last answer
    handshake_s: float = 5.0  # as the data plane
    heads: Limits = field(default_factory=Limits)


class _State(Enum):
    READING = "reading"
    SERVING = "serving"
    ENDING = "ending"


@dataclass(slots=True, kw_only=True, eq=False)
class Serving:
    """What all connections of one server share."""

    name: str
    handler: Handler
    identify: Callable[[list[bytes]], Peer] | None
    limits: ControlLimits
    deadlines: Deadlines
    loop: asyncio.AbstractEventLoop
    tasks: Tasks
    connections: dict["Connection", None] = field(default_factory=dict)  # in the order in which they came
    on_lost: Callable[[], None] = lambda: None


class Connection(asyncio.Protocol):
    """The protocol; see the module. With ``identify``, the peer must be valid again at each request."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._decoder = RequestDecoder(serving.limits.heads)
        self._state = _State.READING
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_head = False
        self._choked = False
        self._eof = False
        self._chain: list[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self.deadline = NEVER

    @property
    def is_reading(self) -> bool:
        """Whether a request is wanted, or has begun to come."""
        return self._state is _State.READING

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request of which nothing has come."""
        return self._state is _State.READING and self._head is None and not self._in_head and not self._choked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; where an identity is demanded, the chain that TLS has verified must prove one."""
        self._transport = cast("asyncio.Transport", transport)
        serving = self._serving
        serving.connections[self] = None
        serving.deadlines.watch(self)
        self._wait(serving.limits.idle_s)
        if serving.identify is None:
            return
        try:
            self._chain = verified_chain(transport)
            serving.identify(self._chain)
        except ConnectionRefusal as refusal:
            self._turn_away(refusal)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._state is _State.ENDING:
            return
        self._decoder.receive(data)
        if self._state is _State.READING and not self._choked:
            self._read()
        elif self._decoder.buffered_bytes > READ_AHEAD_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Take the end of what the caller sends: what it asked for before is answered, unless TLS ends both ways."""
        self._eof = True
        tls = self._transport.get_extra_info("sslcontext") is not None
        return not tls and (self._state is _State.SERVING or self._choked)

    def pause_writing(self) -> None:
        """Take that the caller does not read its answer: nothing more is done for it until it does."""
        self._choked = True

    def resume_writing(self) -> None:
        """Take that it reads again."""
        self._choked = False
        if self._state is _State.READING:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason changes nothing
        """End, and the handler with us."""
        self._state = _State.ENDING
        self._serving.deadlines.forget(self)
        self._serving.connections.pop(self, None)
        if self._task is not None:
            self._task.cancel()
        self._serving.on_lost()

    def on_deadline(self) -> None:
        """Tell a slow caller what was too slow; end a silent one."""
        if self._state is _State.ENDING or self._choked:
            self._transport.abort()
        elif self._state is _State.SERVING:
            _log.error("%s: a handler did not answer in %g s", self._serving.name, self._serving.limits.answer_s)
            self.abort()
        elif self._head is not None:
            self._refuse(BodyTimeout(f"the body did not come in {self._serving.limits.body_s:g} s"))
        elif self._in_head:
            self._refuse(HeadTimeout(f"the head did not come in {self._serving.limits.head_s:g} s"))
        else:
            self.end()

    def end(self) -> None:
        """End after what is written has gone out."""
        self._state = _State.ENDING
        self._wait_for_end()
        self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._state = _State.ENDING
        self._transport.abort()

    def _wait(self, seconds: float) -> None:
        self.deadline = self._serving.loop.time() + seconds

    def _wait_for_end(self) -> None:
        unread = self._transport.get_write_buffer_size() > 0
        self._wait(self._serving.limits.idle_s if unread else self._serving.limits.linger_s)

    def _read(self) -> None:
        try:
            while (event := self._decoder.next_event()) is not None:
                if isinstance(event, RequestHead):
                    self._head, self._in_head = event, False
                    if event.length == 0:
                        return self._serve(event)
                    if not self._may_send_body(event):
                        return None
                elif isinstance(event, bytes):
                    if not self._keep(event):
                        return None
                elif self._head is not None:
                    return self._serve(self._head)
        except BadMessage as error:
            return self._refuse(error)
        return self._need_more()

    def _may_send_body(self, head: RequestHead) -> bool:
        if head.length is not None and head.length > self._serving.limits.max_body_bytes:
            self._too_large()
            return False
        if b"expect" in head.held:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._wait(self._serving.limits.body_s)
        return True

    def _keep(self, data: bytes) -> bool:
        self._body_bytes += len(data)
        if self._body_bytes > self._serving.limits.max_body_bytes:
            self._too_large()
            return False
        self._body.append(data)
        return True

    def _need_more(self) -> None:
        if self._eof:
            return self.end()
        if self._head is None and self._decoder.in_head is not self._in_head:
            self._in_head = self._decoder.in_head  # an empty line before a request looks like a head until it is whole
            self._wait(self._serving.limits.head_s if self._in_head else self._serving.limits.idle_s)
        return None

    def _serve(self, head: RequestHead) -> None:
        serving = self._serving
        peer: Peer | None = None
        if serving.identify is not None and self._chain is not None:
            try:
                peer = serving.identify(self._chain)  # again: an SVID ends, a bundle is taken back
            except ConnectionRefusal as refusal:
                return self._turn_away(refusal)
        request = _request(head, b"".join(self._body), peer)
        self._head, self._body, self._body_bytes = None, [], 0
        self._state = _State.SERVING
        self._wait(serving.limits.answer_s)
        try:
            self._task = serving.tasks.spawn(self._answer(request, head), f"{serving.name} request")
        except RuntimeError:  # our owner has ended
            self.abort()
        return None

    async def _answer(self, request: Request, head: RequestHead) -> None:
        head_only, close = head.method == b"HEAD", not head.keep_alive
        try:
            response = await self._serving.handler(request)
            data = written(response, time.time(), head_only=head_only, close=close)
        except Exception:  # noqa: BLE001 - a handler's fault must not end the server
            _log.exception("%s: a handler failed", self._serving.name)
            close = True
            data = written(problem(500, "a fault of ours"), time.time(), head_only=head_only, close=True)
        self._task = None
        if self._state is _State.ENDING:
            return
        self._state = _State.READING
        self._transport.write(data)
        if close:
            self._last()
        else:
            self._next()

    def _next(self) -> None:
        self._wait(self._serving.limits.idle_s)
        if not self._choked:
            resume_reading(self._transport)
            self._read()

    def _too_large(self) -> None:
        limit = self._serving.limits.max_body_bytes
        self._say_last(problem(413, f"the body is larger than {limit} bytes"))

    def _refuse(self, error: BadMessage) -> None:
        self._say_last(problem(_STATUSES.get(error.reason, 400), error.detail, reason=error.reason))

    def _say_last(self, response: Response) -> None:
        head_only = self._head is not None and self._head.method == b"HEAD"
        self._transport.write(written(response, time.time(), head_only=head_only, close=True))
        self._last()

    def _last(self) -> None:
        """End, reading on for a moment: a reset would eat the answer (RFC 9112 section 9.6)."""
        if self._eof or not self._transport.can_write_eof():
            return self.end()
        self._state = _State.ENDING
        self._wait_for_end()
        resume_reading(self._transport)
        self._transport.write_eof()
        return None

    def _turn_away(self, refusal: ConnectionRefusal) -> None:
        _log.info("%s: refused a connection: %s (%s)", self._serving.name, refusal.reason, refusal.detail)
        self.abort()


def _request(head: RequestHead, body: bytes, peer: Peer | None) -> Request:
    fields: dict[str, str] = {"host": head.authority.decode("ascii")}
    for line in head.lines:
        raw_name, _, raw_value = line.partition(b": ")
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    path, _, query = head.target.decode("ascii").partition("?")
    method = "GET" if head.method == b"HEAD" else head.method.decode("ascii")
    return Request(method, path, query, fields, body, peer)

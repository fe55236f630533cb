"""A tunnel of raw TCP. No framing inside tells whether all has come, so its end has to say it.

- One side has sent its last byte: what it sent is delivered, then the other side is closed in good order. TLS between
  two sidecars carries no half of an end (the transports have none), so a client that has only finished sending gets
  what still comes until nothing does for ``linger_s``; then both sides are closed.
- Anything else (a reset, a peer that is gone, the end of the token, of the Grant, of the bytes) is a reset for both
  sides, and TLS ends without its close_notify: nobody may take the part that came for the whole.
"""

from collections.abc import Callable
from typing import Final

from proxy.errors import GrantEnded, ProxyError, TunnelIdle
from proxy.flow.runtime import Runtime
from proxy.flow.settings import Timeouts
from proxy.flow.tunnel import ENDED, Near, Tunnel
from proxy.net.cut import reset
from proxy.net.deadlines import NEVER
from proxy.net.resume import resume_reading
from proxy.upstream.connection import Upstream

_IDLE: Final = "nothing has moved in the tunnel for timeouts.tcp_idle"


class RawTunnel(Tunnel):
    """See the module. ``close`` breaks it off; ``finish`` ends it in good order."""

    __slots__ = ("_drain_s", "_drained_by", "_linger_s")

    def __init__(
        self,
        runtime: Runtime,
        upstream: Upstream,
        on_ended: Callable[[int, int, ProxyError | None], None],
        timeouts: Timeouts,
        ends_at: float,
        max_bytes: int,
    ) -> None:
        super().__init__(runtime, upstream, on_ended, timeouts.tcp_idle_s, ends_at, max_bytes)
        self._linger_s = timeouts.linger_s
        self._drain_s = timeouts.stream_idle_s
        self._drained_by = NEVER  # set once the client has sent its last byte

    def start(self, from_upstream: bytes, from_client: bytes) -> None:
        """Relay what either side has said before both were joined, and let a held upstream speak."""
        upstream = self._upstream
        if from_upstream:
            self.to_client(from_upstream)
        self.to_upstream(from_client)
        if upstream.held and not self._ended:
            if upstream.ended_early:
                self.finish()
            else:
                resume_reading(upstream.transport)

    def close(self) -> None:
        """Break it off: reset both sides. Safe to call twice."""
        if self._ended:
            return
        near = self._begin_end()
        self._forget()
        reset(self._upstream.transport)
        if near is not None:
            near.abort()
        self._on_ended(self._upstream_bytes, self._client_bytes, self.failure)

    def finish(self) -> None:
        """Deliver what was taken, and close both sides in good order."""
        if self._ended:
            return
        near = self._begin_end()
        upstream = self._upstream
        self._drained_by = min(self._drained_by, self._runtime.clock() + self._drain_s)
        upstream.deadline = self._drained_by  # who takes no more bytes is cut then
        if self._undelivered():
            upstream.tunnel = self._drop
            self.deadline = self._runtime.clock()  # looked at with every sweep: TLS has but seconds for its own end
        else:
            self._forget()
            upstream.transport.close()
        if near is not None:
            near.hang_up()
        self._on_ended(self._upstream_bytes, self._client_bytes, self.failure)

    def _begin_end(self) -> Near | None:
        self._ended = True
        self._upstream.listener = None
        self._upstream.tunnel = None
        self._upstream.deadline = NEVER
        near, self._near = self._near, None
        return near

    def _forget(self) -> None:
        self.deadline = NEVER
        self._runtime.deadlines.forget(self)

    def _undelivered(self) -> bool:
        upstream = self._upstream
        return not upstream.closed and upstream.transport.get_write_buffer_size() > 0

    def _drop(self, data: bytes) -> None:
        """Take what still comes, for nothing."""

    def on_client_end(self) -> None:
        """The client has sent its last byte; it may still wait for an answer."""
        if not self._ended and self._drained_by == NEVER:
            self._drained_by = self._runtime.clock() + self._drain_s
            self._idle_s = min(self._idle_s, self._linger_s)
            self._moved()

    def on_deadline(self) -> None:
        """See which one it was."""
        now = self._runtime.clock()
        if self._ended:
            if not self._undelivered():
                self._forget()
                self._upstream.transport.close()
        elif now >= self._ends_at:
            self.end(GrantEnded(ENDED))
        elif self._drained_by == NEVER:
            self.end(TunnelIdle(_IDLE))
        elif not self._undelivered() or now >= self._drained_by:
            self.finish()

    def on_answer_end(self) -> None:
        """The upstream has sent its last byte."""
        self.finish()

    def on_upstream_lost(self, error: ProxyError) -> None:  # noqa: ARG002 - it has no reason of ours
        """The upstream is gone, and nobody knows what it still had to say."""
        self.close()

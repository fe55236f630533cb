"""After 101, or 200 to CONNECT, there is no HTTP any more: bytes both ways, as fast as the slower side takes them.

It was authorised once, so it ends when that authority ends: at the end of the token or of the grant (specs 6.7), or
with the last byte that its rule allows.
"""

from collections.abc import Callable
from typing import Final, Protocol

from proxy.errors import BytesSpent, GrantEnded, ProxyError
from proxy.flow.runtime import Runtime
from proxy.net.deadlines import NEVER
from proxy.net.resume import resume_reading
from proxy.observe.cells import Counter
from proxy.upstream.connection import Upstream

ENDED: Final = "the token, the Grant or the time of this tunnel has ended"
_SPENT: Final = "the tunnel has carried as many bytes as its rule allows"


class Near(Protocol):
    """The downstream end of a tunnel."""

    def write(self, data: bytes) -> None:
        """Send bytes to the one who asked."""

    def hang_up(self) -> None:
        """Send what is buffered, then close."""

    def pace(self, *, reading: bool) -> None:
        """Read on, or stop."""

    def abort(self) -> None:
        """Close now: what was sent is not the whole of it."""


class Tunnel:
    """Two ends and the time of the last byte. It listens to the upstream end itself.

    ``max_bytes`` count both ways together; 0 is no limit. ``failure``: why we have ended it ourselves.
    """

    __slots__ = (
        "_client_bytes",
        "_ended",
        "_ends_at",
        "_idle_s",
        "_max_bytes",
        "_near",
        "_on_ended",
        "_runtime",
        "_upstream",
        "_upstream_bytes",
        "deadline",
        "failure",
        "to_client_total",
        "to_upstream_total",
    )

    def __init__(
        self,
        runtime: Runtime,
        upstream: Upstream,
        on_ended: Callable[[int, int, ProxyError | None], None],
        idle_s: float,
        ends_at: float,
        max_bytes: int = 0,
    ) -> None:
        self._runtime = runtime
        self._upstream = upstream
        self._on_ended = on_ended
        self._idle_s = idle_s
        self._ends_at = ends_at
        self._max_bytes = max_bytes
        self._near: Near | None = None
        self._ended = False
        self.failure: ProxyError | None = None
        self.to_client_total = Counter()  # whoever wants to see them puts its own here
        self.to_upstream_total = Counter()
        self._client_bytes = 0
        self._upstream_bytes = 0
        self.deadline = NEVER

    def open(self, near: Near) -> None:
        """Join both ends."""
        self._near = near
        self._upstream.listener = self
        self._upstream.tunnel = self.to_client
        self._upstream.deadline = NEVER
        self._runtime.deadlines.watch(self)
        self._moved()

    def _moved(self) -> None:
        self.deadline = min(self._runtime.clock() + self._idle_s, self._ends_at)

    def to_client(self, data: bytes) -> None:
        """Relay bytes of the upstream."""
        if self._max_bytes and (left := self._left(len(data))) is not None:
            if left:
                self.to_client(data[:left])
            self.end(BytesSpent(_SPENT))
            return
        self._upstream_bytes += len(data)
        self.to_client_total.inc(len(data))
        self._moved()
        if self._near is not None:
            self._near.write(data)

    def to_upstream(self, data: bytes) -> None:
        """Relay bytes of the client."""
        if data and not self._ended:
            if self._max_bytes and (left := self._left(len(data))) is not None:
                self.to_upstream(data[:left])
                self.end(BytesSpent(_SPENT))
                return
            self._client_bytes += len(data)
            self.to_upstream_total.inc(len(data))
            self._moved()
            self._upstream.transport.write(data)

    def _left(self, wanted: int) -> int | None:
        """How many bytes may still pass, where ``wanted`` are more than that."""
        left = max(self._max_bytes - self._upstream_bytes - self._client_bytes, 0)
        return left if wanted > left else None

    def restrict(self, ends_at: float, max_bytes: int) -> None:
        """Take the limits of another policy; it ends no later than before. On the loop's clock."""
        self._max_bytes = max_bytes
        self._ends_at = min(self._ends_at, ends_at)
        self.deadline = min(self.deadline, self._ends_at)

    def end(self, error: ProxyError) -> None:
        """End it ourselves, for this reason."""
        if not self._ended:
            self.failure = error
            self.close()

    def close(self) -> None:
        """End both ends; safe to call twice."""
        if self._ended:
            return
        self._ended = True
        self.deadline = NEVER
        self._runtime.deadlines.forget(self)
        self._upstream.listener = None
        self._upstream.tunnel = None
        self._upstream.deadline = self._runtime.clock() + self._idle_s  # who takes no more bytes is cut then
        self._upstream.transport.close()
        near, self._near = self._near, None
        if near is not None:
            near.hang_up()
        self._on_ended(self._upstream_bytes, self._client_bytes, self.failure)

    def on_deadline(self) -> None:
        """Nothing moved for too long, or the authority has ended."""
        if self._runtime.clock() >= self._ends_at:
            self.end(GrantEnded(ENDED))
        else:
            self.close()

    def on_client_writable(self, *, writable: bool) -> None:
        """The client's buffer is full, or has room again."""
        if not self._ended:
            if writable:
                resume_reading(self._upstream.transport)
            else:
                self._upstream.transport.pause_reading()

    def on_upstream_writable(self, *, writable: bool) -> None:
        """The upstream's buffer is full, or has room again."""
        if self._near is not None:
            self._near.pace(reading=writable)

    def on_answer(self) -> None:
        """Nothing: bytes come through ``to_client``."""

    def on_answer_end(self) -> None:
        """The upstream has sent its last byte."""
        self.close()

    def on_upstream_lost(self, error: ProxyError) -> None:  # noqa: ARG002 - either way it has ended
        """The upstream is gone."""
        self.close()

"""After 101 there is no HTTP any more: bytes both ways, each as fast as the slower side takes them.

It was authorised once, so it ends when that authority ends: at the end of the token or of the grant (specs 6.7).
"""

from collections.abc import Callable
from typing import Protocol

from proxy.errors import ProxyError
from proxy.flow.runtime import Runtime
from proxy.net.deadlines import NEVER
from proxy.upstream.connection import Upstream


class Near(Protocol):
    """The downstream end of a tunnel."""

    def write(self, data: bytes) -> None:
        """Send bytes to the one who asked."""

    def hang_up(self) -> None:
        """Send what is buffered, then close."""

    def pace(self, *, reading: bool) -> None:
        """Read on, or stop."""


class Tunnel:
    """Two ends and the time of the last byte. It listens to the upstream end itself."""

    __slots__ = (
        "_client_bytes",
        "_ended",
        "_ends_at",
        "_idle_s",
        "_near",
        "_on_ended",
        "_runtime",
        "_upstream",
        "_upstream_bytes",
        "deadline",
    )

    def __init__(
        self,
        runtime: Runtime,
        upstream: Upstream,
        on_ended: Callable[[int, int], None],
        idle_s: float,
        ends_at: float,
    ) -> None:
        self._runtime = runtime
        self._upstream = upstream
        self._on_ended = on_ended
        self._idle_s = idle_s
        self._ends_at = ends_at
        self._near: Near | None = None
        self._ended = False
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
        self._upstream_bytes += len(data)
        self._moved()
        if self._near is not None:
            self._near.write(data)

    def to_upstream(self, data: bytes) -> None:
        """Relay bytes of the client."""
        if data and not self._ended:
            self._client_bytes += len(data)
            self._moved()
            self._upstream.transport.write(data)

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
        self._on_ended(self._upstream_bytes, self._client_bytes)

    def on_deadline(self) -> None:
        """Nothing moved for too long, or the authority has ended."""
        self.close()

    def on_client_writable(self, *, writable: bool) -> None:
        """The client's buffer is full, or has room again."""
        if not self._ended:
            if writable:
                self._upstream.transport.resume_reading()
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

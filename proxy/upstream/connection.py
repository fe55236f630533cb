"""One connection to the other side, which carries one exchange at a time."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from proxy.errors import ProxyError, UpstreamReset, UpstreamTimeout, UpstreamUntrusted
from proxy.http1.decoder import ResponseDecoder
from proxy.http1.limits import Limits
from proxy.identity.peer import Peer
from proxy.net.cut import cut
from proxy.net.deadlines import NEVER
from proxy.tls.handshake import dial_failure, is_cut
from proxy.tls.proofs import Proofs
from proxy.upstream.ledger import Lendable

WRITE_BUFFER_BYTES: Final = 256 * 1024
"""What may wait in a transport before the other side is told to stop: a few round trips of a fast mesh link."""


class Listener(Protocol):
    """Who has the connection on loan."""

    def on_answer(self) -> None:
        """Bytes of the answer came: the decoder has events."""

    def on_answer_end(self) -> None:
        """The other side has sent all that it will send."""

    def on_upstream_lost(self, error: ProxyError) -> None:
        """The connection is gone, and the exchange with it."""

    def on_upstream_writable(self, *, writable: bool) -> None:
        """The transport wants no more bytes for now, or wants them again."""


class Upstream(Lendable):
    """A connection to an endpoint; ``listener`` is its exchange while it is on loan.

    An ``asyncio.Protocol`` by shape, not by base class, so that it can be compiled.

    ``deadline``, ``idle_until``, ``retires_at`` and ``ends_at`` are seconds on the loop's clock. It is not lent past
    ``retires_at``, and cut at ``ends_at``, when the identity of one of the two sides ends. ``peer`` is who was proved.
    ``held``: what the other side says first waits until there is a tunnel; it has said all of it where ``ended_early``.
    """

    __slots__ = (
        "closed",
        "deadline",
        "decoder",
        "ended_early",
        "ends_at",
        "failure",
        "held",
        "listener",
        "on_closed",
        "peer",
        "proofs",
        "retires_at",
        "transport",
        "tunnel",
        "uses",
    )

    transport: asyncio.Transport

    def __init__(self, limits: Limits, *, held: bool = False) -> None:
        self.held = held
        self.ended_early = False
        self.decoder = ResponseDecoder(limits)
        self.listener: Listener | None = None
        self.deadline = NEVER
        self.idle_until = NEVER
        self.retires_at = NEVER
        self.ends_at = NEVER
        self.peer: Peer | None = None
        self.proofs: Proofs | None = None  # by which the peer was last believed
        self.uses = 0
        self.tunnel: Callable[[bytes], None] | None = None
        self.failure: ProxyError | None = None
        self.on_closed: Callable[[Upstream], None] | None = None
        self.closed = True

    def is_open(self) -> bool:
        """Whether bytes can still be sent. While idle it stays in step: bytes that nobody asked for end it."""
        return not (self.closed or self.transport.is_closing())

    def is_reusable(self) -> bool:
        """Whether it is open, and no answer is pending. That it is not closing is asked when it is lent."""
        return not self.closed and self.decoder.idle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; for TLS, after the handshake."""
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if self.held:
            self.transport.pause_reading()
        self.closed = False

    def lend_to(self, listener: Listener, method: bytes) -> None:
        """Begin an exchange whose request has this method; the listener writes it."""
        self.listener = listener
        self.uses += 1
        self.decoder.expect(method)

    def send(self, head: bytes, method: bytes, listener: Listener) -> None:
        """Begin an exchange whose request is its head alone."""
        self.listener = listener
        self.uses += 1
        self.decoder.expect(method)
        self.transport.write(head)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to whoever has the connection on loan; bytes that nobody asked for end it (specs 6.8)."""
        if self.tunnel is not None:
            self.tunnel(data)
            return
        listener = self.listener
        if listener is None:
            if self.held:
                self.decoder.receive(data)
                self.transport.pause_reading()  # again: uvloop begins to read after connection_made, whatever was said
            else:
                cut(self.transport)
            return
        self.decoder.receive(data)
        listener.on_answer()

    def eof_received(self) -> bool:
        """Take the end of what the other side sends; a plain connection stays open for a tunnel's other half."""
        if self.held and self.tunnel is None and self.listener is None:
            self.ended_early = True
            return True
        if self.listener is not None and not is_cut(self.transport):
            self.listener.on_answer_end()
        return self.tunnel is not None and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange and the pool."""
        self.closed = True
        self.deadline = NEVER
        self.tunnel = None
        listener, self.listener = self.listener, None
        if self.on_closed is not None:
            self.on_closed(self)
        if listener is not None:
            listener.on_upstream_lost(self.failure or lost(exc))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if self.listener is not None:
            self.listener.on_upstream_writable(writable=False)

    def resume_writing(self) -> None:
        """The transport's buffer has room again."""
        if self.listener is not None:
            self.listener.on_upstream_writable(writable=True)

    def on_deadline(self) -> None:
        """No answer, or no more of it, in time; or idle for too long."""
        if self.listener is not None:
            self.failure = UpstreamTimeout("the upstream sent nothing in time")
        self.deadline = NEVER
        self.transport.abort()

    def retire(self) -> None:
        """Nothing: the pool takes it back no more, and what is in progress goes on."""

    def withdraw(self, ends_at: float) -> None:
        """End it: at once if nobody uses it, else by ``ends_at``."""
        self.retires_at = -NEVER
        if self.listener is None:
            self.transport.close()
        else:
            self.ends_at = min(self.ends_at, ends_at)

    def end(self) -> None:
        """End it now."""
        self.ends_at = NEVER
        if self.listener is not None:
            self.failure = UpstreamUntrusted("an identity of this connection has ended, or is trusted no more")
        cut(self.transport)


def lost(exc: Exception | None) -> ProxyError:
    """Name the reason for which a connection in use ended."""
    if isinstance(exc, ssl.SSLError):
        return dial_failure(exc)  # TLS 1.3: the other side judges our certificate after our handshake has ended
    return UpstreamReset("the upstream ended the connection before the answer was whole")

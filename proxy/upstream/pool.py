"""The pool of one endpoint: lend at once what is idle, open what is missing, renew what grows old."""

from collections.abc import Callable

from proxy.errors import UpstreamOverloaded, UpstreamReset
from proxy.http1.limits import Limits
from proxy.net.cut import cut
from proxy.net.deadlines import NEVER, Deadlines
from proxy.upstream.connection import Upstream
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.ledger import Ledger
from proxy.upstream.settings import PoolSettings


class Pool:
    """Connections to one endpoint. ``clock`` is the loop's, in seconds."""

    def __init__(
        self,
        endpoint: Endpoint,
        settings: PoolSettings,
        limits: Limits,
        dialer: Dialer,
        deadlines: Deadlines,
        clock: Callable[[], float],
        *,
        held: bool = False,
        keeps: bool = True,
    ) -> None:
        """Make it; one of raw TCP ``keeps`` none, for each tunnel opens its own: what no tunnel came of is closed."""
        self._held = held  # connections of raw TCP: see ``Upstream``
        self.endpoint = endpoint
        self.retired = False
        self._settings = settings
        self._idle_s = settings.idle_s
        self._limits = limits
        self._dialer = dialer
        self._deadlines = deadlines
        self._clock = clock
        self._connections: set[Upstream] = set()
        max_idle = settings.max_idle if keeps else 0
        self.ledger: Ledger[Upstream] = Ledger(settings.max_connections, max_idle)

    def lend(self, now: float) -> Upstream | None:
        """Give an idle connection at once, or None: then ``open`` one. ``now`` is on the loop's clock."""
        upstream = self.ledger.lend(now)
        while upstream is not None and upstream.proofs is not self._dialer.proofs:
            if self._dialer.trusts(upstream):
                break
            upstream = self.ledger.lend(now)
        return upstream

    async def open(self) -> Upstream:
        """Open a new connection and lend it; where no more may be, one that was given back meanwhile.

        Raises:
            UpstreamOverloaded: ``max_connections`` are in use. What ``Dialer.dial`` raises.

        """
        if not self.ledger.may_open():
            upstream = self.lend(self._clock())
            if upstream is not None:
                return upstream
            raise UpstreamOverloaded(f"all {self._settings.max_connections} connections to {self.endpoint} are in use")
        self.ledger.opening()
        try:
            timeout_s = self._settings.connect_timeout_s
            upstream = await self._dialer.dial(self.endpoint, self._limits, timeout_s, held=self._held)
        except BaseException:
            self.ledger.closed(None)
            raise
        if upstream.closed:
            self.ledger.closed(None)
            raise upstream.failure or UpstreamReset(f"{self.endpoint} ended the connection at once")
        upstream.on_closed = self._closed
        self._connections.add(upstream)
        self._dialer.opened(upstream)
        self._deadlines.watch(upstream)
        return upstream

    def _closed(self, upstream: Upstream) -> None:
        self._deadlines.forget(upstream)
        self._dialer.closed(upstream)
        self._connections.discard(upstream)
        self.ledger.closed(upstream)

    def take_back(self, upstream: Upstream, now: float) -> None:
        """Take a connection back after its exchange; what cannot be used again is closed."""
        upstream.listener = None
        until = now + self._idle_s
        if until > upstream.retires_at:  # noqa: PLR1730 - min() is a call, on every exchange
            until = upstream.retires_at
        if until > now and not self.retired and self.ledger.take_back(upstream):
            upstream.idle_until = upstream.deadline = until
        else:
            self.discard(upstream)

    def discard(self, upstream: Upstream) -> None:
        """Close a connection that is not to be used again. What it has not taken yet nobody waits for."""
        upstream.listener = None
        upstream.deadline = NEVER
        if upstream.transport.get_write_buffer_size():
            cut(upstream.transport)
        else:
            upstream.transport.close()

    def retire(self) -> None:
        """Lend no more, and close what is idle; what is on loan ends with its exchange."""
        self.retired = True
        for upstream in self.ledger.drop_idle():
            upstream.transport.close()

    def withdraw(self) -> None:
        """Retire, for nobody may go there any more: what is on loan ends soon."""
        self.retire()
        for upstream in list(self._connections):
            self._dialer.withdraw(upstream)

    def close(self) -> None:
        """End what is idle, now; what is on loan ends with its exchange."""
        self.retired = True
        for upstream in self.ledger.drop_idle():
            cut(upstream.transport)

"""One CONNECT and the tunnel that comes of it. It decides nothing: by then the steps have given their Permit.

Two records are written of it: the decision, as of every request, when the tunnel opens; and at its end what it carried.
"""

import json
from typing import Final

from proxy.errors import REASONS, BadFraming, GrantEnded, ProxyError, TunnelRefused, UpstreamBadResponse, UpstreamReset
from proxy.flow.account import Account
from proxy.flow.exchange import Client, Exchange
from proxy.flow.raw_tunnel import RawTunnel
from proxy.flow.runtime import Runtime
from proxy.flow.settings import Timeouts
from proxy.http1.message import RequestHead, ResponseHead
from proxy.net.deadlines import NEVER
from proxy.observe.cells import Gauge
from proxy.upstream.connection import Upstream

OPENED: Final = b"HTTP/1.1 200 OK\r\n\r\n"
"""No Content-Length and no Transfer-Encoding (RFC 9110 section 9.3.6)."""

MAX_PROBLEM_BYTES: Final = 4096
"""Of a refusal that is read for its reason: ours have 200."""


class Opening(Exchange):
    """An exchange that becomes a tunnel or nothing. ``tunnel`` is there once it is open."""

    tunnel: RawTunnel | None = None

    _began = 0.0
    _open: Gauge | None = None

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        head: RequestHead,
        account: Account,
        timeouts: Timeouts,
    ) -> None:
        super().__init__(client, runtime, head, account, runtime.clock())
        self.keep = False  # whatever comes of it, nothing can follow
        self.timeouts = timeouts

    def _become(self, upstream: Upstream, first: bytes) -> None:
        """Join both ends; ``first`` goes to the client."""
        runtime, account = self.runtime, self.account
        self._began = now = runtime.clock()
        ends_at = min(self.tunnel_ends_at, upstream.ends_at)
        if now >= ends_at:
            self.upstream = upstream
            self.fail(GrantEnded("the token or the Grant ended before the tunnel was open"))
            return
        self.status = 200
        self.answered = True
        self.upstream = None
        upstream.uses = 1
        upstream.deadline = NEVER
        account.close(self, now)
        rule = self.permit.rule if self.permit is not None else ""
        self.tunnel = tunnel = RawTunnel(
            runtime, upstream, self._tunnel_ended, self.timeouts, ends_at, self.tunnel_max_bytes
        )
        tunnel.to_client_total = runtime.metrics.tunnel_bytes(account.direction, "to_client", rule)
        tunnel.to_upstream_total = runtime.metrics.tunnel_bytes(account.direction, "to_upstream", rule)
        self._open = runtime.metrics.tunnels(account.direction)
        self._open.inc()
        from_client = self._client.release()
        self._client.enter(tunnel, first)
        tunnel.start(upstream.decoder.release(), from_client)

    def _tunnel_ended(self, upstream_bytes: int, client_bytes: int, failure: ProxyError | None) -> None:
        self.finished = True
        if self._open is not None:
            self._open.dec()
        self.request_bytes, self.response_bytes = client_bytes, upstream_bytes
        self.account.tunnel(self, failure, self.runtime.clock() - self._began)


class ToApp(Opening):
    """Inbound: the app is connected, so the answer is 200 and whatever it says first."""

    def begin(self, upstream: Upstream, first_byte_s: float, stream_idle_s: float) -> None:  # noqa: ARG002 - no HTTP
        """Open the tunnel: the app's connection is there."""
        self.own_s += self.runtime.clock() - self.started - self.away_s
        if self._client.release():
            self.upstream = upstream
            self.fail(BadFraming("bytes came before CONNECT was answered"))
            return
        self._become(upstream, OPENED)


class ToMesh(Opening):
    """Outbound: CONNECT is sent, and 200 opens the tunnel."""

    def on_answer(self) -> None:
        """Read the head of the answer, and the reason of a refusal."""
        upstream = self.upstream
        if upstream is None or self.finished:
            return
        try:
            head = upstream.decoder.next_event()
            if head is None:
                return
            if type(head) is not ResponseHead or head.status < 200:
                raise UpstreamBadResponse("an answer to CONNECT has one head, and no other before it")
            if head.status >= 300:
                raise TunnelRefused(_told(head, upstream))
            if b"content-length" in head.held or b"transfer-encoding" in head.held:
                raise UpstreamBadResponse("2xx to CONNECT has no body (RFC 9110 section 9.3.6)")
        except ProxyError as error:
            self.fail(error)
            return
        self._become(upstream, b"")

    def on_answer_end(self) -> None:
        """It has ended before it answered."""
        if self.upstream is not None and not self.finished:
            self.fail(UpstreamReset("the sidecar over there ended the connection: its policy may not admit us"))


def _told(head: ResponseHead, upstream: Upstream) -> str:
    """Tell status and reason; the reason only if it is one of ours, for it comes from outside."""
    body = upstream.decoder.release()[:MAX_PROBLEM_BYTES]
    try:
        reason = json.loads(body)["reason"]
    except (ValueError, TypeError, KeyError):
        reason = ""
    said = f" {reason}" if isinstance(reason, str) and reason in REASONS else ""
    return f"the sidecar over there answered {head.status}{said}"

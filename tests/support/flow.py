"""The parts of an exchange, real ones, on whatever loop a test runs: a runtime, heads, upstreams over a socket pair."""

import asyncio
import os
import socket
from dataclasses import dataclass, field

from proxy.errors import ProxyError
from proxy.flow.account import Account
from proxy.flow.exchange import Client, Exchange
from proxy.flow.runtime import Runtime
from proxy.flow.tunnel import Tunnel
from proxy.http1.decoder import RequestDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.catalog import Metrics
from proxy.observe.settings import AccessLogSettings
from proxy.observe.trace import TraceIds
from proxy.upstream.connection import Upstream

LIMITS = Limits()
PSEUDONYM = b"svidecar-in-00000000"


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Give the time."""
        return self.now


def make_runtime(clock: Clock) -> Runtime:
    """A runtime on the running loop, whose clocks are both ``clock``."""
    loop = asyncio.get_running_loop()
    metrics = Metrics("0", "test")
    return Runtime(
        transports=Transports(loop, EventLoop.ASYNCIO),
        deadlines=Deadlines(loop),
        tasks=Tasks("test"),
        clock=clock,
        now=clock,
        metrics=metrics,
        access_log=AccessLog(AccessLogSettings(), "test", loop, metrics.access_log_dropped),
        trace_ids=TraceIds(os.urandom),
        pseudonym=PSEUDONYM,
    )


def head_of(wire: bytes) -> RequestHead:
    """The head of a request, read by our decoder."""
    decoder = RequestDecoder(LIMITS)
    decoder.receive(wire)
    head = decoder.next_event()
    assert isinstance(head, RequestHead)
    return head


def get(*fields: str, method: str = "GET", version: str = "1.1") -> RequestHead:
    """The head of a request to ``/a`` with these field lines."""
    return head_of("\r\n".join([f"{method} /a HTTP/{version}", "Host: app", *fields, "", ""]).encode("latin-1"))


@dataclass
class Caller(Client):
    """Whom an exchange answers: it keeps what it is told."""

    sent: bytes = b""
    refused: list[str] = field(default_factory=list)
    ended_with: list[bool] = field(default_factory=list)
    reopened: int = 0
    asked: int = 0
    aborted: int = 0
    paces: list[bool] = field(default_factory=list)
    tunnel: Tunnel | None = None
    behind: bytes = b""

    def write(self, data: bytes) -> None:
        """Take bytes of the answer."""
        self.sent += data

    def abort(self) -> None:
        """Take the end."""
        self.aborted += 1

    def hang_up(self) -> None:
        """Take the end of a tunnel."""
        self.aborted += 1

    def pace(self, *, reading: bool) -> None:
        """Take the pace."""
        self.paces.append(reading)

    def refuse(self, exchange: Exchange, error: ProxyError) -> None:
        """Take a refusal."""
        exchange.finished = True
        self.refused.append(error.reason)

    def ended(self, exchange: Exchange, now: float, *, keep: bool) -> None:  # noqa: ARG002 - the base has it
        """Take the end of the answer."""
        assert exchange.finished
        self.ended_with.append(keep)

    def reopen(self, exchange: Exchange) -> None:
        """Take the wish for another connection."""
        assert exchange.upstream is None
        self.reopened += 1

    def enter(self, tunnel: Tunnel, first: bytes) -> None:
        """Become a tunnel."""
        self.tunnel = tunnel
        self.sent += first
        tunnel.open(self)

    def again(self, exchange: Exchange) -> None:  # noqa: ARG002 - it is the one that this caller has
        """Take the steps again."""
        self.asked += 1

    def release(self) -> bytes:
        """Give what came after the request."""
        return self.behind


def exchange_of(runtime: Runtime, caller: Caller, head: RequestHead) -> Exchange:
    """An exchange whose offer is written."""
    account = Account(runtime, "inbound", None, None)
    exchange = Exchange(caller, runtime, head, account, runtime.clock())
    exchange.offer = b"%b /a HTTP/1.1\r\nHost: app\r\n\r\n" % head.method
    return exchange


async def open_upstream() -> tuple[Upstream, socket.socket]:
    """A connection over a socket pair, and the app's end of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    _, upstream = await asyncio.get_running_loop().create_connection(lambda: Upstream(LIMITS), sock=ours)  # type: ignore[type-var]
    return upstream, theirs

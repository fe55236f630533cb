"""The two listeners and their patience."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from proxy.http1.limits import Limits
from proxy.policy.settings import DestinationSettings
from proxy.upstream.settings import PoolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. None of them limits a stream that moves."""

    head_s: float = 10.0  # from the first byte of a head to its last
    idle_s: float = 75.0  # a connection between two requests
    body_s: float = 30.0  # between two pieces of a request body
    first_byte_s: float = 60.0  # from the whole request to the head of the answer
    stream_idle_s: float = 300.0  # between two pieces of an answer, or of a tunnel, in either direction
    tcp_idle_s: float = 3600.0  # between two pieces of raw TCP: pools of databases keep connections without a word
    linger_s: float = 1.0  # reading on after an early answer, so that a reset does not eat it


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """What both listeners have."""

    host: str
    port: int
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_connections: int = 10_000
    held_body_bytes: int = 65536  # of a body that a fact is taken from: an order, a payment; a file is no fact
    max_handshakes: int = 256  # in flight at once; more wait in the kernel's queue
    min_body_rate: int = 0  # bytes a second; none, for an upload that streams events is no attack (Apache asks for 500)


class AppProtocol(StrEnum):
    """What the app behind the sidecar speaks."""

    HTTP = "http"
    TCP = "tcp"  # anything: bytes are carried as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundSettings:
    """From the mesh to the app."""

    listener: ListenerSettings
    app_host: str
    app_port: int
    protocol: AppProtocol = AppProtocol.HTTP
    pool: PoolSettings = field(default_factory=PoolSettings)
    transactions: int = 20_000  # with the app, or in their grace: twice the connections of the listener
    transaction_bytes: int = 32 * 1024 * 1024  # of their tokens: 20 000 of 1.6 KB
    transaction_grace_s: float = 2.0  # for what an app does when its answer is out: a log, an event
    used_transactions: int = 50_000  # of routes that take each once: 10 MB; 14 a second for an hour
    used_window_s: float = 3600.0  # as long as the longest token lives by default: what replaces one is within it


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """From the app to the mesh."""

    listener: ListenerSettings
    pool: PoolSettings = field(default_factory=lambda: PoolSettings(idle_s=60.0))  # below our own inbound idle_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings:
    """One port of the app's for raw TCP: whatever connects to it is carried to this destination."""

    listener: ListenerSettings
    destination: DestinationSettings
    pool: PoolSettings = field(default_factory=PoolSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSettings:
    """Several processes of one app that find each other's transactions."""

    folder: Path
    timeout_s: float = 0.1  # on one machine 0.2 ms, one in a hundred 0.5; a request waits no longer for one that hangs

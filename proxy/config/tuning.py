"""What few people write: limits, timeouts, TLS, ports of the operators, logs, the end."""

from proxy.admin.settings import AdminSettings
from proxy.config.address import HostPort
from proxy.config.number import DAY, HOUR, KIB, MIB, MINUTE, count, duration, size, write_duration
from proxy.config.settings import SidecarSettings
from proxy.config.shape import Key, Section, default_of
from proxy.config.value import choice
from proxy.config.word import listen_address, loopback_address
from proxy.flow.settings import InboundSettings, ListenerSettings, OutboundSettings, Timeouts
from proxy.http1.limits import Limits
from proxy.identity.lifetime import LifetimeSettings
from proxy.tls.settings import TlsSettings
from proxy.upstream.settings import PoolSettings

OUTBOUND_POOL: PoolSettings = default_of(OutboundSettings, "pool")

TLS = Section(
    (
        Key(
            "min_version",
            choice(of=("1.3", "1.2")),
            "The oldest TLS version that is spoken.",
            into=(TlsSettings, "min_version"),
        ),
        Key(
            "handshake_timeout",
            duration(0.1, MINUTE),
            "From the first byte to the end of the handshake.",
            into=(TlsSettings, "handshake_timeout_s"),
        ),
        Key(
            "connection_percent",
            count(10, 99),
            "Of what is left of both SVIDs: after that, a connection takes no new request.",
            into=(LifetimeSettings, "percent"),
        ),
        Key(
            "connection_age",
            duration(1, 30 * DAY),
            "The same for a connection of this age, and for those to the app and outside of the mesh.",
            into=(LifetimeSettings, "max_age_s"),
        ),
        Key(
            "connection_jitter_percent",
            count(0, 50),
            "Taken away from either by chance, so that connections are not all renewed at once.",
            into=(LifetimeSettings, "jitter_percent"),
        ),
    )
)

LIMITS = Section(
    (
        Key("head", size(KIB, MIB), "A request or response head.", into=(Limits, "head_bytes")),
        Key("fields", count(10, 10_000), "Header fields in a head.", into=(Limits, "fields")),
        Key("target", size(256, 64 * KIB), "The request target.", into=(Limits, "target_bytes")),
        Key(
            "chunk_line",
            size(16, 8 * KIB),
            "The size line of a chunk, with its extensions.",
            into=(Limits, "chunk_line_bytes"),
        ),
        Key("trailer", size(0, 64 * KIB), "Trailer fields after a body.", into=(Limits, "trailer_bytes")),
        Key(
            "interim_responses",
            count(0, 1000),
            "1xx answers before the final one.",
            into=(Limits, "interim_responses"),
        ),
        Key(
            "held_body",
            size(1, 1024 * KIB),
            "A body that a fact is taken from is read whole, up to this.",
            into=(ListenerSettings, "held_body_bytes"),
        ),
        Key(
            "transactions",
            count(1, 1_000_000),
            "Requests with the app whose transaction is remembered; beyond, inbound requests are refused.",
            into=(InboundSettings, "transactions"),
        ),
        Key(
            "transaction_bytes",
            size(KIB, 1024 * MIB),
            "Of their tokens.",
            into=(InboundSettings, "transaction_bytes"),
        ),
        Key(
            "used_transactions",
            count(1, 10_000_000),
            "Uses of routes with once that are remembered; beyond, such routes are refused.",
            into=(InboundSettings, "used_transactions"),
        ),
        Key(
            "connections",
            count(1, 1_000_000),
            "Open connections of each listener.",
            into=(ListenerSettings, "max_connections"),
        ),
        Key(
            "handshakes",
            count(1, 100_000),
            "TLS handshakes at once; then the oldest gives way if it takes long, else more wait in the kernel.",
            into=(ListenerSettings, "max_handshakes"),
        ),
        Key(
            "body_rate",
            size(0, MIB),
            "Bytes a second that a request body must bring, after the first `timeouts.body`; 0 asks for none.",
            into=(ListenerSettings, "min_body_rate"),
        ),
        Key(
            "upstream_connections",
            count(1, 100_000),
            "Connections to the app, and to each destination.",
            into=(PoolSettings, "max_connections"),
        ),
        Key(
            "upstream_idle_connections",
            count(0, 100_000),
            "Of these, how many may wait for the next request.",
            into=(PoolSettings, "max_idle"),
        ),
    )
)

TIMEOUTS = Section(
    (
        Key(
            "head", duration(0.1, 10 * MINUTE), "From the first byte of a head to its last.", into=(Timeouts, "head_s")
        ),
        Key("idle", duration(1, DAY), "A connection between two requests.", into=(Timeouts, "idle_s")),
        Key("body", duration(0.1, HOUR), "Between two pieces of a request body.", into=(Timeouts, "body_s")),
        Key(
            "first_byte",
            duration(0.1, HOUR),
            "From the whole request to the head of its answer.",
            into=(Timeouts, "first_byte_s"),
        ),
        Key(
            "stream_idle",
            duration(0.1, DAY),
            "Between two pieces of an answer or a tunnel.",
            into=(Timeouts, "stream_idle_s"),
        ),
        Key(
            "tcp_idle",
            duration(0.1, 30 * DAY),
            "Between two pieces of raw TCP, in either direction.",
            into=(Timeouts, "tcp_idle_s"),
        ),
        Key(
            "transaction_grace",
            duration(0, MINUTE),
            "How long a transaction is remembered when its answer is out.",
            into=(InboundSettings, "transaction_grace_s"),
        ),
        Key(
            "used_transaction",
            duration(1, DAY),
            "How long a use of a route with once is remembered at least.",
            into=(InboundSettings, "used_window_s"),
        ),
        Key("linger", duration(0, MINUTE), "Reading on after an early answer.", into=(Timeouts, "linger_s")),
        Key(
            "connect",
            duration(0.01, MINUTE),
            "A new connection to the app or a destination.",
            into=(PoolSettings, "connect_timeout_s"),
        ),
        Key(
            "app_idle",
            duration(0.1, DAY),
            "An unused connection to the app; below the app's own keep-alive.",
            into=(PoolSettings, "idle_s"),
        ),
        Key(
            "upstream_idle",
            duration(0.1, DAY),
            "An unused connection to a destination; below the idle timeout over there.",
            fallback=write_duration(OUTBOUND_POOL.idle_s),
        ),
    )
)

SHUTDOWN = Section(
    (
        Key(
            "grace",
            duration(0, DAY),
            "From SIGTERM to the end of what is still running.",
            into=(SidecarSettings, "shutdown_grace_s"),
        ),
        Key(
            "quiet",
            duration(0, HOUR),
            "Outbound ends when the app has asked for nothing in this time.",
            into=(SidecarSettings, "shutdown_quiet_s"),
        ),
    )
)

_DEFAULT = AdminSettings()

METRICS = Section(
    (
        Key(
            "listen",
            listen_address(),
            "Where Prometheus scrapes /metrics.",
            fallback=str(HostPort(_DEFAULT.metrics_host, _DEFAULT.metrics_port)),
        ),
    )
)

HEALTH = Section(
    (
        Key(
            "listen",
            listen_address(),
            "Where /healthz/live and /healthz/ready are probed.",
            fallback=str(HostPort(_DEFAULT.health_host, _DEFAULT.health_port)),
        ),
    )
)

ADMIN = Section(
    (
        Key(
            "listen",
            loopback_address(),
            "The status page and the admin verbs; loopback only.",
            fallback=str(HostPort(_DEFAULT.admin_host, _DEFAULT.admin_port)),
        ),
    )
)

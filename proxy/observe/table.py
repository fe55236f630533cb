"""Every metric that the sidecar has (DESIGN section 6): its name, its help, its labels, its buckets.

Names and labels are an interface: dashboards and alerts hold them, and a test holds this table to a frozen list.
Values of labels come from the configuration or from fixed sets, never from the wire: no path, authority, subject,
token. The two ``http_`` metrics and their labels are OpenTelemetry's (semantic conventions, HTTP metrics).
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One metric. ``constants`` are labels whose value never changes."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    buckets: tuple[float, ...] = ()


_US = 1e-6
_MS = 1e-3


def _scaled(unit: float, *numbers: float) -> tuple[float, ...]:
    return tuple(round(number * unit, 9) for number in numbers)


REQUEST_BUCKETS = (
    *_scaled(_MS, 0.5, 1, 2, 3),  # a call inside the mesh is often done before OpenTelemetry's first bound
    *_scaled(_MS, 5, 10, 25, 50, 75, 100, 250, 500, 750),  # from here on OpenTelemetry's own
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
OVERHEAD_BUCKETS = (
    *_scaled(_US, 25, 50, 75, 100, 150, 250, 500),  # the budget of a request is 33 us of CPU
    *_scaled(_MS, 1, 2.5, 5, 10, 25, 50, 100, 250),
    1.0,
)
VERIFY_BUCKETS = (
    *_scaled(_US, 1, 2.5, 5, 10, 25, 50, 75, 100, 150, 250, 500),  # RS256 takes 24 us, ES256 90, Ed25519 130
    *_scaled(_MS, 1, 2.5, 5, 10),
)
NETWORK_BUCKETS = (
    *_scaled(_MS, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500),  # a handshake on one machine takes 1 to 6 ms
    *(1.0, 2.5, 5.0, 10.0),
)
TUNNEL_BUCKETS = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)  # tokens last minutes, SVIDs hours
LAG_BUCKETS = _scaled(_MS, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)  # timers of libuv are 1 ms coarse

TABLE = (
    Declaration(
        name="http_server_request_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Inbound requests, from the head to the end of the answer.",
        labels=("http_request_method", "http_response_status_code", "http_route", "error_type"),
        constants=(("url_scheme", "https"), ("network_protocol_version", "1.1")),
        buckets=REQUEST_BUCKETS,
    ),
    Declaration(
        name="http_client_request_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Outbound requests, from the head to the end of the answer.",
        labels=("http_request_method", "http_response_status_code", "error_type", "server_address", "server_port"),
        constants=(("network_protocol_version", "1.1"),),
        buckets=REQUEST_BUCKETS,
    ),
    Declaration(
        name="svidecar_overhead_seconds",
        kind=Kind.HISTOGRAM,
        help="Our own time in a request: the whole less the waiting for the other side.",
        labels=("direction",),
        buckets=OVERHEAD_BUCKETS,
    ),
    Declaration(
        name="svidecar_decisions_total",
        kind=Kind.COUNTER,
        help="Verdicts on requests and connections, with the reason of each refusal.",
        labels=("direction", "decision", "reason", "rule"),
    ),
    Declaration(
        name="svidecar_token_verify_seconds",
        kind=Kind.HISTOGRAM,
        help="Transaction tokens verified, not counting those that the cache knew.",
        labels=("result",),
        buckets=VERIFY_BUCKETS,
    ),
    Declaration(
        name="svidecar_token_cache_total",
        kind=Kind.COUNTER,
        help="Look-ups in the cache of verified transaction tokens.",
        labels=("result",),
    ),
    Declaration(
        name="svidecar_token_exchange_seconds",
        kind=Kind.HISTOGRAM,
        help="Requests to the Transaction Token Service.",
        labels=("result",),
        buckets=NETWORK_BUCKETS,
    ),
    Declaration(
        name="svidecar_transaction_memory_ratio",
        kind=Kind.GAUGE,
        help="How full the memories are of transactions with the app and of used ones; at 1, requests are refused.",
        labels=("memory",),
    ),
    Declaration(
        name="svidecar_sibling_lookup_seconds",
        kind=Kind.HISTOGRAM,
        help="Questions to the other processes of the app about a transaction, until all have answered.",
        labels=("result",),
        buckets=NETWORK_BUCKETS,
    ),
    Declaration(
        name="svidecar_tls_handshake_seconds",
        kind=Kind.HISTOGRAM,
        help="TLS handshakes, as server and as client.",
        labels=("role", "result"),
        buckets=NETWORK_BUCKETS,
    ),
    Declaration(
        name="svidecar_connections",
        kind=Kind.GAUGE,
        help="Connections by what they do now.",
        labels=("direction", "state"),
    ),
    Declaration(
        name="svidecar_tunnels",
        kind=Kind.GAUGE,
        help="Tunnels of raw TCP that are open.",
        labels=("direction",),
    ),
    Declaration(
        name="svidecar_tunnel_bytes_total",
        kind=Kind.COUNTER,
        help="Bytes that were carried in tunnels of raw TCP.",
        labels=("direction", "flow", "rule"),
    ),
    Declaration(
        name="svidecar_tunnel_seconds",
        kind=Kind.HISTOGRAM,
        help="How long tunnels of raw TCP were open, with the reason where a sidecar has ended them.",
        labels=("direction", "reason"),
        buckets=TUNNEL_BUCKETS,
    ),
    Declaration(
        name="svidecar_svid_not_after_seconds",
        kind=Kind.GAUGE,
        help="When our SVID ends, in seconds since 1970.",
    ),
    Declaration(
        name="svidecar_svid_rotations_total",
        kind=Kind.COUNTER,
        help="New identities taken after the first.",
    ),
    Declaration(
        name="svidecar_bundle_not_after_seconds",
        kind=Kind.GAUGE,
        help="When the last authority of a trust domain's bundle ends, in seconds since 1970.",
        labels=("trust_domain",),
    ),
    Declaration(
        name="svidecar_crl_next_update_seconds",
        kind=Kind.GAUGE,
        help="When the CRLs of a trust domain grow old, in seconds since 1970; only where there are some.",
        labels=("trust_domain",),
    ),
    Declaration(
        name="svidecar_identity_age_seconds",
        kind=Kind.GAUGE,
        help="Since the identity in use (SVID and bundles) was loaded.",
    ),
    Declaration(
        name="svidecar_federation_fetches_total",
        kind=Kind.COUNTER,
        help="Fetches of the bundles of foreign trust domains; after a failed one the last good stays.",
        labels=("trust_domain", "result"),
    ),
    Declaration(
        name="svidecar_federation_age_seconds",
        kind=Kind.GAUGE,
        help="Since the bundle of a foreign trust domain was last fetched.",
        labels=("trust_domain",),
    ),
    Declaration(
        name="svidecar_revocations",
        kind=Kind.GAUGE,
        help="Entries of what is revoked, by what they name.",
        labels=("kind",),
    ),
    Declaration(
        name="svidecar_revocation_age_seconds",
        kind=Kind.GAUGE,
        help="Since a source of what is revoked was last heard; beyond revocation.max_age it is stale.",
        labels=("source",),
    ),
    Declaration(
        name="svidecar_revocation_events_total",
        kind=Kind.COUNTER,
        help="Security events of the revocation feed, by what became of them.",
        labels=("result",),
    ),
    Declaration(
        name="svidecar_workload_api_stream_open",
        kind=Kind.GAUGE,
        help="1 while a stream of the SPIFFE agent is open and has brought something.",
        labels=("stream",),
    ),
    Declaration(
        name="svidecar_workload_api_reconnects_total",
        kind=Kind.COUNTER,
        help="Streams of the SPIFFE agent opened again after they had worked.",
        labels=("stream",),
    ),
    Declaration(
        name="svidecar_workload_api_errors_total",
        kind=Kind.COUNTER,
        help="Failures of streams and calls of the SPIFFE agent.",
        labels=("stream", "kind"),
    ),
    Declaration(
        name="svidecar_workload_api_last_error_seconds",
        kind=Kind.GAUGE,
        help="When a failure of that kind was last seen, in seconds since 1970.",
        labels=("stream", "kind"),
    ),
    Declaration(
        name="svidecar_keys_age_seconds",
        kind=Kind.GAUGE,
        help="Since the token keys in use were loaded or confirmed.",
    ),
    Declaration(
        name="svidecar_tls_context_generations",
        kind=Kind.GAUGE,
        help="TLS contexts that are still alive, the newest and those of old connections.",
    ),
    Declaration(
        name="svidecar_reload_total",
        kind=Kind.COUNTER,
        help="Reloads of identity, keys, policy or configuration; after a failed one the last good stays.",
        labels=("result",),
    ),
    Declaration(
        name="svidecar_event_loop_lag_seconds",
        kind=Kind.HISTOGRAM,
        help="How late the event loop ran a timer.",
        buckets=LAG_BUCKETS,
    ),
    Declaration(
        name="svidecar_access_log_dropped_total",
        kind=Kind.COUNTER,
        help="Access log lines that were lost because their reader was too slow or gone.",
    ),
    Declaration(
        name="svidecar_authoriser_seconds",
        kind=Kind.HISTOGRAM,
        help="Questions to the authoriser outside, not counting those that the cache knew.",
        labels=("result",),
        buckets=NETWORK_BUCKETS,
    ),
    Declaration(
        name="svidecar_authoriser_cache_total",
        kind=Kind.COUNTER,
        help="Look-ups in the cache of the answers of the authoriser outside.",
        labels=("result",),
    ),
    Declaration(
        name="svidecar_policy_rules",
        kind=Kind.GAUGE,
        help="Inbound rules; those in audit mode keep nobody out.",
        labels=("mode",),
    ),
    Declaration(
        name="svidecar_audit_dropped_total",
        kind=Kind.COUNTER,
        help="Audit records that were lost because the disk was too slow or full; the chain says so too.",
    ),
    Declaration(
        name="svidecar_audit_failing",
        kind=Kind.GAUGE,
        help="1 while the audit cannot be written.",
    ),
    Declaration(
        name="svidecar_audit_lines",
        kind=Kind.GAUGE,
        help="The number of the last line in the chain of the audit, for svidecar audit verify --last.",
    ),
    Declaration(
        name="svidecar_build_info",
        kind=Kind.GAUGE,
        help="What runs here; always 1.",
        labels=("version", "python", "openssl", "event_loop"),
    ),
)

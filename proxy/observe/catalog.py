"""All metrics of a sidecar: hands out the cells that others count on, and renders them all.

Per request a cell costs two dictionary look-ups, or none where it is an attribute. What comes from the wire is folded
into a fixed set before it can become a label: a caller who invents methods or statuses gets no child of his own, and
cannot push anyone else's past the limit.
"""

import platform
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from proxy.observe.cells import Age, Counter, Gauge, Histogram, Reading
from proxy.observe.exposition import Piece, choose, render
from proxy.observe.family import C, Family, Values
from proxy.observe.lines import single, write_labels
from proxy.observe.process import Process
from proxy.observe.table import TABLE, Kind

Direction = Literal["inbound", "outbound"]
Decision = Literal["allow", "deny", "error", "would_refuse"]
Role = Literal["server", "client"]
State = Literal["handshaking", "open"]

METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
}
"""The methods that OpenTelemetry calls known: RFC 9110, PATCH and QUERY."""

OTHER_METHOD = "_OTHER"

_STATUSES = {0: ""} | {status.value: str(status.value) for status in HTTPStatus}
_DECLARED = {declaration.name: declaration for declaration in TABLE}


def _fold(status: int) -> str:
    """A status that is not registered counts as the first of its class, or as 500 (RFC 9110 section 15)."""
    return f"{status // 100}00" if 100 <= status <= 599 else "500"


def _address_and_port(key: Values) -> Values:
    """A destination is configured as ``host`` or ``host:port``; OpenTelemetry wants two labels."""
    *rest, destination = key
    host, colon, port = destination.rpartition(":")
    return (*rest, host, port) if colon and port.isdigit() else (*rest, destination, "")


class Metrics:
    """The metrics of one sidecar. Attributes are the cells without labels; methods find those with labels."""

    def __init__(
        self, version: str, service: str, *, event_loop: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._families: list[Family[Any]] = []
        self._servers = self._histograms("http_server_request_duration_seconds")
        self._clients = self._histograms("http_client_request_duration_seconds", _address_and_port)
        overhead = self._histograms("svidecar_overhead_seconds")
        self.overhead_inbound = overhead.learn(("inbound",))
        self.overhead_outbound = overhead.learn(("outbound",))
        self._decisions = self._counters("svidecar_decisions_total")
        self._verifications = self._histograms("svidecar_token_verify_seconds")
        self._cache = self._counters("svidecar_token_cache_total")
        self._exchanges = self._histograms("svidecar_token_exchange_seconds")
        self._lookups = self._histograms("svidecar_sibling_lookup_seconds")
        self._memories = self._family("svidecar_transaction_memory_ratio", Kind.GAUGE, Reading)
        self._handshakes = self._histograms("svidecar_tls_handshake_seconds")
        self._connections = self._gauges("svidecar_connections")
        self._tunnels, self._tunnel_bytes, self._tunnel_durations = self._of_tunnels()
        self._svids = self._gauges("svidecar_svid_not_after_seconds")
        self.svid_rotations = self._counters("svidecar_svid_rotations_total").learn(())
        self._bundles = self._gauges("svidecar_bundle_not_after_seconds")
        self._crls = self._gauges("svidecar_crl_next_update_seconds")
        self.identity_age = self._family("svidecar_identity_age_seconds", Kind.GAUGE, partial(Age, now)).learn(())
        self._federation = self._counters("svidecar_federation_fetches_total")
        self._federation_ages = self._family("svidecar_federation_age_seconds", Kind.GAUGE, partial(Age, now))
        self._make_revocations()
        self._hear_the_agent()
        self.keys_age = self._family("svidecar_keys_age_seconds", Kind.GAUGE, partial(Age, now)).learn(())
        self.tls_context_generations = self._family("svidecar_tls_context_generations", Kind.GAUGE, Reading).learn(())
        self._reloads = self._counters("svidecar_reload_total")
        self.event_loop_lag = self._histograms("svidecar_event_loop_lag_seconds").learn(())
        self.access_log_dropped = self._counters("svidecar_access_log_dropped_total").learn(())
        build = (version, platform.python_version(), ssl.OPENSSL_VERSION, event_loop)
        self._gauges("svidecar_build_info").learn(build).set(1)
        self._decide()
        self._start_at_zero()
        self._service = service
        self._process = Process()

    def _hear_the_agent(self) -> None:
        self._agent_streams = self._gauges("svidecar_workload_api_stream_open")
        self._agent_reconnects = self._counters("svidecar_workload_api_reconnects_total")
        self._agent_errors = self._counters("svidecar_workload_api_errors_total")
        self._agent_last_errors = self._gauges("svidecar_workload_api_last_error_seconds")

    def _make_revocations(self) -> None:
        self._revocations = self._gauges("svidecar_revocations")
        self._revocation_ages = self._family("svidecar_revocation_age_seconds", Kind.GAUGE, partial(Age, self._now))
        self._revocation_events = self._counters("svidecar_revocation_events_total")

    def _family(
        self, name: str, kind: Kind, make: Callable[[], C], spread: Callable[[Values], Values] = tuple
    ) -> Family[C]:
        declaration = _DECLARED[name]
        if declaration.kind is not kind:
            raise TypeError(f"{name} is declared as a {declaration.kind}")
        family = Family(declaration, make, spread)
        self._families.append(family)
        return family

    def _counters(self, name: str) -> Family[Counter]:
        return self._family(name, Kind.COUNTER, Counter)

    def _gauges(self, name: str) -> Family[Gauge]:
        return self._family(name, Kind.GAUGE, Gauge)

    def _histograms(self, name: str, spread: Callable[[Values], Values] = tuple) -> Family[Histogram]:
        return self._family(name, Kind.HISTOGRAM, partial(Histogram, _DECLARED[name].buckets), spread)

    def _of_tunnels(self) -> tuple[Family[Gauge], Family[Counter], Family[Histogram]]:
        return (
            self._gauges("svidecar_tunnels"),
            self._counters("svidecar_tunnel_bytes_total"),
            self._histograms("svidecar_tunnel_seconds"),
        )

    def _decide(self) -> None:
        """What decides, and who writes it down."""
        self._authoriser = self._histograms("svidecar_authoriser_seconds")
        self._authoriser_cache = self._counters("svidecar_authoriser_cache_total")
        self._rules = self._gauges("svidecar_policy_rules")
        self._audit = (
            self._family("svidecar_audit_dropped_total", Kind.COUNTER, Reading),
            self._family("svidecar_audit_failing", Kind.GAUGE, Reading),
            self._family("svidecar_audit_lines", Kind.GAUGE, Reading),
        )

    def _start_at_zero(self) -> None:
        """A rate over a counter that appears with its first event misses that event."""
        for direction in ("inbound", "outbound"):
            self._connections.learn((direction, "handshaking"))
            self._connections.learn((direction, "open"))
        for result in ("hit", "miss"):
            self._cache.learn((result,))
        for result in ("ok", "failed"):
            self._reloads.learn((result,))

    def server_duration(self, method: bytes, status: int, route: str, error_type: str = "") -> Histogram:
        """Inbound requests. ``status`` 0: no answer was sent. ``route``: the template of the rule, or empty.

        Without an ``error_type`` a status from 500 on is one (OpenTelemetry, span status of a server).
        """
        code = _STATUSES.get(status)
        if code is None:
            code = _fold(status)
        if not error_type and status >= 500:
            error_type = code
        key = (METHODS.get(method, OTHER_METHOD), code, route, error_type)
        try:
            return self._servers.children[key]
        except KeyError:
            return self._servers.learn(key)

    def client_duration(self, method: bytes, status: int, error_type: str, destination_name: str) -> Histogram:
        """Outbound requests. ``destination_name``: the configured ``host`` or ``host:port``, empty if none matched.

        Without an ``error_type`` a status from 400 on is one (OpenTelemetry, span status of a client).
        """
        code = _STATUSES.get(status)
        if code is None:
            code = _fold(status)
        if not error_type and status >= 400:
            error_type = code
        key = (METHODS.get(method, OTHER_METHOD), code, error_type, destination_name)
        try:
            return self._clients.children[key]
        except KeyError:
            return self._clients.learn(key)

    def decision(self, direction: Direction, decision: Decision, reason: str, rule: str) -> Counter:
        """Verdicts. ``reason`` is one of ``errors.REASONS`` or empty, ``rule`` the name of a policy rule or empty."""
        key = (direction, decision, reason, rule)
        try:
            return self._decisions.children[key]
        except KeyError:
            return self._decisions.learn(key)

    def token_verify(self, result: str) -> Histogram:
        """Verifications. ``result``: ``verified`` or the reason of the refusal."""
        return self._verifications.learn((result,))

    def token_cache(self, result: Literal["hit", "miss"]) -> Counter:
        """Look-ups of the token cache. Bind both once."""
        return self._cache.learn((result,))

    def token_exchange(self, result: str) -> Histogram:
        """Requests to the Transaction Token Service. ``result``: ``obtained`` or the reason of the failure."""
        return self._exchanges.learn((result,))

    def sibling_lookup(self, result: str) -> Histogram:
        """Questions to the other processes of the app. ``result``: ``ok`` or the reason of the failure."""
        return self._lookups.learn((result,))

    def transaction_memory(self, memory: Literal["with_app", "used"]) -> Reading:
        """How full the memory is; whoever has it names its reader."""
        return self._memories.learn((memory,))

    def tls_handshake(self, role: Role, result: str) -> Histogram:
        """Handshakes. ``result``: ``ok`` or the reason of the failure."""
        return self._handshakes.learn((role, result))

    def connections(self, direction: Direction, state: State) -> Gauge:
        """Connections of a listener. Bind once; a connection is ``handshaking``, then ``open``."""
        return self._connections.learn((direction, state))

    def tunnels(self, direction: Direction) -> Gauge:
        """Tunnels of raw TCP that are open."""
        return self._tunnels.learn((direction,))

    def tunnel_bytes(self, direction: Direction, flow: Literal["to_client", "to_upstream"], rule: str) -> Counter:
        """Bytes in tunnels. Bind both when one opens. ``rule``: as of ``decision``."""
        return self._tunnel_bytes.learn((direction, flow, rule))

    def tunnel_duration(self, direction: Direction, reason: str) -> Histogram:
        """Tunnels that have ended. ``reason``: one of ``errors.REASONS``, empty where a side has closed it."""
        return self._tunnel_durations.learn((direction, reason))

    @property
    def svid_not_after(self) -> Gauge:
        """When our SVID ends. Not shown before it was used: an end in 1970 would ring every alarm."""
        return self._svids.learn(())

    def bundle_not_after(self, trust_domain: str) -> Gauge:
        """When the last authority of this bundle ends. Trust domains come from the configuration."""
        return self._bundles.learn((trust_domain,))

    def crl_next_update(self, trust_domain: str) -> Gauge:
        """When the first CRL of this trust domain grows old."""
        return self._crls.learn((trust_domain,))

    def federation_fetched(self, trust_domain: str, reason: str) -> None:
        """A bundle of a configured foreign domain was fetched now; or was not, for that reason."""
        self._federation.learn((trust_domain, reason or "ok")).inc()
        age = self._federation_ages.learn((trust_domain,))
        if not reason:
            age.since = self._now()

    def revocations(self, kind: str) -> Gauge:
        """Entries of what is revoked. ``kind``: one of ``policy.revocation.Kind``."""
        return self._revocations.learn((kind,))

    def revocation_heard(self, source: str, at: float) -> None:
        """Take when a source of what is revoked was heard last."""
        self._revocation_ages.learn((source,)).since = at

    def revocation_events(self, result: str) -> Counter:
        """Events of the feed. ``result``: ``ok``, ``again``, or the registered code of the refusal."""
        return self._revocation_events.learn((result,))

    def agent_stream(self, stream: str) -> Gauge:
        """Whether this stream of the agent is open and has brought something."""
        self._agent_reconnects.learn((stream,))  # from zero, beside it
        return self._agent_streams.learn((stream,))

    def agent_reconnects(self, stream: str) -> Counter:
        """How often this stream was opened again after it had worked."""
        return self._agent_reconnects.learn((stream,))

    def agent_errors(self, stream: str, kind: str) -> Counter:
        """Failures of a stream or call of the agent. ``kind``: one of ``workload_api.failure.Failure``."""
        return self._agent_errors.learn((stream, kind))

    def agent_last_error(self, stream: str, kind: str) -> Gauge:
        """When that failure was last seen."""
        return self._agent_last_errors.learn((stream, kind))

    def reload(self, result: Literal["ok", "failed"]) -> Counter:
        """Reloads of anything that is built aside and swapped whole."""
        return self._reloads.learn((result,))

    def identity_loaded(self, at: float) -> None:
        """A good identity is in use since then, on the clock that was given as ``now``."""
        self.identity_age.since = at

    def keys_loaded(self, at: float) -> None:
        """Good keys were loaded or confirmed then."""
        self.keys_age.since = at

    def authoriser(self, result: Literal["allow", "deny", "failed"]) -> Histogram:
        """Questions to the authoriser outside, not counting those that the cache knew."""
        return self._authoriser.learn((result,))

    def authoriser_cache(self, result: Literal["hit", "miss"]) -> Counter:
        """Look-ups of its answers."""
        return self._authoriser_cache.learn((result,))

    def policy_rules(self, mode: Literal["enforce", "audit"]) -> Gauge:
        """Inbound rules in this mode; of a listener in audit mode, all."""
        return self._rules.learn((mode,))

    def watch_audit(
        self, *, dropped: Callable[[], float], failing: Callable[[], float], lines: Callable[[], float]
    ) -> None:
        """There is an audit, and these tell of it when they are asked."""
        for family, read in zip(self._audit, (dropped, failing, lines), strict=True):
            family.learn(()).read = read

    def pieces(self) -> Iterator[Piece]:
        """Give all metrics in pieces (see ``Family.pieces``): who we are, what we counted, what the kernel counts."""
        service = single("target_info", write_labels([("service_name", self._service)]), 1)
        yield Piece(name="target_info", kind="info", help="Target metadata", lines=service)
        for family in self._families:
            yield from family.pieces()
        yield from self._process.pieces()

    def render(self, accept: str) -> tuple[str, Iterator[bytes]]:
        """Give content type and body piece by piece. Let the loop run between two."""
        content_type = choose(accept)
        return content_type, render(self.pieces(), content_type)

"""The interface that dashboards and alerts hold: metric names, kinds and labels, frozen here."""

from proxy.observe.table import TABLE, Kind

FROZEN = {
    "http_server_request_duration_seconds": "histogram http_request_method http_response_status_code http_route "
    "error_type url_scheme=https network_protocol_version=1.1",
    "http_client_request_duration_seconds": "histogram http_request_method http_response_status_code error_type "
    "server_address server_port network_protocol_version=1.1",
    "svidecar_overhead_seconds": "histogram direction",
    "svidecar_decisions_total": "counter direction decision reason rule",
    "svidecar_token_verify_seconds": "histogram result",
    "svidecar_token_cache_total": "counter result",
    "svidecar_token_exchange_seconds": "histogram result",
    "svidecar_transaction_memory_ratio": "gauge memory",
    "svidecar_sibling_lookup_seconds": "histogram result",
    "svidecar_tls_handshake_seconds": "histogram role result",
    "svidecar_connections": "gauge direction state",
    "svidecar_tunnels": "gauge direction",
    "svidecar_tunnel_bytes_total": "counter direction flow rule",
    "svidecar_tunnel_seconds": "histogram direction reason",
    "svidecar_svid_not_after_seconds": "gauge",
    "svidecar_svid_rotations_total": "counter",
    "svidecar_bundle_not_after_seconds": "gauge trust_domain",
    "svidecar_crl_next_update_seconds": "gauge trust_domain",
    "svidecar_identity_age_seconds": "gauge",
    "svidecar_federation_fetches_total": "counter trust_domain result",
    "svidecar_federation_age_seconds": "gauge trust_domain",
    "svidecar_revocations": "gauge kind",
    "svidecar_revocation_age_seconds": "gauge source",
    "svidecar_revocation_events_total": "counter result",
    "svidecar_workload_api_stream_open": "gauge stream",
    "svidecar_workload_api_reconnects_total": "counter stream",
    "svidecar_workload_api_errors_total": "counter stream kind",
    "svidecar_workload_api_last_error_seconds": "gauge stream kind",
    "svidecar_keys_age_seconds": "gauge",
    "svidecar_tls_context_generations": "gauge",
    "svidecar_reload_total": "counter result",
    "svidecar_event_loop_lag_seconds": "histogram",
    "svidecar_access_log_dropped_total": "counter",
    "svidecar_authoriser_seconds": "histogram result",
    "svidecar_authoriser_cache_total": "counter result",
    "svidecar_policy_rules": "gauge mode",
    "svidecar_audit_dropped_total": "counter",
    "svidecar_audit_failing": "gauge",
    "svidecar_audit_lines": "gauge",
    "svidecar_build_info": "gauge version python openssl event_loop",
}

OPENTELEMETRY_BUCKETS = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}


def test_names_and_labels_are_those_that_dashboards_hold() -> None:
    """Change this list only together with a note to operators."""
    declared = {
        d.name: " ".join([d.kind, *d.labels, *(f"{name}={value}" for name, value in d.constants)]) for d in TABLE
    }
    assert declared == FROZEN


def test_names_follow_prometheus() -> None:
    """A counter ends in ``_total`` and nothing else does; a histogram is in seconds; each has a help sentence."""
    for declaration in TABLE:
        assert declaration.name.endswith("_total") == (declaration.kind is Kind.COUNTER)
        assert declaration.name.endswith("_seconds") or declaration.kind is not Kind.HISTOGRAM
        assert declaration.help.endswith(".")


def test_no_label_can_hold_what_comes_from_outside() -> None:
    """No path, authority, subject, token, peer, transaction."""
    labels = {label for declaration in TABLE for label in declaration.labels}
    assert not {"path", "authority", "host", "sub", "subject", "token", "peer", "txn", "url"} & labels


def test_buckets_ascend_and_only_histograms_have_them() -> None:
    """Ascending, without a repetition, 20 at most: each is a line for each child."""
    for declaration in TABLE:
        assert bool(declaration.buckets) == (declaration.kind is Kind.HISTOGRAM)
        assert list(declaration.buckets) == sorted(set(declaration.buckets))
        assert len(declaration.buckets) <= 20


def test_request_buckets_hold_those_of_opentelemetry() -> None:
    """Finer ones come before, none of theirs is missing."""
    for declaration in TABLE:
        if declaration.name.startswith("http_"):
            assert set(declaration.buckets) >= OPENTELEMETRY_BUCKETS


def test_overhead_is_seen_from_25_us_on() -> None:
    """The bounds that DESIGN names."""
    (overhead,) = (d for d in TABLE if d.name == "svidecar_overhead_seconds")
    assert overhead.buckets == (
        0.000025, 0.00005, 0.000075, 0.0001, 0.00015, 0.00025, 0.0005,
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
    )  # fmt: skip

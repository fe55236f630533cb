"""The catalogue: what is handed out, and what a scrape reads."""

import pytest
from prometheus_client.core import Metric
from support.prometheus import declared, exposed, read, written

from proxy.errors import REASONS
from proxy.observe.catalog import Metrics
from proxy.observe.cells import Histogram
from proxy.observe.exposition import OPENMETRICS, TEXT
from proxy.observe.family import MAX_CHILDREN, OVERFLOW
from proxy.observe.table import TABLE, Kind


def metrics() -> Metrics:
    """A catalogue at the time 1000."""
    return Metrics("1.2.3", "orders", event_loop="uvloop", now=lambda: 1000.0)


def families(catalogue: Metrics, accept: str = "") -> dict[str, Metric]:
    """What an independent reader makes of a scrape, by name."""
    content_type, body = exposed(catalogue, accept)
    return read(body, content_type)


def labels(catalogue: Metrics, name: str) -> list[dict[str, str]]:
    """The labels of every child of a metric."""
    suffix = "_count" if name.endswith("_seconds") else ""
    family = families(catalogue)[name.removesuffix("_total")]
    return [sample.labels for sample in family.samples if sample.name == name + suffix]


def fill(catalogue: Metrics) -> None:
    """Use everything once."""
    catalogue.server_duration(b"GET", 200, "/orders/{id}").observe(0.2)
    catalogue.client_duration(b"POST", 200, "", "ledger").observe(0.1)
    catalogue.overhead_inbound.observe(33e-6)
    catalogue.overhead_outbound.observe(33e-6)
    for reason in REASONS:
        catalogue.decision("inbound", "deny", reason, "edge may order").inc()
    catalogue.token_verify("ok").observe(9e-5)
    catalogue.token_cache("hit").inc(3)
    catalogue.token_exchange("tts_refused").observe(0.01)
    catalogue.sibling_lookup("ok").observe(0.001)
    catalogue.transaction_memory("used").read = lambda: 0.5
    catalogue.tls_handshake("server", "ok").observe(0.002)
    catalogue.connections("inbound", "open").inc()
    catalogue.tunnels("inbound").inc()
    catalogue.tunnel_bytes("inbound", "to_client", "edge may order").inc(5)
    catalogue.tunnel_duration("inbound", "grant_ended").observe(12.0)
    catalogue.svid_not_after.set(2000.0)
    catalogue.svid_rotations.inc()
    catalogue.bundle_not_after("example.org").set(3000.0)
    catalogue.crl_next_update("example.org").set(3000.0)
    catalogue.identity_loaded(900.0)
    catalogue.federation_fetched("other.org", "")
    catalogue.revocations("txn").set(2)
    catalogue.revocation_heard("file", 980.0)
    catalogue.revocation_events("ok").inc()
    catalogue.agent_stream("x509").set(1)
    catalogue.agent_reconnects("x509").inc()
    catalogue.agent_errors("x509", "unreachable").inc()
    catalogue.agent_last_error("x509", "unreachable").set(950.0)
    catalogue.keys_loaded(990.0)
    catalogue.tls_context_generations.read = lambda: 2
    catalogue.reload("failed").inc()
    catalogue.event_loop_lag.observe(0.001)
    catalogue.access_log_dropped.inc()
    catalogue.authoriser("allow").observe(0.001)
    catalogue.authoriser_cache("hit").inc()
    catalogue.policy_rules("audit").set(1)
    catalogue.watch_audit(dropped=lambda: 1, failing=lambda: 0, lines=lambda: 7)


@pytest.mark.parametrize(("accept", "content_type"), [("", TEXT), ("application/openmetrics-text", OPENMETRICS)])
def test_exposition_reads_back(accept: str, content_type: str) -> None:
    """Every metric of the table is read by the library's own parsers, with its kind, its labels and its value."""
    catalogue = metrics()
    fill(catalogue)
    assert exposed(catalogue, accept)[0] == content_type
    found = families(catalogue, accept)
    for declaration in TABLE:
        family = found[declaration.name.removesuffix("_total")]
        assert family.type == declaration.kind
        assert family.documentation == declaration.help
        expected = {*declaration.labels, *(name for name, _ in declaration.constants)}
        assert all(set(sample.labels) - {"le"} == expected for sample in family.samples)
        assert family.samples
        if declaration.kind is Kind.HISTOGRAM:
            assert {"+Inf"} < {sample.labels["le"] for sample in family.samples if "le" in sample.labels}


def test_process_metrics_and_service_are_there() -> None:
    """Memory, CPU and descriptors, as every Prometheus client names them; the service as OpenTelemetry does."""
    found = families(metrics())
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds", "process_max_fds"} <= set(found)
    assert found["target_info"].samples[0].labels == {"service_name": "orders"}


@pytest.mark.parametrize(("accept", "content_type"), [("", TEXT), ("application/openmetrics-text", OPENMETRICS)])
def test_a_scrape_is_what_the_library_would_have_written(accept: str, content_type: str) -> None:
    """Byte for byte, up to the process metrics, which change while one looks."""
    catalogue = metrics()
    fill(catalogue)
    catalogue.svid_rotations.inc(12_345_678)
    for i in range(100):
        catalogue.server_duration(b"GET", 200, f"/orders/{i}").observe(i / 1000)
    cells = [
        declared(family.declaration, ((family._spread(key), cell) for key, cell in family.children.items()))
        for family in catalogue._families
    ]
    ours, _, process = exposed(catalogue, accept)[1].partition(b"# HELP process_")
    assert ours == written(cells, content_type, "orders").removesuffix(b"# EOF\n")
    assert process.endswith(b"\n# EOF\n") == (content_type == OPENMETRICS)


def test_no_series_stands_twice() -> None:
    """Prometheus refuses such a scrape whole."""
    catalogue = metrics()
    fill(catalogue)
    catalogue.server_duration(b"GET", 500, "/x").observe(1)
    catalogue.server_duration(b"GET", 500, "/x", "500").observe(1)
    catalogue.client_duration(b"GET", 200, "", "a:80").observe(1)
    catalogue.client_duration(b"GET", 200, "", "a").observe(1)
    lines = [line.rsplit(" ", 1)[0] for line in exposed(catalogue)[1].decode().splitlines() if line[0] != "#"]
    assert len(lines) == len(set(lines))


def test_two_catalogues_share_nothing() -> None:
    """Each has a registry of its own: tests and the demo run several in one process."""
    one, other = metrics(), metrics()
    one.svid_rotations.inc()
    assert other.svid_rotations.value == 0


def test_the_same_labels_find_the_same_cell() -> None:
    """Otherwise counts would be lost."""
    catalogue = metrics()
    first = catalogue.server_duration(b"GET", 200, "/x", "")
    assert isinstance(first, Histogram)
    assert catalogue.server_duration(b"GET", 200, "/x") is first
    assert catalogue.client_duration(b"GET", 200, "", "l") is catalogue.client_duration(b"GET", 200, "", "l")
    assert catalogue.decision("inbound", "allow", "", "r") is catalogue.decision("inbound", "allow", "", "r")


def test_server_labels_are_opentelemetrys() -> None:
    """Names and values of http.server.request.duration."""
    catalogue = metrics()
    catalogue.server_duration(b"GET", 200, "/orders/{id}").observe(1)
    assert labels(catalogue, "http_server_request_duration_seconds") == [
        {
            "http_request_method": "GET",
            "http_response_status_code": "200",
            "http_route": "/orders/{id}",
            "error_type": "",
            "url_scheme": "https",
            "network_protocol_version": "1.1",
        }
    ]


@pytest.mark.parametrize(
    ("destination", "address", "port"),
    [("ledger", "ledger", ""), ("ledger:8080", "ledger", "8080"), ("[::1]", "[::1]", ""), ("[::1]:80", "[::1]", "80")],
)
def test_client_labels_are_opentelemetrys(destination: str, address: str, port: str) -> None:
    """The destination is the configured host, in two labels."""
    catalogue = metrics()
    catalogue.client_duration(b"GET", 200, "", destination).observe(1)
    (found,) = labels(catalogue, "http_client_request_duration_seconds")
    assert (found["server_address"], found["server_port"]) == (address, port)


@pytest.mark.parametrize(
    ("status", "label"),
    [
        (0, ""),
        (200, "200"),
        (201, "201"),
        (299, "200"),
        (499, "400"),
        (599, "500"),
        (600, "500"),
        (999, "500"),
        (99, "500"),
        (-1, "500"),
    ],
)
def test_statuses_are_a_fixed_set(status: int, label: str) -> None:
    """An upstream that invents statuses makes no child of its own."""
    catalogue = metrics()
    catalogue.server_duration(b"GET", status, "/x", "e").observe(1)
    (found,) = labels(catalogue, "http_server_request_duration_seconds")
    assert found["http_response_status_code"] == label


@pytest.mark.parametrize(
    ("side", "status", "given", "error_type"),
    [
        ("server", 200, "", ""),
        ("server", 404, "", ""),
        ("server", 500, "", "500"),
        ("server", 502, "upstream_down", "upstream_down"),
        ("server", 0, "client_closed", "client_closed"),
        ("client", 399, "", ""),
        ("client", 404, "", "404"),
        ("client", 503, "", "503"),
        ("client", 0, "upstream_timeout", "upstream_timeout"),
    ],
)
def test_a_status_is_an_error_where_opentelemetry_says_so(side: str, status: int, given: str, error_type: str) -> None:
    """For a server from 500 on, for a client from 400 on; a reason of ours goes first."""
    catalogue = metrics()
    if side == "server":
        catalogue.server_duration(b"GET", status, "/x", given).observe(1)
    else:
        catalogue.client_duration(b"GET", status, given, "x").observe(1)
    (found,) = labels(catalogue, f"http_{side}_request_duration_seconds")
    assert found["error_type"] == error_type


def test_a_caller_cannot_make_children() -> None:
    """Methods and statuses of an attacker fold into a few; a route of the configuration still gets its own child."""
    catalogue = metrics()
    for i in range(3 * MAX_CHILDREN):
        catalogue.server_duration(b"X%d" % i, i, "")
        catalogue.client_duration(b"get%d" % i, i, "", "")
    assert len(catalogue._servers.children) < 100
    assert len(catalogue._clients.children) < 200
    catalogue.server_duration(b"GET", 200, "/orders").observe(1)
    assert "/orders" in {found["http_route"] for found in labels(catalogue, "http_server_request_duration_seconds")}


def test_the_limit_holds_for_every_metric_with_labels() -> None:
    """At the limit the last has a child of its own, one past it the overflow counts, on the hot path too."""
    catalogue = metrics()
    cells = [catalogue.decision("inbound", "deny", "x", str(i)) for i in range(MAX_CHILDREN)]
    assert len(set(map(id, cells))) == MAX_CHILDREN
    beyond = catalogue.decision("inbound", "deny", "x", "one more")
    assert beyond is catalogue.decision("inbound", "deny", "x", "and another")
    beyond.inc()
    found = labels(catalogue, "svidecar_decisions_total")
    assert len(found) == MAX_CHILDREN + 1
    assert found[-1] == dict.fromkeys(("direction", "decision", "reason", "rule"), OVERFLOW)


def test_values_from_the_configuration_are_escaped() -> None:
    """A route or rule with quotes, line feeds or half a surrogate pair (YAML can write one) breaks no scrape."""
    catalogue = metrics()
    routes = ['/a"b', "/c\nd", "/e\\f", '/"} 1\nforged{x="', "/\ud800", "/漢"]
    for route in routes:
        catalogue.server_duration(b"GET", 200, route).observe(1)
    found = [each["http_route"] for each in labels(catalogue, "http_server_request_duration_seconds")]
    assert found == [route.replace("\ud800", "\\ud800") for route in routes]


def test_ages_grow_and_are_missing_before_the_first_time() -> None:
    """An age of 0, or an end in 1970, for something that was never loaded would be a lie."""
    clock = [1000.0]
    catalogue = Metrics("1", "s", now=lambda: clock[0])
    absent = ("identity_age_seconds", "keys_age_seconds", "svid_not_after_seconds", "tls_context_generations")
    assert all(not families(catalogue)[f"svidecar_{name}"].samples for name in absent)
    catalogue.identity_loaded(990.0)
    clock[0] = 1005.0
    assert families(catalogue)["svidecar_identity_age_seconds"].samples[0].value == 15.0


def test_counters_that_are_known_begin_at_zero() -> None:
    """A rate needs the 0 before the 1."""
    assert [found["result"] for found in labels(metrics(), "svidecar_reload_total")] == ["ok", "failed"]
    assert [found["result"] for found in labels(metrics(), "svidecar_token_cache_total")] == ["hit", "miss"]
    assert len(labels(metrics(), "svidecar_connections")) == 4


def test_a_declaration_of_another_kind_is_a_mistake() -> None:
    """The table says what a metric is; the code cannot make it something else."""
    with pytest.raises(TypeError, match="declared as a counter"):
        metrics()._gauges("svidecar_decisions_total")


def test_build_info_names_what_runs() -> None:
    """Version, Python, OpenSSL, loop."""
    info = families(metrics())["svidecar_build_info"].samples[0]
    assert info.value == 1
    assert info.labels["version"] == "1.2.3"
    assert info.labels["event_loop"] == "uvloop"
    assert info.labels["openssl"].startswith("OpenSSL")

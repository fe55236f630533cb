"""Good values -> the Settings of every room."""

from pathlib import Path

import pytest
from support.yaml_text import BASE, CONFIG, DESIGN, GOOD, INBOUND, OUTBOUND, WHO, settings

from proxy.config.settings import SidecarSettings
from proxy.net.transport import EventLoop
from proxy.policy.settings import Ambiguity, Protection
from proxy.tokens.settings import AskSettings, ServiceSettings, TokenSettings

FILES = "files: {svid: svid.pem, key: svid_key.pem, bundle: svid_bundle.pem}"


def test_the_design_as_it_is_written() -> None:
    """Section 6, with files for its source."""
    found = settings(DESIGN.replace("source: workload_api", FILES))
    assert found.service == "orders"
    assert found.inbound is not None
    assert found.outbound is not None
    assert (found.inbound.listener.host, found.inbound.listener.port) == ("0.0.0.0", 15006)
    assert (found.inbound.app_host, found.inbound.app_port) == ("127.0.0.1", 8080)
    assert (found.outbound.listener.host, found.outbound.listener.port) == ("127.0.0.1", 15001)
    (ledger,) = found.destinations
    assert (ledger.host, ledger.address) == ("ledger", "ledger.default.svc:15006")
    assert (ledger.spiffe_id, ledger.token) == ("spiffe://example.org/ledger", AskSettings(scope=("ledger.write",)))
    assert ledger.protection is Protection.MTLS
    assert found.tokens.service == ServiceSettings(
        url="https://tts.default.svc/token", spiffe_id="spiffe://example.org/tts"
    )
    (rule,) = found.policy.rules
    assert (rule.name, rule.peers, rule.scopes) == (
        "edge may order",
        ("spiffe://example.org/edge",),
        ("orders.read", "orders.write"),
    )
    assert [(route.match, route.scopes) for route in rule.routes] == [
        ("GET /orders/{id}", ("orders.read",)),
        ("POST /orders", ("orders.write",)),
    ]


def test_every_default_is_that_of_the_rooms() -> None:
    """sidecar.yaml writes out each of them: the Settings are those of a file that leaves them all out."""
    whole = (CONFIG / "sidecar.yaml").read_text()
    brief = """\
service: orders
trust_domain: example.org
identity: {files: {svid: /run/spiffe/svid.pem, key: /run/spiffe/svid_key.pem, bundle: /run/spiffe/svid_bundle.pem}}
inbound: {app: http://127.0.0.1:8080}
outbound:
  destinations:
    - {host: ledger, address: ledger.default.svc:15006, spiffe_id: spiffe://example.org/ledger, token: {scope: ledger.write}}
tokens:
  keys: https://tts.default.svc/jwks
  issuer: https://tts.example.org
  service: {url: https://tts.default.svc/token, spiffe_id: spiffe://example.org/tts}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    audiences: [example.org]
    routes:
      - {match: "GET /orders/{id}", scopes: [orders.read]}
      - {match: "POST /orders", scopes: [orders.write]}
"""
    assert settings(whole) == settings(brief)


def test_paths_begin_at_the_folder_of_the_file() -> None:
    """Relative ones; absolute ones stay, and URLs are no paths."""
    text = GOOD.replace("key: svid_key.pem", "key: /run/k.pem").replace(
        "svid_bundle.pem}", "../b.pem, federated: {other.org: o.pem}, poll: 5s}"
    )
    found = settings(text + "access_log: access.log\n")
    files = found.identity.files
    assert files is not None
    assert (files.svid, files.key, files.bundle) == (BASE / "svid.pem", Path("/run/k.pem"), BASE / "../b.pem")
    assert files.federated == {"other.org": BASE / "o.pem"}
    assert files.poll_s == 5.0
    assert found.tokens.keys == "/etc/svidecar/jwks.json"
    assert found.access_log.path == "/etc/svidecar/access.log"
    assert settings(GOOD.replace("jwks.json", "https://t/jwks")).tokens.keys == "https://t/jwks"


@pytest.mark.parametrize(
    ("written", "path"),
    [("off", "off"), ("'off'", "off"), ("false", "off"), ("stdout", "stdout"), ("stderr", "stderr"), ("/a", "/a")],
)
def test_access_log(written: str, path: str) -> None:
    """An unquoted off, which YAML takes for false, is off."""
    assert settings(GOOD + f"access_log: {written}\n").access_log.path == path


def test_limits_and_timeouts_are_of_both_listeners() -> None:
    """Written once; the pools have their own idle times."""
    found = settings(
        GOOD
        + "limits: {head: 32KiB, connections: 5, handshakes: 6, upstream_connections: 7, upstream_idle_connections: 3}\n"
        + "timeouts: {idle: 2m, connect: 250ms, app_idle: 3s, upstream_idle: 40}\n"
    )
    assert found.inbound is not None
    assert found.outbound is not None
    for listener in (found.inbound.listener, found.outbound.listener):
        assert listener.limits.head_bytes == 32768
        assert (listener.max_connections, listener.max_handshakes) == (5, 6)
        assert listener.timeouts.idle_s == 120.0
    for pool in (found.inbound.pool, found.outbound.pool):
        assert (pool.connect_timeout_s, pool.max_connections, pool.max_idle) == (0.25, 7, 3)
    assert (found.inbound.pool.idle_s, found.outbound.pool.idle_s) == (3.0, 40.0)


def test_the_app_idle_time_is_not_that_of_the_mesh() -> None:
    """Changing the one leaves the other at its default."""
    found = settings(GOOD + "timeouts: {app_idle: 3s}\n")
    assert found.outbound is not None
    assert found.outbound.pool.idle_s == 60.0


def test_the_operators_ports() -> None:
    """Each listens where it is told."""
    lines = "metrics: {listen: '127.0.0.1:0'}\nhealth: {listen: '[::1]:2'}\nadmin: {listen: '127.0.0.2:3'}\n"
    admin = settings(GOOD + lines).admin
    assert (admin.metrics_host, admin.metrics_port) == ("127.0.0.1", 0)
    assert (admin.health_host, admin.health_port) == ("::1", 2)
    assert (admin.admin_host, admin.admin_port) == ("127.0.0.2", 3)


def test_the_rest() -> None:
    """Loop, TLS, end, ambiguities."""
    found = settings(
        GOOD
        + "event_loop: asyncio\ntls: {min_version: 1.2, handshake_timeout: 2s}\nshutdown: {grace: 5s, quiet: 0}\n"
        + "allow_ambiguous: [encoded_slash, semicolon]\n"
    )
    assert found.event_loop is EventLoop.ASYNCIO
    assert (found.tls.min_version, found.tls.handshake_timeout_s) == ("1.2", 2.0)
    assert (found.shutdown_grace_s, found.shutdown_quiet_s) == (5.0, 0.0)
    assert found.policy.allow == {Ambiguity.ENCODED_SLASH, Ambiguity.SEMICOLON}


def _tokens(line: str) -> TokenSettings:
    return settings(GOOD.replace("tokens: {keys: jwks.json}", f"tokens: {{{line}}}")).tokens


def test_the_audience_is_the_trust_domain_by_default() -> None:
    """As the draft has it."""
    assert _tokens("keys: k").audience == "example.org"
    assert _tokens("keys: k, audience: other.org").audience == "other.org"


SERVICE = "service: {url: 'https://tts:8443/token', spiffe_id: spiffe://example.org/tts}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"keys: 'https://tts:8443/jwks', {SERVICE}", "spiffe://example.org/tts"),
        (
            f"keys: 'https://tts:8443/jwks', keys_spiffe_id: spiffe://example.org/keys, {SERVICE}",
            "spiffe://example.org/keys",
        ),
        (f"keys: 'https://tts/jwks', {SERVICE}", None),
        (f"keys: 'https://other:8443/jwks', {SERVICE}", None),
        (f"keys: 'http://tts:8443/jwks', {SERVICE}", None),
        (f"keys: tts.json, {SERVICE}", None),
        ("keys: 'https://tts:8443/jwks'", None),
    ],
)
def test_keys_of_the_token_service_are_served_under_its_svid(line: str, expected: str | None) -> None:
    """The same host and port show the same certificate; any other server is known by the Web PKI."""
    assert _tokens(line).keys_spiffe_id == expected


def test_without_inbound_no_keys_are_needed() -> None:
    """Empty, which no path is."""
    found = settings(WHO + OUTBOUND)
    assert found.inbound is None
    assert found.tokens.keys == ""
    assert found.policy.rules == ()


def test_without_outbound_there_are_no_destinations() -> None:
    """Nothing may be called."""
    found: SidecarSettings = settings(WHO + INBOUND)
    assert found.outbound is None
    assert found.destinations == ()

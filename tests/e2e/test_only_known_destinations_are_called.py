"""Outbound is default deny by authority, and there is one authority: what is judged is what is sent (specs 6.4)."""

import pytest
from support.apps import App
from support.mesh import Mesh, outbound
from support.sidecar import Sidecar
from support.wire import Wire


@pytest.fixture(scope="module")
def apps(mesh: Mesh) -> dict[str, App]:
    """Two apps: which one was called tells how the authority was read."""
    return {"any": mesh.app(), "port": mesh.app()}


@pytest.fixture(scope="module")
def edge(mesh: Mesh, apps: dict[str, App]) -> Sidecar:
    """One destination for any port, one for a port of its own."""
    return mesh.start(
        "edge",
        outbound(
            f'host: ledger, address: "127.0.0.1:{apps["any"].port}", protection: plain',
            f'host: "ledger:8443", address: "127.0.0.1:{apps["port"].port}", protection: plain',
            f'host: "[::1]:80", address: "127.0.0.1:{apps["any"].port}", protection: plain',
        )
        + "tokens: {keys: jwks.json}\ntimeouts: {linger: 100ms}\n",
    )


@pytest.fixture
def wire(mesh: Mesh, edge: Sidecar) -> Wire:
    """A connection of the app beside ``edge``."""
    return mesh.plain(edge.ports["outbound"])


def _send(wire: Wire, target: str, host: str) -> tuple[int, str]:
    answer = wire.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")).reply()
    return answer.status, answer.reason


@pytest.mark.parametrize(
    ("target", "host", "called", "authority"),
    [
        ("/a", "ledger", "any", "ledger"),
        ("/a", "LEDGER", "any", "LEDGER"),
        ("/a", "ledger:80", "any", "ledger:80"),
        ("/a", "ledger:9", "any", "ledger:9"),
        ("/a", "Ledger:8443", "port", "Ledger:8443"),
        ("/a", "[0:0:0:0:0:0:0:1]", "any", "[0:0:0:0:0:0:0:1]"),
        ("http://ledger/a", "evil", "any", "ledger"),
        ("http://ledger:8443/a", "ledger", "port", "ledger:8443"),
        ("HTTP://LEDGER/a", "ledger:8443", "any", "LEDGER"),
        ("https://ledger:8443/a", "ledger", "port", "ledger:8443"),
        ("http://ledger", "evil", "any", "ledger"),
        ("http://ledger?q=1", "evil", "any", "ledger"),
    ],
)
def test_the_effective_authority(
    apps: dict[str, App], wire: Wire, target: str, host: str, called: str, authority: str
) -> None:
    """Of absolute-form, whatever Host says; and Host is made of it."""
    before = {name: len(app.requests) for name, app in apps.items()}
    assert _send(wire, target, host) == (200, "")
    assert {n for n, app in apps.items() if len(app.requests) > before[n]} == {called}
    assert apps[called].fields("host") == [authority]
    assert apps[called].requests[-1]["target"] in {"/a", "/", "/?q=1"}


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/a", "unknown"),
        ("/a", "ledger.example.org"),
        ("/a", "xledger"),
        ("http://evil/a", "ledger"),
        ("http://evil:80/a", "ledger"),
        ("/a", "[::2]"),
        ("/a", "127.0.0.1"),
        ("/a", "localhost:15000"),
    ],
)
def test_unknown_destinations(apps: dict[str, App], edge: Sidecar, wire: Wire, target: str, host: str) -> None:
    """403, counted, and nobody is called."""
    seen = sum(len(app.requests) for app in apps.values())
    assert _send(wire, target, host) == (403, "destination_unknown")
    assert edge.decisions(reason="destination_unknown", direction="outbound", decision="deny") >= 1
    assert sum(len(app.requests) for app in apps.values()) == seen


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/a", "ledger@evil"),
        ("/a", "evil@ledger"),
        ("http://user@ledger/a", "ledger"),
        ("http://evil#@ledger/a", "ledger"),
        ("http://ledger\\@evil/a", "ledger"),
        ("/a", "ledger:0"),
        ("/a", "ledger:"),
        ("/a", "ledger:65536"),
        ("/a", "ledger:+80"),
        ("/a", "ledger:080"),
        ("/a", "ledger."),
        ("/a", "led ger"),
        ("/a", "ledger,evil"),
        ("/a", "ledger/evil"),
        ("/a", "l\xe9dger"),
        ("/a", "[::1"),
        ("/a", ""),
        ("http:///a", "ledger"),
        ("ftp://ledger/a", "ledger"),
        ("//evil/a", "unknown"),
        ("ledger:80", "ledger"),
    ],
)
def test_authority_tricks(apps: dict[str, App], wire: Wire, target: str, host: str) -> None:
    """What two parsers could read differently goes nowhere."""
    seen = sum(len(app.requests) for app in apps.values())
    status, reason = _send(wire, target, host)
    assert status in {400, 403, 501}, (status, reason)
    assert reason in {"bad_host", "bad_request", "destination_unknown"}
    assert sum(len(app.requests) for app in apps.values()) == seen


def test_what_a_caller_invents_is_no_label(edge: Sidecar) -> None:
    """Neither a host nor a path."""
    metrics = edge.get("metrics", "/metrics")[1]
    assert "ledger" in metrics
    assert not any(invented in metrics for invented in ("evil", '="unknown"', "xledger", "localhost", '"/a'))


def test_host_twice_or_not_at_all(wire: Wire, mesh: Mesh, edge: Sidecar) -> None:
    """HTTP/1.1 needs exactly one; HTTP/1.0 without one has no destination here."""
    assert wire.send(b"GET /a HTTP/1.1\r\nHost: ledger\r\nHost: ledger\r\n\r\n").reply().reason == "bad_host"
    assert mesh.plain(edge.ports["outbound"]).send(b"GET /a HTTP/1.1\r\n\r\n").reply().reason == "bad_host"
    assert mesh.plain(edge.ports["outbound"]).send(b"GET /a HTTP/1.0\r\n\r\n").reply().reason == "bad_host"

"""Without an identity that holds the process stays, says what is wrong and what to do, serves nobody; then it comes."""

import contextlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.apps import RawApp, Recorder
from support.mesh import EDGE, INBOUND, Mesh, orders_at, outbound
from support.pki import Authority, new_key, write_svid
from support.sidecar import Sidecar, wait_until
from support.wire import request

Write = Callable[[Mesh, Path], object]

WRONG: dict[str, tuple[Write, str, str]] = {
    "nothing": (lambda _mesh, _folder: None, "there is no file", "start the source that writes it"),
    "expired": (
        lambda mesh, folder: write_svid(folder, mesh.ca.svid(EDGE, lifetime_s=-90), mesh.ca),
        "ended 2 min ago",
        "the source that writes it has stopped",
    ),
    "not yet valid": (
        lambda mesh, folder: write_svid(folder, mesh.ca.svid(EDGE, now=time.time() + 7200), mesh.ca),
        "begins in 2 h",
        "the clock of this machine",
    ),
    "key of another": (
        lambda mesh, folder: write_svid(folder, replace(mesh.ca.svid(EDGE), key=new_key()), mesh.ca),
        "does not belong to the certificate",
        "write both again",
    ),
    "bundle of another CA": (
        lambda mesh, folder: write_svid(folder, mesh.ca.svid(EDGE), Authority.make("example.org")),
        "does not verify against the bundle",
        "must hold the authority that issued it",
    ),
    "another trust domain": (
        lambda _mesh, folder: write_svid(folder, (o := Authority.make("other.org")).svid("spiffe://other.org/edge"), o),
        "is of trust domain other.org, but trust_domain is example.org",
        "one of the two must change",
    ),
    "half written": (
        lambda mesh, folder: (
            write_svid(folder, mesh.ca.svid(EDGE), mesh.ca),
            (folder / "svid_key.pem").write_bytes(b""),
        ),
        "svid_key.pem is empty",
        "it may be in the middle of being written",
    ),
}
"""What the files hold -> what is said of it, and what a person should do."""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """An app that counts connections."""
    return mesh.raw_app(Recorder())


@pytest.fixture(scope="module")
def orders(mesh: Mesh) -> Sidecar:
    """Whom the waiting sidecar wants to call."""
    return mesh.start("orders", INBOUND.format(app=mesh.app().port))


@pytest.mark.parametrize("case", WRONG)
def test_it_waits_and_then_serves(mesh: Mesh, app: RawApp, orders: Sidecar, case: str) -> None:
    """Each wrong set in turn: up, not ready, serving nobody in either direction; the good set mends it at once."""
    write, what, advice = WRONG[case]
    name = f"edge-{list(WRONG).index(case)}"
    folder = mesh.folder / name
    mesh.svids[name] = mesh.ca.svid(EDGE)
    write(mesh, folder)
    edge = mesh.launch(name, INBOUND.format(app=app.port) + outbound(orders_at(orders)))
    _says(edge, what, advice)
    _serves_nobody(mesh, edge, app)
    write_svid(folder, mesh.svids[name], mesh.ca)
    edge.wait_until_ready()
    before = app.accepted
    assert mesh.connect(edge.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert app.accepted == before + 1
    assert mesh.plain(edge.ports["outbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert edge.metric("svidecar_svid_rotations_total") == 0, "the first identity rotates nothing"


def _says(edge: Sidecar, what: str, advice: str) -> None:
    assert edge.get("health", "/healthz/live")[0] == 200
    status, text = edge.get("health", "/healthz/ready")
    gates = json.loads(text)["gates"]
    assert status == 503
    assert {name for name, gate in gates.items() if not gate["ok"]} >= {"svid", "bundle"}
    detail = gates["svid"]["detail"]
    assert what in detail
    assert advice in detail
    edge.wait_for_log(detail)
    assert edge.metric("svidecar_reload_total", result="failed") == 1
    assert sum(detail in line for line in edge.lines) == 1, "told once, however often it is looked at"
    assert gates["listeners"]["ok"]
    assert gates["policy"]["ok"]


def _serves_nobody(mesh: Mesh, edge: Sidecar, app: RawApp) -> None:
    before = app.accepted
    with pytest.raises((ssl.SSLError, ConnectionError)):
        mesh.connect(edge.ports["inbound"])
    plain = mesh.plain(edge.ports["inbound"])
    with contextlib.suppress(ConnectionError):
        plain.send(request("GET", "/orders/1", mesh.bearer()))
    assert plain.ends()
    edge.wait_for_decision(2, direction="inbound", reason="not_ready")
    answer = mesh.plain(edge.ports["outbound"]).ask("GET", "/orders/1", mesh.bearer())
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "not_ready", "1")
    assert app.accepted == before


def test_an_svid_that_ends_while_serving(mesh: Mesh, app: RawApp) -> None:
    """Its source has stopped: no longer ready and it says so, no request passes any more; a new one heals it."""
    brief = mesh.start("brief", INBOUND.format(app=app.port))
    mesh.svid("brief", lifetime_s=5)
    wait_until(lambda: brief.metric("svidecar_svid_rotations_total") == 1, "the one that ends soon")
    wire = mesh.connect(brief.ports["inbound"])
    assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200
    wait_until(lambda: not brief.ready, "not ready")
    assert "the SVID has ended" in brief.get("health", "/healthz/ready")[1]
    seen = app.accepted
    assert wire.ends(), "it was closed with the SVID, without a word"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        mesh.connect(brief.ports["inbound"])
    assert app.accepted == seen
    mesh.svid("brief")
    brief.wait_until_ready()
    assert mesh.connect(brief.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200

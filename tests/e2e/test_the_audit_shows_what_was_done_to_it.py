"""Each decision is a line of a signed chain: what is changed, removed, moved or put in is found; nothing waits for it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.mesh import EDGE, ORDERS, Mesh, new_trace
from support.secrecy import leaks
from support.sidecar import Sidecar, wait_until

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
outbound:
  listen: 127.0.0.1:0
  destinations: [{{host: ledger, address: "127.0.0.1:{app}", protection: plain}}]
tokens: {{keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "POST /orders", scopes: [orders.write]}}
"""


def lines_of(path: Path, count: int = 0, **members: Any) -> list[dict[str, Any]]:
    """The lines that have these members; waits for so many."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        found[:] = [line for line in lines if members.items() <= line.items()]
        return len(found) >= count

    wait_until(look, f"{count} lines with {members}")
    return found


def verify(*arguments: str | Path) -> tuple[int, str]:
    """Run the verb; give its exit code, and what it says."""
    command = [sys.executable, "-m", "proxy", "audit", "verify", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def by_bundle(mesh: Mesh, name: str = "orders") -> list[str | Path]:
    """The options that name our bundle."""
    return ["--bundle", mesh.folder / name / "svid_bundle.pem", "--spiffe-id", ORDERS]


@pytest.fixture(scope="module")
def audit(mesh: Mesh) -> Path:
    """The file of the audit."""
    return mesh.folder / "audit.log"


@pytest.fixture(scope="module")
def orders(mesh: Mesh, audit: Path) -> Sidecar:
    """A sidecar with an audit."""
    return mesh.start(
        "orders", YAML.format(app=mesh.app().port), audit=f"{{file: {audit.name}, path: full, checkpoint: 200ms}}"
    )


def test_every_decision_has_a_line(mesh: Mesh, orders: Sidecar, audit: Path) -> None:
    """Who asked for whom through whom, what was decided by which rules, and what came of it."""
    wire = mesh.connect(orders.ports["inbound"])
    trace = new_trace()
    act = {"sub": "agent-2", "act": {"sub": "agent-1"}}
    assert wire.ask("GET", "/orders/7?q=1", mesh.bearer(scope="orders.read", act=act) | trace).status == 200
    assert wire.ask("POST", "/orders", mesh.bearer(scope="orders.read")).reason == "scope_missing"
    assert wire.ask("GET", "/orders/8").reason == "token_missing"
    (line,) = lines_of(audit, 1, trace_id=trace["traceparent"].split("-")[1])
    (admitted, *_) = lines_of(audit, 1, kind="connection", decision="allow")
    assert (line["conn"], line["peer"], line["local"]) == (admitted["conn"], EDGE, ORDERS)
    assert (line["decision"], line["rule"], line["route"]) == ("allow", "edge may order", "/orders/{id}")
    assert (line["act"], line["scope"], line["aud"]) == (["agent-2", "agent-1"], "orders.read", "example.org")
    assert line["sub"]
    assert line["req_wl"]
    assert line["path"] == "/orders/7", "without its query"
    assert (line["status"], line["upstream_status"]) == (200, 200)
    assert line["own_us"] <= line["duration_us"]
    (taken,) = lines_of(audit, 1, kind="policy", direction="inbound")
    assert line["policy"] == taken["policy"]
    (refused,) = lines_of(audit, 1, reason="scope_missing")
    assert (refused["decision"], refused["status"], refused["path"]) == ("deny", 403, "/orders")
    assert "upstream_status" not in refused
    (bare,) = lines_of(audit, 1, reason="token_missing")
    assert not {"sub", "txn", "scope"} & bare.keys(), "nobody has said who it is for"


def test_peers_and_destinations_too(mesh: Mesh, orders: Sidecar, audit: Path) -> None:
    """A peer that no rule names, and a host that the app may not call."""
    mesh.svid("nobody")
    mesh.connect(orders.ports["inbound"], "nobody").rest()
    (refused,) = lines_of(audit, 1, reason="peer_not_allowed")
    assert (refused["kind"], refused["decision"], refused["peer"]) == (
        "connection",
        "deny",
        "spiffe://example.org/nobody",
    )
    app = mesh.plain(orders.ports["outbound"])
    assert app.ask("GET", "/x", {"Host": "elsewhere"}).reason == "destination_unknown"
    (unknown,) = lines_of(audit, 1, reason="destination_unknown")
    assert (unknown["direction"], unknown["host"]) == ("outbound", "elsewhere")
    assert mesh.plain(orders.ports["outbound"]).ask("GET", "/y", {"Host": "ledger"}).status == 200
    (called,) = lines_of(audit, 1, direction="outbound", decision="allow")
    assert called["destination"] == "ledger"


def test_no_token_is_ever_in_it(mesh: Mesh, orders: Sidecar, audit: Path) -> None:
    """Wherever a caller puts one: in the path, the query, the method, the host."""
    token = mesh.mint.token().decode()
    wire = mesh.connect(orders.ports["inbound"])
    before = len(lines_of(audit, kind="request"))
    wire.ask("GET", f"/orders/{token}?t={token}", mesh.bearer(scope="orders.read"))
    mesh.plain(orders.ports["outbound"]).ask("GET", f"/{token}", {"Host": f"{token[:60]}.example"})
    mesh.connect(orders.ports["inbound"]).ask(token.replace(".", "")[:30], "/orders/1", mesh.bearer())
    lines_of(audit, before + 3, kind="request")
    assert leaks(audit.read_text()) == []
    assert "[token]" in audit.read_text()


def test_it_is_verified_with_our_bundle(mesh: Mesh, orders: Sidecar, audit: Path) -> None:
    """The SVID's key has signed; another workload's name, or another CA, proves nothing."""
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/7", mesh.bearer(scope="orders.read")).status == 200
    count = len(audit.read_text().splitlines())
    lines_of(audit, 2, kind="checkpoint")
    wait_until(lambda: lines_of(audit)[-1]["kind"] == "checkpoint" and len(lines_of(audit)) > count, "a checkpoint")
    code, said = verify(audit, *by_bundle(mesh))
    assert (code, "whole, and proved up to line" in said) == (0, True), said
    assert verify(audit)[0] == 3, "nobody has said whose key it must be"
    code, said = verify(audit, "--bundle", mesh.folder / "orders" / "svid_bundle.pem", "--spiffe-id", EDGE)
    assert (code, "another workload" in said) == (1, True)
    assert verify(audit, "--last", str(int(orders.metric("svidecar_audit_lines"))), *by_bundle(mesh))[0] == 0
    assert verify(audit, "--last", "999999", *by_bundle(mesh))[0] == 1
    assert verify(audit, "--bundle", mesh.folder / "orders" / "svid_bundle.pem")[0] == 2


def test_a_stop_a_kill_and_a_start_go_on_with_the_chain(mesh: Mesh) -> None:
    """One chain over three processes, the second killed; and a file that is in use is nobody else's."""
    audit = mesh.folder / "three.log"
    yaml = YAML.format(app=mesh.app().port)
    settings = f"{{file: {audit.name}, checkpoint: 200ms}}"
    for number in range(3):
        sidecar = mesh.start("orders", yaml, audit=settings)
        wire = mesh.connect(sidecar.ports["inbound"])
        assert wire.ask("GET", "/orders/7", mesh.bearer(scope="orders.read")).status == 200
        lines_of(audit, number + 1, kind="request")
        if number == 0:
            code, said = mesh.fails("orders", yaml, audit=settings)
            assert code == 1
            assert "another process writes it" in said
        wire.close()
        if number == 1:
            sidecar.signal(signal.SIGKILL)
            sidecar.wait()
        else:
            assert sidecar.stop() == 0
    kinds = [line["kind"] for line in lines_of(audit)]
    assert kinds.count("begin") == 1
    assert kinds.count("resume") == 2
    assert kinds[-2:] == ["end", "checkpoint"]
    code, said = verify(audit, *by_bundle(mesh))
    assert (code, "; 0 behind it" in said) == (0, True), said


def test_a_reload_is_told_with_its_version(mesh: Mesh) -> None:
    """What the old rules decided stands under the old version, what the new ones decide under theirs."""
    audit = mesh.folder / "reload.log"
    yaml = YAML.format(app=mesh.app().port)
    sidecar = mesh.start("orders", yaml, audit=f"{{file: {audit.name}}}")
    wire = mesh.connect(sidecar.ports["inbound"])
    assert wire.ask("GET", "/orders/7", mesh.bearer(scope="orders.read")).status == 200
    text = sidecar.config.read_text()
    sidecar.config.write_text(re.sub("edge may order", "edge may still order", text))
    sidecar.signal(signal.SIGHUP)
    sidecar.wait_for_log("reload: 1 rules")
    wait_until(
        lambda: (
            wire.ask("GET", "/orders/7", mesh.bearer(scope="orders.read")).status == 200
            and lines_of(audit, rule="edge may still order")
        ),
        "the new rule",
    )
    old, new = (line["policy"] for line in lines_of(audit, 2, kind="policy", direction="inbound"))
    assert old != new
    assert {line["policy"] for line in lines_of(audit, 1, rule="edge may order")} == {old}
    assert {line["policy"] for line in lines_of(audit, 1, rule="edge may still order")} == {new}

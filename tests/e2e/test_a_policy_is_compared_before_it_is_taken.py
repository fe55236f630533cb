"""`svidecar policy diff` says of what a sidecar has recorded what another policy would do; and that one then does it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.mesh import Mesh
from support.sidecar import wait_until

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge may read
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
"""
MORE = """      - {match: "POST /orders", scopes: [orders.write]}
  - name: nobody reads the first
    effect: deny
    routes: [{match: "GET /orders/1"}]
"""

ASKED = (
    ("GET", "/orders/1", "orders.read"),
    ("GET", "/orders/2", "orders.read"),
    ("GET", "/orders/2", "orders.write"),
    ("POST", "/orders", "orders.write"),
    ("POST", "/orders", "orders.read"),
    ("GET", "/orders/2", "admin"),
)


def diff(*arguments: str | Path) -> tuple[int, str]:
    """Run the verb; give its exit code, and what it says."""
    command = [sys.executable, "-m", "proxy", "policy", "diff", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def ask_all(mesh: Mesh, name: str) -> list[tuple[str, str]]:
    """Ask everything of a sidecar with this YAML and give what its audit says of each."""
    sidecar = mesh.run(mesh.folder / f"{name}.yaml").wait_until_ready()
    wire = mesh.connect(sidecar.ports["inbound"])
    for method, path, scope in ASKED:
        wire.ask(method, path, mesh.bearer(scope=scope))
    audit = mesh.folder / f"{name}.audit"
    found: list[dict[str, Any]] = []

    def look() -> bool:
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        found[:] = [line for line in lines if line["kind"] == "request"]
        return len(found) == len(ASKED)

    wait_until(look, "the audit")
    wire.close()
    sidecar.stop()
    return [(line["decision"], line.get("reason", "")) for line in found]


def test_what_it_says_comes_true(mesh: Mesh) -> None:
    """Each change that is told is one that the other policy makes, and there are no others."""
    app = mesh.app()
    yaml = YAML.format(app=app.port)
    old = mesh.config("orders", yaml, audit="{file: orders.audit, path: full}")
    new = mesh.folder / "new.yaml"
    new.write_text(old.read_text().replace("orders.audit", "new.audit") + MORE)
    before = ask_all(mesh, "orders")
    log = mesh.folder / "orders.audit"
    assert diff(old, old, "--log", log)[0] == 0
    code, said = diff(old, new, "--log", log, "--json")
    assert code == 1, said
    found = json.loads(said)
    told = sorted(
        (change["old"]["decision"], change["old"]["reason"], change["new"]["decision"], change["new"]["reason"])
        for change in found["changes"]
        for _ in range(change["count"])
    )
    after = ask_all(mesh, "new")
    came = sorted((*one, *other) for one, other in zip(before, after, strict=True) if one != other)
    assert (
        told
        == came
        == [
            ("allow", "", "deny", "denied_by_rule"),
            ("deny", "route_not_allowed", "allow", ""),
            ("deny", "route_not_allowed", "deny", "scope_missing"),
        ]
    )
    assert found["judged"] == len(ASKED) + 1, "and the admission of the connection"
    assert "would change" in diff(old, new, "--log", log)[1]


def test_exit_codes(mesh: Mesh, tmp_path: Path) -> None:
    """2 where a log is not there, 1 for a YAML that is refused."""
    old = mesh.config("orders", YAML.format(app=1))
    assert diff(old, old, "--log", tmp_path / "no")[0] == 2
    bad = tmp_path / "bad.yaml"
    bad.write_text("service: [\n")
    (tmp_path / "log").touch()
    assert diff(old, bad, "--log", tmp_path / "log")[0] == 1

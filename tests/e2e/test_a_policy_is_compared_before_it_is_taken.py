"""`svidecar policy diff` says of what a sidecar has recorded what another policy would do; and that one then does it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.apps import Recorder
from support.mesh import Mesh
from support.sidecar import wait_until
from support.tcp import inbound

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


TUNNELS = """
  - name: edge may query
    peers: [spiffe://example.org/edge]
    scopes: [db.query]
    routes:
      - {match: "CONNECT db:5432", scopes: [db.query]}
      - {match: "CONNECT cache:6379", token: none}
"""
MORE_TUNNELS = """
  - name: edge may query
    peers: [spiffe://example.org/edge]
    scopes: [db.query]
    routes:
      - {match: "CONNECT db:5432", token: none}
      - {match: "CONNECT cache:6379", scopes: [db.query]}
      - {match: "CONNECT queue:5672", token: none}
  - name: nobody gets to the queue
    effect: deny
    actors: [somebody]
    routes: [{match: "CONNECT queue:5672"}]
"""

ASKED_TUNNELS = (
    ("db:5432", "db.query"),
    ("DB:5432", "db.query"),
    ("db:5432", None),
    ("cache:6379", None),
    ("Cache:6379", None),
    ("cache:6379", "db.query"),
    ("queue:5672", None),
    ("queue:5672", "db.query"),
)


def decided(mesh: Mesh, name: str, count: int) -> list[tuple[str, str]]:
    """Wait for so many requests in its audit, and give what that says of each."""
    audit = mesh.folder / f"{name}.audit"
    found: list[dict[str, Any]] = []

    def look() -> bool:
        lines = [json.loads(line) for line in audit.read_text().splitlines()]
        found[:] = [line for line in lines if line["kind"] == "request"]
        return len(found) == count

    wait_until(look, "the audit")
    return [(line["decision"], line.get("reason", "")) for line in found]


def ask_all(mesh: Mesh, name: str) -> list[tuple[str, str]]:
    """Ask everything of a sidecar with this YAML and give what its audit says of each."""
    sidecar = mesh.run(mesh.folder / f"{name}.yaml").wait_until_ready()
    wire = mesh.connect(sidecar.ports["inbound"])
    for method, path, scope in ASKED:
        wire.ask(method, path, mesh.bearer(scope=scope))
    found = decided(mesh, name, len(ASKED))
    wire.close()
    sidecar.stop()
    return found


def open_all(mesh: Mesh, name: str) -> list[tuple[str, str]]:
    """Ask for each tunnel, in its order, of a sidecar with this YAML; give what its audit says of each."""
    sidecar = mesh.run(mesh.folder / f"{name}.yaml").wait_until_ready()
    found: list[tuple[str, str]] = []
    for count, (authority, scope) in enumerate(ASKED_TUNNELS, 1):
        token = b"" if scope is None else b"Txn-Token: " + mesh.mint.token(scope=scope) + b"\r\n"
        host = authority.encode()
        wire = mesh.connect(sidecar.ports["inbound"])
        wire.send(b"CONNECT " + host + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + token + b"\r\n").head()
        found = decided(mesh, name, count)
        wire.close()
    sidecar.stop()
    return found


def pairs(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The changes that were told: decision and reason, before and after."""
    return sorted(
        (change["old"]["decision"], change["old"]["reason"], change["new"]["decision"], change["new"]["reason"])
        for change in found["changes"]
        for _ in range(change["count"])
    )


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
    after = ask_all(mesh, "new")
    came = sorted((*one, *other) for one, other in zip(before, after, strict=True) if one != other)
    assert (
        pairs(found)
        == came
        == [
            ("allow", "", "deny", "denied_by_rule"),
            ("deny", "route_not_allowed", "allow", ""),
            ("deny", "route_not_allowed", "deny", "scope_missing"),
        ]
    )
    assert found["judged"] == len(ASKED) + 1, "and the admission of the connection"
    assert "would change" in diff(old, new, "--log", log)[1]


def test_of_tunnels_too(mesh: Mesh) -> None:
    """Also of those that show no token: let in by mTLS alone, refused for want of one, denied whatever it would say."""
    app = mesh.raw_app(Recorder(b""))
    old = mesh.config("db", inbound(app.port, TUNNELS), audit="{file: db.audit, path: full}")
    new = mesh.config("other", inbound(app.port, MORE_TUNNELS), audit="{file: other.audit, path: full}")
    before = open_all(mesh, "db")
    log = mesh.folder / "db.audit"
    code, said = diff(old, old, "--log", log, "--json")
    same = json.loads(said)
    assert (code, same["not_recorded"], same["unreadable"], same["by_template"]) == (0, {}, 0, 0)
    assert same["judged"] == 2 * len(ASKED_TUNNELS), "each with its connection"
    code, said = diff(old, new, "--log", log, "--json")
    after = open_all(mesh, "other")
    came = sorted((*one, *other) for one, other in zip(before, after, strict=True) if one != other)
    assert (code, pairs(json.loads(said))) == (1, came)
    assert came == [
        ("allow", "", "deny", "token_missing"),
        ("allow", "", "deny", "token_missing"),
        ("deny", "route_not_allowed", "allow", ""),
        ("deny", "token_missing", "allow", ""),
        ("deny", "token_missing", "deny", "denied_by_rule"),
    ]


def test_exit_codes(mesh: Mesh, tmp_path: Path) -> None:
    """2 where a log is not there, 1 for a YAML that is refused."""
    old = mesh.config("orders", YAML.format(app=1))
    assert diff(old, old, "--log", tmp_path / "no")[0] == 2
    bad = tmp_path / "bad.yaml"
    bad.write_text("service: [\n")
    (tmp_path / "log").touch()
    assert diff(old, bad, "--log", tmp_path / "log")[0] == 1

"""In audit mode what the policy would refuse is told, counted and let pass; nobody unproved comes in by it."""

import contextlib
import re
import signal
import time

import pytest
from support.apps import App
from support.mesh import Mesh, new_trace
from support.pki import Authority
from support.sidecar import Sidecar, wait_until

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}", mode: {mode}}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    mode: {rule}
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "POST /orders", scopes: [orders.write], once: true}}
  - name: nobody deletes
    effect: deny
    routes: [{{match: "DELETE /**"}}]
"""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecars."""
    return mesh.app()


@pytest.fixture(scope="module")
def watched(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar whose one allowing rule is in audit mode."""
    return mesh.start("orders", YAML.format(app=app.port, mode="enforce", rule="audit"), audit="{file: watched.log}")


@pytest.fixture(scope="module")
def lenient(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar whose listener is."""
    return mesh.start("lenient", YAML.format(app=app.port, mode="audit", rule="enforce"))


def test_what_would_be_refused_passes_and_is_told(mesh: Mesh, watched: Sidecar, app: App) -> None:
    """To the app, in the metric, in both logs."""
    wire = mesh.connect(watched.ports["inbound"])
    for method, path, scope, reason in (
        ("GET", "/orders/1", "orders.write", "scope_missing"),
        ("GET", "/else", "orders.read", "route_not_allowed"),
        ("GET", "/orders/1", "orders.read admin", "scope_beyond_grant"),
    ):
        trace, seen = new_trace(), len(app.requests)
        assert wire.ask(method, path, mesh.bearer(scope=scope) | trace).status == 200
        assert len(app.requests) == seen + 1
        record = mesh.record("orders", trace)
        assert (record["decision"], record["reason"]) == ("would_refuse", reason)
        assert watched.decisions(decision="would_refuse", reason=reason) == 1
    text = wait_for(mesh, "watched.log", '"would_refuse":"scope_beyond_grant"')
    assert text.count('"decision":"would_refuse"') == 3
    token = mesh.bearer(scope="orders.write")
    assert [wire.ask("POST", "/orders", token).status for _ in range(2)] == [200, 200]
    assert watched.decisions(decision="would_refuse", reason="transaction_replayed") == 1
    assert watched.decisions(decision="allow", rule="edge may order") == 1, "what is allowed is counted as before"


def wait_for(mesh: Mesh, name: str, text: str) -> str:
    """Wait until this stands in a file."""
    wait_until(lambda: text in (mesh.folder / name).read_text(), text)
    return (mesh.folder / name).read_text()


def test_it_is_loud(watched: Sidecar, lenient: Sidecar) -> None:
    """In the log, and in a metric to alert on."""
    assert "in audit mode, and what they refuse is not kept out: 'edge may order'" in watched.log
    assert "nothing that the policy refuses is kept out" in lenient.log
    assert watched.metric("svidecar_policy_rules", mode="audit") == 1
    assert lenient.metric("svidecar_policy_rules", mode="audit") == 2


def test_an_enforced_denial_holds_beside_it(mesh: Mesh, watched: Sidecar, lenient: Sidecar) -> None:
    """And in the listener's audit mode it is told like everything else."""
    wire = mesh.connect(watched.ports["inbound"])
    for scope in ("orders.read", "admin"):
        assert wire.ask("DELETE", "/orders/1", mesh.bearer(scope=scope)).reason == "denied_by_rule"
    assert (
        mesh.connect(lenient.ports["inbound"]).ask("DELETE", "/orders/1", mesh.bearer(scope="orders.read")).status
        == 200
    )


@pytest.mark.parametrize("which", ["watched", "lenient"])
def test_no_unproved_token_comes_in_by_it(mesh: Mesh, which: str, request: pytest.FixtureRequest, app: App) -> None:
    """None, two, a forged one, an expired one, one for elsewhere; a path with two readings; a body without a frame."""
    sidecar: Sidecar = request.getfixturevalue(which)
    seen = len(app.requests)
    forged = mesh.mint.token(scope="orders.read").decode()
    forged = forged[:-8] + ("AAAAAAAA" if not forged.endswith("AAAAAAAA") else "BBBBBBBB")
    now = time.time()
    for fields, reason in (
        ({}, "token_missing"),
        ({"Txn-Token": "a, b"}, "token_repeated"),
        ({"Txn-Token": forged}, "token_bad_signature"),
        (mesh.bearer(iat=now - 100, exp=now - 50), "token_expired"),
        (mesh.bearer(aud="elsewhere.org"), "token_wrong_audience"),
    ):
        wire = mesh.connect(sidecar.ports["inbound"])
        assert wire.ask("GET", "/orders/1", fields).reason == reason
    wire = mesh.connect(sidecar.ports["inbound"])
    assert wire.ask("GET", "/a/../orders/1", mesh.bearer(scope="admin")).reason == "ambiguous_path"
    wire = mesh.connect(sidecar.ports["inbound"])
    two = mesh.bearer(scope="orders.write") | {"Transfer-Encoding": "chunked", "Content-Length": "3"}
    assert wire.ask("POST", "/orders", two).reason == "bad_framing"
    assert len(app.requests) == seen


def test_no_unproved_peer_comes_in_by_it(mesh: Mesh, watched: Sidecar, lenient: Sidecar, app: App) -> None:
    """A workload of ours that no rule names is let in by the listener's mode alone; a foreign CA, or none, by neither."""
    seen = len(app.requests)
    mesh.svid("stranger")
    assert mesh.connect(watched.ports["inbound"], "stranger").rest() == b""
    wire = mesh.connect(lenient.ports["inbound"], "stranger")
    assert wire.ask("GET", "/orders/1").reason == "token_missing"
    assert wire.ask("GET", "/orders/1", mesh.bearer(scope="orders.read")).status == 200
    assert lenient.decisions(decision="would_refuse", reason="peer_not_allowed") == 2, "the connection and the request"
    assert len(app.requests) == seen + 1
    rogue = Authority.make("example.org").svid("spiffe://example.org/edge")
    for sidecar in (watched, lenient):
        before = sidecar.decisions(decision="deny", reason="untrusted_chain")
        with contextlib.suppress(OSError):
            mesh.connect(sidecar.ports["inbound"], svid=rogue).send(b"GET / HTTP/1.1\r\nHost: o\r\n\r\n").rest()
        sidecar.wait_for_decision(before + 1, decision="deny", reason="untrusted_chain")
        assert mesh.plain(sidecar.ports["inbound"]).send(b"GET / HTTP/1.1\r\nHost: o\r\n\r\n").rest() == b""
    assert len(app.requests) == seen + 1


def test_enforcing_again_is_a_reload(mesh: Mesh, app: App) -> None:
    """What audit mode let pass is refused on the connections that are open, and the alarm ends."""
    sidecar = mesh.start("orders", YAML.format(app=app.port, mode="audit", rule="audit"))
    mesh.svid("stranger")
    wires = [mesh.connect(sidecar.ports["inbound"], name) for name in ("edge", "stranger")]
    for wire in wires:
        assert wire.ask("GET", "/else", mesh.bearer(scope="orders.read")).status == 200
    sidecar.config.write_text(re.sub(r"mode: audit", "mode: enforce", sidecar.config.read_text()))
    sidecar.signal(signal.SIGHUP)
    sidecar.wait_for_log("reload: 2 rules")
    wait_until(lambda: sidecar.metric("svidecar_policy_rules", mode="audit") == 0, "enforced")
    assert wires[0].ask("GET", "/else", mesh.bearer(scope="orders.read")).reason == "route_not_allowed"
    wires[1].rest()
    assert sidecar.decisions(decision="deny", reason="peer_not_allowed") == 1

"""`svidecar explain`, a running sidecar and a slow reference agree on every line of a table of decisions."""

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.decisions import POLICY, Decision, generated, written
from support.mesh import Mesh, new_trace
from support.reference import Asked, Verdict, judge
from support.sidecar import Sidecar, wait_until
from support.wire import Truncated, Wire

from proxy.config.explain import answer
from proxy.config.load import load

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
{policy}"""

SEED = 20261122
WRITTEN, GENERATED = written(), generated(250, SEED)
TABLE = [*WRITTEN, *GENERATED]


@pytest.fixture(scope="module")
def orders(mesh: Mesh) -> Sidecar:
    """The one sidecar that judges the whole table."""
    return mesh.start("orders", YAML.format(app=mesh.app().port, policy=POLICY))


def by_reference(case: Decision) -> Verdict:
    """What the documents demand."""
    return judge(
        yaml.safe_load(POLICY),
        Asked(case.peer, case.method, case.path, case.host, case.fields, case.claims, case.age_s),
    )


class Explainer:
    """``svidecar explain``, called in this process: the verb, without a process for each line of the table."""

    def __init__(self, mesh: Mesh) -> None:
        self._settings = load(mesh.folder / "orders.yaml", {})
        self._claims = mesh.folder / "claims.json"

    def judge(self, case: Decision, now: float) -> Verdict:
        """Its verdict; and what it found must lead to it."""
        claims: Path | None = None
        if case.claims is not None:
            claims = self._claims
            claims.write_text(json.dumps({"iat": now - case.age_s, "exp": now + 300, **case.claims}))
        options = argparse.Namespace(
            outbound=False, peer=case.peer, method=case.method, host=case.host, path=case.path,
            claims=claims, header=[f"{name}: {value}" for name, value in case.fields], body=None, source="127.0.0.1",
            at=str(now), revocations=None,
        )  # fmt: skip
        explanation, _ = answer(self._settings, options, now)
        if case.claims is not None and explanation.connection:
            assert explanation.follows is explanation.allowed, explanation
        return Verdict(explanation.reason, explanation.rule)


class Caller:
    """The peers of the table, each with a connection that is kept for as long as the sidecar keeps it."""

    def __init__(self, mesh: Mesh, sidecar: Sidecar) -> None:
        self._mesh, self._port = mesh, sidecar.ports["inbound"]
        self._wires: dict[str, Wire] = {}

    def send(self, case: Decision) -> tuple[int, str, str]:
        """Send one case; give status, reason and the trace id by which the log knows it."""
        trace = new_trace()
        wire = self._wires.get(case.peer)
        try:
            if wire is None:
                wire = self._wires[case.peer] = self._mesh.connect(self._port, case.peer.split("/", 3)[3])
            reply = wire.send(self._bytes(case, trace)).reply(case.method)
        except (Truncated, ConnectionError, OSError):
            self._wires.pop(case.peer, None)
            return 0, "peer_not_allowed", ""
        if reply.closes:
            wire.close()
            del self._wires[case.peer]
        known = "" if case.method == "HEAD" else reply.reason  # an answer to HEAD has no body
        return reply.status, known, trace["traceparent"].split("-")[1]

    def _bytes(self, case: Decision, trace: dict[str, str]) -> bytes:
        rows = [f"{case.method} {case.path} HTTP/1.1", f"Host: {case.host}"]
        rows += [f"{name}: {value}" for name, value in (*case.fields, *trace.items())]
        if case.claims is not None:
            now = time.time()
            claims: dict[str, Any] = {"iat": now - case.age_s, "exp": now + 300, **case.claims}
            rows.append(f"Txn-Token: {self._mesh.mint.token(**claims).decode()}")
        return "\r\n".join([*rows, "", ""]).encode()


def test_the_table(mesh: Mesh, orders: Sidecar) -> None:
    """Allowed or refused, with the same reason, by the same rule; and each kind of verdict is in the table."""
    assert len(WRITTEN) >= 200
    explainer, caller = Explainer(mesh), Caller(mesh, orders)
    seen: Counter[str] = Counter()
    traces: dict[str, tuple[Decision, Verdict]] = {}
    differ = []
    for case in TABLE:
        wanted = by_reference(case)
        explained = explainer.judge(case, time.time())
        status, reason, trace_id = caller.send(case)
        if case.method == "HEAD":
            reason = wanted.reason  # the log knows it, see below
        if explained != wanted or reason != wanted.reason:
            differ.append((case, wanted, explained, status, reason))
        seen[wanted.reason or "allowed"] += 1
        if trace_id:
            traces[trace_id] = case, wanted
    assert not differ, "\n".join(map(str, differ))
    assert seen["allowed"] >= 40
    kinds = {
        "peer_not_allowed",
        "denied_by_rule",
        "condition_unmet",
        "route_not_allowed",
        "scope_missing",
        "ambiguous_path",
    }
    assert kinds | {"scope_beyond_grant", "actor_not_allowed", "token_missing", "fact_mismatch"} <= set(seen)
    wait_until(lambda: traces.keys() <= _logged(mesh).keys(), "a record of every request")
    logged = _logged(mesh)
    for trace_id, (case, wanted) in traces.items():
        record = logged[trace_id]
        assert record["reason"] == wanted.reason, case
        assert not wanted.rule or record["rule"] == wanted.rule, case


def _logged(mesh: Mesh) -> dict[str, dict[str, Any]]:
    return {str(record.get("trace_id")): record for record in mesh.records("orders")}


def test_the_reference_refuses_what_it_does_not_know() -> None:
    """A judge that skips a condition would agree by accident."""
    policy = {"policy": [{"name": "r", "peers": ["spiffe://td/a"], "sometimes": 1, "routes": [{"match": "GET /"}]}]}
    with pytest.raises(NotImplementedError):
        judge(policy, Asked("spiffe://td/a", "GET", "/", "h", (), {"scope": "", "sub": "s", "tctx": {}}, 0))

"""``svidecar token request`` asks a running token service as the sidecar with that YAML would, and shows no token."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.authority import environment
from support.domain import Domain
from support.mesh import outbound
from support.secrecy import leaks

SELECTORS = f'selectors: ["unix:uid:{os.getuid()}", "unix:path:{os.path.realpath(sys.executable)}"]'
WORKLOADS = f"""
workloads:
  - {{name: edge, scopes: [orders.read, orders.write], context: true, issuers: ["https://login.example.com"]}}
  - {{name: batch, scopes: [orders.read], {SELECTORS}}}
"""
BODY = outbound('host: orders, address: "127.0.0.1:1", spiffe_id: spiffe://example.org/orders')


@pytest.fixture(scope="module")
def edge(domain: Domain) -> Path:
    """The YAML of the edge."""
    return domain.config("edge", BODY + domain.tokens)


def svidecar(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a verb; give its exit code, what it printed, and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "token", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert "Traceback" not in done.stderr, done.stderr
    if "--raw" not in words:
        assert not leaks(done.stdout + done.stderr)
    return done.returncode, done.stdout, done.stderr


def request(config: Path, *words: str, scope: str = "orders.read", stdin: str = "") -> tuple[int, str, str]:
    """Ask the token service."""
    return svidecar("request", "--config", str(config), "--scope", scope, *words, stdin=stdin)


def test_for_the_workload_itself(edge: Path) -> None:
    """Claims for a person, and as data; no token in either."""
    code, out, _ = request(edge, scope="orders.read orders.write")
    assert (code, out.partition("\n")[0]) == (0, "granted, and verified with tokens.keys:")
    assert json.loads(out.partition("\n")[2])["sub"] == "spiffe://example.org/edge"
    code, out, _ = request(edge, "--json", "--details", '{"quantity": 7}', "--context", '{"ip": "192.0.2.1"}')
    told = json.loads(out)
    assert (code, told["granted"], told["reason"]) == (0, True, None)
    assert (told["claims"]["scope"], told["claims"]["tctx"]) == ("orders.read", {"quantity": 7})
    assert told["claims"]["rctx"] == {"ip": "192.0.2.1"}


def test_for_somebody_s_access_token(domain: Domain, edge: Path) -> None:
    """It comes on standard input; the issuer of the authority's configuration has signed it."""
    token = domain.access("alice")["Authorization"].removeprefix("Bearer ")
    code, out, _ = request(edge, "--subject-type", "access_token", "--json", scope="orders.write", stdin=token)
    claims = json.loads(out)["claims"]
    assert (code, claims["sub"], claims["act"]) == (0, "user:alice", {"sub": "agent-1"})
    code, out, _ = request(edge, "--subject-type", "access_token", "--json", stdin=token[:-6] + "AAAAAA")
    assert (code, json.loads(out)["reason"]) == (1, "access_token_refused")


def test_the_token_itself(domain: Domain, edge: Path) -> None:
    """``--raw`` gives it, to be looked at with the other verbs."""
    code, token, _ = request(edge, "--raw")
    assert code == 0
    jwks = str(domain.authority.state / "jwks.json")
    code, out, _ = svidecar("verify", "--jwks", jwks, "--audience", "example.org", "--json", stdin=token)
    assert (code, json.loads(out)) == (0, {"valid": True, "reason": None})
    code, out, _ = svidecar("decode", "--json", stdin=token)
    assert json.loads(out)["claims"]["req_wl"] == "spiffe://example.org/edge"


def test_with_an_identity_from_the_agent(domain: Domain) -> None:
    """The command is attested as what it is; the assertion that its sidecar would show is shown, too."""
    proved = domain.tokens.replace("/tts}", "/tts, jwt_svid_audience: spiffe://example.org/tts}")
    source = f"{{workload_api: {{socket: '{domain.authority.socket}'}}}}"
    code, out, said = request(domain.config("batch", BODY + proved, identity=source), "--json")
    assert code == 0, out + said
    assert json.loads(out)["claims"]["sub"] == "spiffe://example.org/batch"
    nowhere = "{workload_api: {socket: 'unix:///nowhere/api.sock'}}"
    code, out, _ = request(domain.config("batch", BODY + proved, identity=nowhere), "--json")
    assert (code, json.loads(out)["reason"]) == (1, "identity_invalid")


@pytest.mark.parametrize(
    ("words", "scope", "code", "told"),
    [
        ((), "admin", 1, "tts_refused"),
        (("--details", "{"), "orders.read", 2, "--details is not a JSON object"),
        (("--subject-type", "nonsense"), "orders.read", 2, "--subject-type"),
        (("--subject-type", "access_token"), "orders.read", 2, "standard input holds no subject token"),
        (("--subject-type", "refresh_token"), "orders.read", 2, "must not be used"),
        ((), " ", 2, "--scope names nothing"),
    ],
)
def test_mistakes(edge: Path, words: tuple[str, ...], scope: str, code: int, told: str) -> None:
    """Each has its words and its exit code."""
    found, _, said = request(edge, *words, scope=scope)
    assert (found, told in said) == (code, True), said


def test_a_service_that_is_away(domain: Domain, edge: Path) -> None:
    """The last test of this file."""
    domain.authority.kill()
    code, out, _ = request(edge, "--json")
    assert (code, json.loads(out)["reason"]) == (1, "keys_unavailable")
    domain.authority.come_back()
    assert request(edge)[0] == 0

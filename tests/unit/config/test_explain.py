"""``svidecar explain``, from the command line to its words and its exit code."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from support.yaml_text import WHO

from proxy.cli import main

YAML = (
    WHO
    + """\
inbound: {app: "http://127.0.0.1:8080"}
tokens: {keys: jwks.json, issuer: "https://tts.example.org"}
outbound:
  destinations:
    - {host: ledger, address: "ledger.default.svc:15006", spiffe_id: "spiffe://example.org/ledger"}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    limits: {time: 8h}
    routes:
      - {match: "GET /orders/{id}", scopes: [orders.read]}
      - {match: "POST /orders", scopes: [orders.write], facts: {quantity: "body:/q"}}
      - {match: "POST /pay", once: true}
  - {name: no debugging, effect: deny, hosts: ["*.debug"]}
"""
)
EDGE = "spiffe://example.org/edge"


class Verb:
    """One YAML, and the verb on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "sidecar.yaml").write_text(YAML)

    def __call__(
        self, *words: str, claims: dict[str, Any] | None = None, config: str = "sidecar.yaml"
    ) -> tuple[int, str, str]:
        """Give exit code and what it says."""
        given = ["explain", "--config", str(self.folder / config), *words]
        if claims is not None:
            (self.folder / "claims.json").write_text(json.dumps(claims))
            given += ["--claims", str(self.folder / "claims.json")]
        code = main(given)
        out, err = self._capsys.readouterr()
        return code, out, err

    def edge(self, *words: str, claims: dict[str, Any] | None = None) -> tuple[int, str, str]:
        """The same of a request of edge to orders."""
        return self("--peer", EDGE, "--host", "orders", *words, claims=claims)


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verb:
    """The verb."""
    return Verb(tmp_path, capsys)


READ = {"sub": "alice", "scope": "orders.read"}


def test_allowed(explain: Verb) -> None:
    """Exit code 0; the rule, every condition, and what was assumed of the token."""
    code, out, _ = explain.edge("--path", "/orders/7", claims=READ)
    assert code == 0
    assert out.startswith("allowed by the rule 'edge may order', /orders/{id}\n")
    assert "  yes scopes: orders.read; found: orders.read\n" in out
    assert "assumed of the token, because the claims do not say it: txn, aud, req_wl, iat, exp, iss" in out
    assert "not asked here: the signature" in out


def test_refused(explain: Verb) -> None:
    """Exit code 1, the reason of the metric, and what would have made it pass."""
    code, out, _ = explain.edge("--path", "/orders/7", claims=READ | {"scope": "orders.write"})
    assert code == 1
    assert out.startswith("refused: scope_missing: ")
    assert (
        "what would have made it pass\n  by policy[0].routes[0] 'edge may order', GET /orders/{id}: scopes orders.read"
        in out
    )


@pytest.mark.parametrize(
    ("words", "claims", "reason"),
    [
        (["--path", "/orders/7"], None, "token_missing"),
        (["--path", "/orders/7"], READ | {"exp": 1, "iat": 0}, "token_expired"),
        (["--path", "/orders/7"], READ | {"aud": "other.org"}, "token_wrong_audience"),
        (["--path", "/orders/7"], READ | {"iss": "https://evil"}, "token_wrong_issuer"),
        (["--path", "/orders/7"], {"scope": "orders.read"}, "token_claims_invalid"),
        (
            ["--path", "/orders/7", "--header", "Transfer-Encoding: chunked", "--header", "Content-Length: 1"],
            READ,
            "bad_framing",
        ),
        (["--path", "/orders/7", "--header", "Txn_Token: x"], READ, "owned_field"),
        (["--path", "/orders/7", "--header", "Host: ledger"], READ, "bad_host"),
        (["--path", "/orders/7", "--method", "CONNECT"], READ, "method_refused"),
        (["--path", "/orders/7 x"], READ, "bad_request"),
        (["--path", "http://a.debug/orders/7"], READ, "denied_by_rule"),
        (["--path", "/orders", "--method", "POST"], READ | {"scope": "orders.write"}, "fact_unusable"),
    ],
)
def test_the_reasons_are_those_of_the_sidecar(
    explain: Verb, words: list[str], claims: dict[str, Any] | None, reason: str
) -> None:
    """Head, claims and policy are read by its own code."""
    code, out, _ = explain.edge(*words, claims=claims)
    assert code == 1
    assert out.startswith(f"refused: {reason}: "), out


def test_a_peer_without_a_rule_is_refused_before_anything_else(explain: Verb) -> None:
    """Whatever it sends."""
    for words in (["--path", "/orders/7"], ["--path", "/a b"]):
        code, out, _ = explain("--peer", "spiffe://example.org/who", "--host", "orders", *words, claims={"sub": ""})
        assert (code, out.partition(": ")[2].partition(":")[0]) == (1, "peer_not_allowed")


def test_the_body_may_be_shown(explain: Verb) -> None:
    """Facts of it are held against the claims."""
    body = explain.folder / "body.json"
    body.write_text('{"q": 3}')
    shown = ["--method", "POST", "--path", "/orders", "--body", str(body), "--header", "Content-Type: application/json"]
    shown += ["--header", f"Content-Length: {len(body.read_bytes())}"]
    claims = {"sub": "a", "scope": "orders.write", "tctx": {"quantity": 3}}
    assert explain.edge(*shown, claims=claims)[0] == 0
    code, out, _ = explain.edge(*shown, claims=claims | {"tctx": {"quantity": 4}})
    assert code == 1
    assert "fact_mismatch" in out


def test_another_time(explain: Verb) -> None:
    """``--at`` is when the request comes."""
    claims = READ | {"iat": 1_000, "exp": 1_060}
    assert explain.edge("--path", "/orders/7", "--at", "1030", claims=claims)[0] == 0
    assert "token_expired" in explain.edge("--path", "/orders/7", "--at", "1100", claims=claims)[1]


def test_as_data(explain: Verb) -> None:
    """The same, and nothing else on standard output."""
    code, out, _ = explain.edge("--path", "/orders/7", "--json", claims=READ)
    data = json.loads(out)
    assert (code, data["allowed"], data["rule"], data["considered"][0]["decides"]) == (0, True, "edge may order", False)
    assert [each["rule"] for each in data["considered"]] == ["no debugging", "edge may order"]
    assert "iat" in data["assumed"]


def test_what_only_the_sidecar_remembers(explain: Verb) -> None:
    """Whether a transaction was used before; it is told where a route asks, and only there."""
    once = "whether this transaction was used before for "
    assert once in explain.edge("--path", "/pay", "--method", "POST", claims=READ)[1]
    code, out, _ = explain.edge("--path", "/pay", "--method", "POST", "--json", claims=READ)
    assert (code, sum(line.startswith(once) for line in json.loads(out)["unknown"])) == (0, 1)
    assert once not in explain.edge("--path", "/orders/7", claims=READ)[1]


def test_an_authoriser_is_not_asked(explain: Verb) -> None:
    """And that is told."""
    (explain.folder / "sidecar.yaml").write_text(YAML + "authoriser: {opa: {url: 'http://127.0.0.1:8181/v1/data/a'}}\n")
    assert "the authoriser outside" in explain.edge("--path", "/orders/7", claims=READ)[1]


REVOKED: list[tuple[dict[str, Any], str, str]] = [
    ({"spiffe_id": EDGE}, "peer_revoked", "no  peer not revoked: not among the 1 entries; found: named by spiffe_id"),
    (
        {"sub": "alice", "because": "left"},
        "token_revoked",
        "no  token not revoked: not among the 1 entries; found: named by sub (left)",
    ),
    ({"act": "agent"}, "token_revoked", "named by act"),
    ({"txn": "task-1"}, "token_revoked", "named by txn"),
    ({"issued_before": 2_000}, "token_revoked", "named by issued_before"),
    ({"sub": "bob"}, "", "yes token not revoked: not among the 1 entries; found: not named"),
    ({"sub": "alice", "expires": 2_000}, "", ""),
    ({"serial": "0x1f", "issuer": "example.org"}, "", "certificates revoked by serial (1 entries): none is shown here"),
    ({"token_sha256": "ab" * 32}, "", "tokens revoked by their SHA-256 (1 entries): claims have none"),
]
CLAIMS = READ | {"txn": "task-1", "act": {"sub": "agent"}, "iat": 1_990, "exp": 2_100}


@pytest.mark.parametrize(("entry", "reason", "told"), REVOKED, ids=[next(iter(entry)) for entry, _, _ in REVOKED])
@pytest.mark.parametrize("form", ["list", "admin port", "file of the YAML"])
def test_what_is_revoked(explain: Verb, form: str, entry: dict[str, Any], reason: str, told: str) -> None:
    """By what is given, or by the list of the YAML; each kind that claims can tell."""
    path = explain.folder / "revoked.json"
    given = ["--revocations", str(path)]
    whole: dict[str, Any] = {"revoked": [entry]}
    if form == "admin port":
        more = {"id": "ab", "source": "admin", "told": 1.0}
        whole = {"kept": True, "blind": False, "errors": {}, "revoked": [entry | more]}
    elif form == "file of the YAML":
        (explain.folder / "sidecar.yaml").write_text(YAML + "revocation: {file: revoked.json}\n")
        given = []
    path.write_text(json.dumps(whole))
    code, out, _ = explain.edge("--path", "/orders/7", "--at", "2050", *given, claims=CLAIMS)
    assert (code, out.partition(":")[0]) == (
        (1, "refused")
        if reason
        else (0, "allowed by the rule 'edge may order', /orders/{id}\nthe connection\n  yes peer")
    )
    assert reason in out.splitlines()[0]
    assert told in out
    assert ("what else is revoked" in out) is (form != "admin port")


def test_a_revoked_peer_is_told_before_anything_that_it_sends(explain: Verb) -> None:
    """As a sidecar would close its connection."""
    path = explain.folder / "revoked.json"
    path.write_text(json.dumps({"revoked": [{"spiffe_id": EDGE}]}))
    code, out, _ = explain.edge("--path", "/a b", "--revocations", str(path))
    assert (code, out.startswith("refused: peer_revoked: ")) == (1, True)


def test_a_sidecar_that_is_blind(explain: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nobody new in; what it says of itself may come through a pipe."""
    said = json.dumps({"kept": False, "blind": True, "errors": {}, "revoked": []}).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said)))
    code, out, _ = explain.edge("--path", "/orders/7", "--revocations", "-", claims=READ)
    assert (code, out.startswith("refused: revocation_unknown: ")) == (1, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "which cannot be read here"),
        ("revoked: [{nothing: 1}]", "for a sidecar would refuse it"),
        ("revoked: []", ""),
    ],
)
def test_the_list_of_the_yaml_may_be_elsewhere(explain: Verb, content: str | None, told: str) -> None:
    """It is read on the machine of the sidecar; here it is told that it was not."""
    (explain.folder / "sidecar.yaml").write_text(YAML + "revocation: {file: revoked.yaml}\n")
    if content is not None:
        (explain.folder / "revoked.yaml").write_text(content)
    code, out, _ = explain.edge("--path", "/orders/7", claims=READ)
    assert code == 0
    assert told in out
    assert ("revocation.file" in out) is bool(told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("revoked: [{txn: a, sub: b}]", "line 1: revoked[0] names txn and sub"),
        ('{"blind": false}', "not what GET /revocations answers"),
        ('{"blind": false, "revoked": [{"txn": ""}]}', "not what GET /revocations answers"),
        ('{"blind": false, "revoked": [1]}', "not what GET /revocations answers"),
    ],
)
def test_revocations_that_cannot_be_read(explain: Verb, content: str | None, told: str) -> None:
    """Exit code 2: half a list is none."""
    path = explain.folder / "revoked.yaml"
    if content is not None:
        path.write_text(content)
    code, out, err = explain.edge("--path", "/orders/7", "--revocations", str(path), claims=READ)
    assert (code, out) == (2, "")
    assert f"--revocations: {path}: " in err
    assert told in err


TCP = (
    WHO
    + """\
inbound: {app: "tcp://127.0.0.1:5432"}
tokens: {keys: jwks.json, service: {url: "https://tts/token", spiffe_id: "spiffe://example.org/tts"}}
outbound:
  tcp:
    - {listen: "127.0.0.1:15432", host: "other:5432", address: "other.svc:15006", spiffe_id: "spiffe://example.org/db"}
policy:
  - name: edge may query
    peers: [spiffe://example.org/edge]
    scopes: [db.query, db.admin]
    routes:
      - {match: "CONNECT db:5432", scopes: [db.query]}
  - name: probe
    peers: [spiffe://example.org/probe]
    limits: {time: 10s}
    routes: [{match: "CONNECT db:5432", token: none}]
  - {name: not at night, effect: deny, peers: [spiffe://example.org/probe], routes: [{match: "CONNECT night:5432"}]}
"""
)
QUERY = {"sub": "alice", "scope": "db.query"}


@pytest.mark.parametrize(
    ("words", "claims", "reason", "told"),
    [
        (["--host", "db:5432"], QUERY, "", "  yes tunnel: a transaction token, until the token ends; found: a token\n"),
        (["--host", "DB:5432"], QUERY, "", "allowed by the rule 'edge may query', db:5432\n"),
        (["--host", "db:5432", "--peer", "spiffe://example.org/probe"], None, "", "by mTLS alone, without a token"),
        (
            ["--host", "db:5432"],
            None,
            "token_missing",
            "  a token for example.org, with at most the scopes db.admin db.query\n",
        ),
        (["--host", "db:5432"], QUERY | {"scope": "db.admin"}, "scope_missing", "scopes db.query (found: db.admin)"),
        (["--host", "other:5432"], QUERY, "route_not_allowed", ""),
        (
            ["--host", "night:5432", "--peer", "spiffe://example.org/probe"],
            None,
            "denied_by_rule",
            "'not at night' (deny)",
        ),
        (["--host", "db"], QUERY, "bad_host", ""),
        (["--path", "db:5432", "--host", "other:5432"], QUERY, "bad_host", ""),
        (["--host", "db:5432", "--method", "GET"], QUERY, "method_refused", ""),
        (["--host", "db:5432", "--header", "Expect: 100-continue"], QUERY, "bad_framing", ""),
    ],
)
def test_a_tunnel(explain: Verb, words: list[str], claims: dict[str, Any] | None, reason: str, told: str) -> None:
    """Where the app speaks raw TCP: by the decoder and the rules of tunnels."""
    (explain.folder / "sidecar.yaml").write_text(TCP)
    peer = [] if "--peer" in words else ["--peer", EDGE]
    code, out, _ = explain(*peer, *words, claims=claims)
    assert (code, out.partition(" ")[0]) == ((1, "refused:") if reason else (0, "allowed"))
    assert reason in out.splitlines()[0]
    assert told in out


def test_a_port_for_raw_tcp(explain: Verb) -> None:
    """Where what the app calls there is carried to."""
    (explain.folder / "sidecar.yaml").write_text(TCP)
    code, out, _ = explain("--outbound", "--host", "other:5432")
    assert (code, out.startswith("allowed: carries raw TCP from 127.0.0.1:15432 to other:5432 at ")) == (0, True)
    code, out, _ = explain("--outbound", "--host", "other:5433")
    assert code == 1
    assert "those that there are: other:5432" in out


def test_outbound(explain: Verb) -> None:
    """Whom the app may call."""
    code, out, _ = explain("--outbound", "--host", "ledger:80")
    assert (code, out.splitlines()) == (
        0,
        [
            (
                "allowed: the app may call ledger (any port): at ledger.default.svc:15006 over mTLS, "
                "if spiffe://example.org/ledger answers, with the transaction's token if the app brings it"
            )
        ],
    )
    code, out, _ = explain("--outbound", "--host", "other")
    assert code == 1
    assert "refused: destination_unknown" in out
    assert "those that there are: ledger" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name --peer and --path too"),
        (["--outbound"], "name --host too"),
        (["--peer", "edge", "--path", "/", "--host", "h"], "--peer: "),
        (["--peer", EDGE, "--path", "/"], "--host is missing"),
        (["--peer", EDGE, "--host", "h"], "name --path too"),
        (["--peer", EDGE, "--path", "/\r\nX: y", "--host", "h"], "one line"),
        (["--peer", EDGE, "--path", "/", "--host", "h", "--at", "noon"], "--at: "),
        (["--peer", EDGE, "--path", "/", "--host", "h", "--header", "Txn-Token: x"], "--claims"),
        (["--peer", EDGE, "--path", "/", "--host", "h", "--claims", "/nowhere/c.json"], "--claims: /nowhere/c.json"),
        (["--peer", EDGE, "--path", "/", "--host", "h", "--body", "/nowhere/b"], "--body: /nowhere/b"),
    ],
)
def test_a_question_that_cannot_be_asked(explain: Verb, words: list[str], told: str) -> None:
    """Exit code 2, and what would be right."""
    code, out, err = explain(*words)
    assert (code, out) == (2, "")
    assert told in err


def test_claims_that_can_be_read_in_two_ways(explain: Verb) -> None:
    """As a token that says a thing twice is refused."""
    twice = explain.folder / "twice.json"
    twice.write_text('{"sub": "a", "sub": "b"}')
    code, _, err = explain.edge("--path", "/orders/7", "--claims", str(twice))
    assert code == 2
    assert "twice" in err


def test_a_yaml_that_is_refused(explain: Verb) -> None:
    """Nothing can be explained by it."""
    (explain.folder / "bad.yaml").write_text("service: x\n")
    assert explain("--peer", EDGE, "--path", "/", "--host", "h", config="bad.yaml")[0] == 2
    assert explain("--peer", EDGE, "--path", "/", "--host", "h", config="none.yaml")[0] == 2

"""What does not fit together, each with the path and the line of what to change."""

import pytest
from support.yaml_text import GOOD, INBOUND, OUTBOUND, WHO, only, problems, told

SERVICE = "service: {url: 'https://tts.default.svc/token', spiffe_id: spiffe://example.org/tts}"


def test_neither_direction() -> None:
    """Without inbound and outbound there is nothing to do."""
    assert only(WHO) == "F:1: there is nothing to do: write inbound:, outbound: or both"


def test_one_direction_is_enough() -> None:
    """A job has no inbound, a leaf service no outbound."""
    assert not problems(WHO + INBOUND)
    assert not problems(WHO + OUTBOUND)


@pytest.mark.parametrize("policy", ["", "policy: []\n"])
def test_inbound_without_policy(policy: str) -> None:
    """Default deny means that nothing would be allowed: said at once, not found out by 403s."""
    text = WHO + "inbound: {app: 'http://127.0.0.1:8080'}\ntokens: {keys: jwks.json}\n" + policy
    said = only(text)
    assert said.startswith("F:6: policy: " if policy else "F:4: policy: ")
    assert "nothing would be allowed; write at least one rule" in said


def test_inbound_without_tokens() -> None:
    """Without keys no token could be verified."""
    said = only(GOOD.replace("tokens: {keys: jwks.json}\n", ""))
    assert said.startswith("F:4: tokens: is missing: without keys no token could be verified")


def test_tokens_without_keys() -> None:
    """Also what the token service answers is verified."""
    assert only(GOOD.replace("keys: jwks.json", SERVICE)).startswith(
        "F:5: tokens.keys: is missing; write keys: https://"
    )


def test_a_token_scope_needs_a_service() -> None:
    """There is nobody to ask."""
    text = GOOD.replace('/ledger"}', '/ledger", token: {scope: ledger.write}}')
    assert only(text).startswith("F:13: outbound.destinations[0].token: needs a token service to ask")
    assert not problems(text.replace("keys: jwks.json", f"keys: jwks.json, {SERVICE}"))


@pytest.mark.parametrize("keys", ["jwks.json", "http://127.0.0.1:1/jwks"])
def test_an_identity_is_expected_of_https_alone(keys: str) -> None:
    """A file has no peer, and plain http shows no certificate."""
    text = GOOD.replace("keys: jwks.json", f"keys: '{keys}', keys_spiffe_id: spiffe://example.org/tts")
    assert only(text) == "F:5: tokens.keys_spiffe_id: applies to an https URL in tokens.keys; remove it"


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("spiffe://example.org/ledger", "spiffe://exmaple.org/ledger", "outbound.destinations[0].spiffe_id"),
        ("spiffe://example.org/edge", "spiffe://exmaple.org/*", "policy[0].peers[0]"),
        ("keys: jwks.json", f"keys: jwks.json, {SERVICE.replace('example', 'exmaple')}", "tokens.service.spiffe_id"),
        ("keys: jwks.json", "keys: 'https://t/', keys_spiffe_id: spiffe://exmaple.org/a", "tokens.keys_spiffe_id"),
    ],
)
def test_a_trust_domain_without_a_bundle(old: str, new: str, path: str) -> None:
    """Nobody there could ever be believed: a slip in the name, or a bundle is missing."""
    text = GOOD.replace(old, new)
    (problem,) = problems(text)
    assert problem.path == path
    assert "mend the name, or add its bundle under identity.files.federated" in problem.message
    assert not problems(text.replace("bundle: svid_bundle.pem", "bundle: b.pem, federated: {exmaple.org: e.pem}"))


def test_the_own_domain_is_not_federated() -> None:
    """It would have two bundles."""
    text = GOOD.replace("bundle: svid_bundle.pem", "bundle: b.pem, federated: {example.org: e.pem}")
    assert "its bundle is identity.files.bundle" in only(text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other.org", ""),
        ("third.org", ""),
        ("example.org", "use identity.files.crl"),
        ("fourth.org", "write its bundle under identity.files.federated"),
    ],
)
def test_crls_are_of_a_domain_that_is_federated(name: str, said: str) -> None:
    """By a file or by its bundle endpoint; any other name is a slip, and nobody would be refused by it."""
    more = f"bundle: b.pem, federated: {{other.org: o.pem}}, federated_crls: {{{name}: crl.pem}}}}"
    text = GOOD.replace(
        "bundle: svid_bundle.pem}", f"{more}, federation: [{{trust_domain: third.org, url: 'https://t/'}}]"
    )
    assert [problem.path for problem in problems(text)] == [f"identity.files.federated_crls.{name}"] * bool(said)
    assert not said or said in only(text)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("metrics: {listen: '0.0.0.0:15006'}", "metrics.listen"),
        ("metrics: {listen: '127.0.0.1:15006'}", "metrics.listen"),
        ("health: {listen: '127.0.0.1:15001'}", "health.listen"),
        ("health: {listen: '[::]:15020'}", "health.listen"),
        ("admin: {listen: '127.0.0.1:15020'}", "admin.listen"),
        ("admin: {listen: 'localhost:15001'}", "admin.listen"),
        ("health: {listen: '10.0.0.1:15020'}", "health.listen"),
    ],
)
def test_ports_are_distinct(line: str, path: str) -> None:
    """Two listeners on one port, defaults among them; told where it is written."""
    (problem,) = problems(GOOD + line + "\n")
    assert (problem.path, problem.line) == (path, 14)
    assert "this port is already the one of" in problem.message


@pytest.mark.parametrize(
    "lines",
    [
        "metrics: {listen: '127.0.0.1:0'}\nhealth: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\n",
        "metrics: {listen: '10.0.0.1:15001'}\n",
        "admin: {listen: '[::1]:15001'}\n",
        "metrics: {listen: '0.0.0.0:15021'}\nhealth: {listen: '0.0.0.0:15020'}\n",
    ],
)
def test_ports_that_do_not_meet(lines: str) -> None:
    """Free ports, other addresses, and two that changed places."""
    assert not problems(GOOD + lines)


def test_a_default_port_in_the_way_is_told_at_the_one_that_is_written() -> None:
    """The inbound port is written on the port of metrics, which is not."""
    text = GOOD.replace('app: "http', "listen: '0.0.0.0:15020', app: \"http")
    assert only(text) == "F:4: inbound.listen: this port is already the one of metrics: choose another"


@pytest.mark.parametrize("port", [15006, 15001])
def test_the_app_is_not_the_sidecar(port: int) -> None:
    """Requests would go in circles."""
    assert "requests would go in circles" in only(GOOD.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    assert not problems(GOOD.replace("127.0.0.1:8080", f"10.0.0.9:{port}"))


def test_the_policy_room_is_heard() -> None:
    """Its errors have paths of ours, and get our lines."""
    text = GOOD.replace("GET /orders/{id}", "get /orders").replace(
        "spiffe://example.org/edge", "spiffe://example.org/*/a"
    )
    assert [line.partition(": ")[0] + " " + line.split(": ")[1] for line in told(text)] == [
        "F:8 policy[0].peers[0]",
        "F:10 policy[0].routes[0].match",
    ]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (', spiffe_id: "spiffe://example.org/ledger"', "", "spiffe_id"),
        ('address: "ledger', 'protection: web, address: "ledger', "spiffe_id"),
        ("host: ledger", "host: ledger:80, protection: plain", "spiffe_id"),
    ],
)
def test_destinations_are_heard_too(old: str, new: str, path: str) -> None:
    """An mTLS destination needs an identity to expect, the others have none."""
    (problem,) = problems(GOOD.replace(old, new))
    assert (problem.path, problem.line) == (f"outbound.destinations[0].{path}", 13)


def test_a_bad_item_does_not_shift_the_others() -> None:
    """The second rule and the second destination keep their numbers, although the first of each is bad."""
    rules = "policy:\n  - {nam: x}\n" + INBOUND.partition("policy:\n")[2].replace("GET /", "get /")
    outbound = OUTBOUND.replace("destinations:\n", "destinations:\n    - {hots: x}\n").replace(
        'ledger"}', 'ledger", protection: web}'
    )
    text = WHO + INBOUND.partition("policy:")[0] + rules + outbound
    paths = [problem.path for problem in problems(text)]
    assert "policy[1].routes[0].match" in paths
    assert "outbound.destinations[1].spiffe_id" in paths


def test_numbers_in_a_message_cannot_lead_astray() -> None:
    """A scope may look like one of our paths; it is no index into anything."""
    text = GOOD.replace("scopes: [orders.read]}", "scopes: ['policy[7]']}")
    assert "'policy[7]' is not in the scopes of the rule" in only(text)


def test_two_of_one_name() -> None:
    """Rules and destinations are told apart by name."""
    text = GOOD + OUTBOUND.partition("destinations:\n")[2]
    assert "outbound.destinations[0] has this host too" in only(text)


def test_what_is_bad_is_not_held_against_the_rest() -> None:
    """A bad key says so once; no rule takes it for missing."""
    assert [p.path for p in problems(GOOD.replace("inbound: {app:", "inbound: {ap:"))] == ["inbound.ap", "inbound.app"]
    assert [p.path for p in problems(GOOD.replace("tokens: {keys: jwks.json}", "tokens: jwks.json"))] == ["tokens"]
    assert [p.path for p in problems(GOOD.replace("trust_domain: example.org", "trust_domain: E.org"))] == [
        "trust_domain"
    ]
    assert [p.path for p in problems(GOOD + "metrics: {listen: 15006}\n")] == ["metrics.listen"]


def test_a_jwt_svid_without_an_agent() -> None:
    """Files hold none; an agent gives it."""
    text = GOOD.replace("tokens: {", "tokens: {" + SERVICE[:-1] + ", jwt_svid_audience: 'https://tts.example.org'}, ")
    assert "tokens.service.jwt_svid_audience: needs the Workload API" in only(text)
    without = "\n".join(line for line in text.splitlines() if not line.startswith("identity:"))
    assert not problems(without, {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/agent/api.sock"})


def test_a_jwt_svid_to_trade_without_an_agent() -> None:
    """The keys to verify it with come from an agent."""
    subject = "subject: {type: jwt_svid, audience: spiffe://example.org/tts}"
    edge = GOOD.replace("tokens: {", "tokens: {" + SERVICE + ", ").replace(
        "routes: [{", f"routes: [{{exchange: {{scope: orders.read, {subject}}}, ", 1
    )
    assert "exchange.subject.type: needs the Workload API" in only(edge)
    without = "\n".join(line for line in edge.splitlines() if not line.startswith("identity:"))
    assert not problems(without, {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/agent/api.sock"})


def test_what_is_narrowed_needs_a_service() -> None:
    """Somebody has to narrow it."""
    text = WHO + OUTBOUND.replace("spiffe_id:", "narrow: [a], spiffe_id:", 1) + "tokens: {keys: jwks.json}\n"
    assert "outbound.destinations[0].narrow: needs a token service to ask" in only(text)


def test_what_is_propagated_has_to_come_in() -> None:
    """A workload that only calls works on nobody's request."""
    text = WHO + OUTBOUND.replace("spiffe_id:", "propagate: traceparent, spiffe_id:", 1)
    assert "outbound.destinations[0].propagate: is about requests that came in by this sidecar" in only(text)
    assert not problems(WHO + INBOUND + OUTBOUND.replace("spiffe_id:", "propagate: tracestate, spiffe_id:", 1))


def test_what_is_propagated_may_come_in_by_another_process() -> None:
    """Where they share it; the keys are needed to compare what the app puts in."""
    out = WHO + OUTBOUND.replace("spiffe_id:", "propagate: traceparent, spiffe_id:", 1)
    share = "transactions: {share: /run/svidecar/orders}\n"
    assert "outbound.destinations[0].propagate: needs tokens" in only(out + share)
    assert not problems(out + share + "tokens: {keys: jwks.json}\n")
    assert "the absolute path of a folder" in only(GOOD + "transactions: {share: run/orders}\n")

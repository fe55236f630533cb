"""Mappings and lists: unknown, missing, duplicate, of the wrong form; each told with what would be right."""

import pytest
from support.yaml_text import GOOD, INBOUND, OUTBOUND, WHO, only, problems, told

from proxy.config.problem import MAX_PROBLEMS


@pytest.mark.parametrize(
    ("typo", "right"),
    [
        ("spifeid", "spiffe_id"),
        ("spiffe-id", "spiffe_id"),
        ("SPIFFE_ID", "spiffe_id"),
        ("adress", "address"),
        ("protecton", "protection"),
    ],
)
def test_an_unknown_key_has_a_neighbour(typo: str, right: str) -> None:
    """The nearest right name is told."""
    text = GOOD.replace('"spiffe://example.org/ledger"}', f'"spiffe://example.org/ledger", {typo}: x}}')
    assert only(text) == f"F:13: outbound.destinations[0].{typo}: unknown key; did you mean '{right}'?"


def test_an_unknown_key_without_a_neighbour() -> None:
    """All keys of that place are told."""
    assert only(GOOD + "health: {zzz: 1}\n") == "F:14: health.zzz: unknown key; the keys here are listen"


def test_wrong_indentation_is_recognised() -> None:
    """A key that is right elsewhere says where it belongs: the indentation is likely wrong."""
    lines = told(GOOD.replace("inbound: {app:", "app: {app:"))
    assert "F:4: app: unknown key here; it belongs under inbound: is the indentation right?" in lines
    lines = told(GOOD + "tls:\n  access_log: off\n")
    assert lines == ["F:15: tls.access_log: unknown key here; it belongs at the top level: is the indentation right?"]


def test_merge_keys() -> None:
    """YAML's ``<<`` is not read, and said so."""
    assert "merge keys are not read here" in only(GOOD + "tls: {<<: {}}\n")


def test_a_missing_key_shows_a_line_to_write() -> None:
    """With the line of the mapping in which it is missing."""
    text = GOOD.replace('address: "ledger.default.svc:15006", ', "")
    assert only(text) == "F:13: outbound.destinations[0].address: is missing; write address: ledger.default.svc:15006"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "tls: []",
            "tls: expected a mapping ('key: value' lines), not a list; its keys are min_version, handshake_timeout",
        ),
        ("tls: 1.3", "tls: expected a mapping ('key: value' lines), not a single value; its keys are min_version"),
        ("tls:", "tls: is empty; expected a mapping ('key: value' lines); its keys are min_version"),
        ("allow_ambiguous: encoded_slash", "expected a list (each item after '- '), not a single value; for example"),
        (
            "allow_ambiguous: {a: b}",
            "expected a list (each item after '- '), not a mapping; for example [encoded_slash]",
        ),
        ("allow_ambiguous:", "allow_ambiguous: is empty; expected a list"),
        ("allow_ambiguous: [[a]]", "allow_ambiguous[0]: expected one of empty_segment, "),
        ("timeouts: {idle: [1]}", "timeouts.idle: expected a duration, for example 500ms, 5s, 2m or 1h, not a list"),
        (
            "shutdown: {grace: {s: 1}}",
            "shutdown.grace: expected a duration, for example 500ms, 5s, 2m or 1h, not a mapping",
        ),
    ],
)
def test_the_wrong_form(line: str, said: str) -> None:
    """A list where a mapping belongs, and the other way round."""
    assert said in only(GOOD + line + "\n")


def test_a_list_where_the_whole_is_a_mapping() -> None:
    """Even for the file as such."""
    assert only("- service: orders\n").startswith(
        "F:1: expected a mapping ('key: value' lines), not a list; its keys are"
    )
    assert only("orders\n").startswith("F:1: expected a mapping ('key: value' lines), not a single value")


def test_federated_names_are_trust_domains() -> None:
    """The keys are free, within their kind, and all bad ones are told."""
    text = GOOD.replace("svid_bundle.pem}", "svid_bundle.pem, federated: {Other.org: a.pem, x.org: [], y.org: y.pem}}")
    assert [problem.path for problem in problems(text)] == [
        "identity.files.federated.Other.org",
        "identity.files.federated.x.org",
    ]


@pytest.mark.parametrize("scope", ["a b", "[a, b]", "' a  b '", "a", "'0'"])
def test_words_are_a_list_too(scope: str) -> None:
    """Scopes as OAuth writes them, or as YAML does."""
    token = f"token: {{scope: {scope}}}"
    text = WHO + OUTBOUND.replace('/ledger"}', f'/ledger", {token}}}')
    assert [problem.path for problem in problems(text)] == ["outbound.destinations[0].token"]  # no service to ask
    service = "tokens: {keys: k, service: {url: 'https://t/', spiffe_id: spiffe://example.org/tts}}\n"
    assert not problems(text + service)


@pytest.mark.parametrize("scope", ["''", "[]", "[a b]", "a\\b", "{a: b}", "", "0", "true"])
def test_no_words(scope: str) -> None:
    """None at all, one that is no scope, or one that is no text to YAML."""
    text = WHO + OUTBOUND.replace('/ledger"}', f'/ledger", token: {{scope: {scope}}}}}')
    assert problems(text)[0].path.startswith("outbound.destinations[0].token.scope")


def test_every_error_at_once() -> None:
    """Typos, wrong values, missing keys and what does not fit together: one run tells all, in the order of the file."""
    text = (
        "service: orders!\ntrust_domain: example.org\nidentity: {files: {svid: a, key: b}}\n"
        "inbuond: {}\n"
        + INBOUND.replace("orders.read]}", "orders.write]}").replace("8080", "15020")
        + "metrics: {listen: '0.0.0.0:15006'}\n"
        + OUTBOUND.replace('"spiffe://example.org/ledger"', "spiffe://other.org/x")
        + "limits: {head: 1}\n"
    )
    assert [(problem.line, problem.path) for problem in problems(text)] == [
        (1, "service"),
        (3, "identity.files.bundle"),
        (4, "inbuond"),
        (11, "policy[0].routes[0].scopes"),
        (12, "metrics.listen"),
        (15, "outbound.destinations[0].spiffe_id"),
        (16, "limits.head"),
    ]


def test_thousands_of_slips_end_soon() -> None:
    """A file of another kind is refused without a search for each of its keys."""
    lines = told(GOOD + "".join(f"servic{n}: 1\n" for n in range(20_000)))
    assert len(lines) == MAX_PROBLEMS + 1

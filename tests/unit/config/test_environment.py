"""References to the environment: values only, never structure, and never told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.yaml_text import GOOD, WHO, problems, settings, told

from proxy.config.compose import compose
from proxy.config.document import Broken, Scalar, Table
from proxy.config.environment import expand
from proxy.config.problem import Place


def _expanded(text: str, **environ: str) -> str:
    place = Place("", [])
    found = expand(Scalar(line=1, text=text, plain=True), place, environ)
    assert isinstance(found, Scalar), place.problems
    return found.text


def _refused(text: str, **environ: str) -> list[str]:
    place = Place("a", [])
    assert isinstance(expand(Scalar(line=7, text=text, plain=True), place, environ), Broken)
    return [problem.told("F") for problem in place.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("x${A}y${A}z", "x1y1z"),
        ("${A:-2}", "1"),
        ("${B:-2}", "2"),
        ("${B:-}", ""),
        ("${EMPTY:-2}", "2"),
        ("${EMPTY}", ""),
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("$$A ${A}$", "$$A 1$"),
        ("GET /orders/{id}", "GET /orders/{id}"),
    ],
)
def test_references_are_replaced(text: str, value: str) -> None:
    """As a shell would, and nothing else is touched."""
    assert _expanded(text, A="1", EMPTY="") == value


def test_what_a_value_holds_is_not_expanded_again() -> None:
    """One pass: a value cannot name another variable."""
    assert _expanded("${A}", A="${B}", B="secret") == "${B}"


def test_an_undefined_variable() -> None:
    """It is an error with its line, and a hint."""
    assert _refused("${MISSING}") == [
        "F:7: a: the environment variable MISSING is not set: set it, or write ${MISSING:-default}"
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1A}", "${A-b}", "${A:b}", "${A B}", "${A:-${B}}"])
def test_a_malformed_reference(text: str) -> None:
    """It is an error, not a text that happens to look so."""
    (line,) = _refused(text, A="1", B="2")[:1]
    assert "'${' begins a reference: write ${NAME}, ${NAME:-default}, or $${ for the characters" in line


def test_all_faults_of_a_value_are_told() -> None:
    """Two variables that are not set are two problems."""
    assert len(_refused("${A} ${B}")) == 2


@given(st.text(st.characters(codec="utf-8")))
def test_a_value_adds_no_structure(value: str) -> None:
    """Whatever a variable holds, there are the same keys afterwards, and one text."""
    root = Place("", [])
    tree = expand(compose("a: ${V}\nb: 1\n", root), root, {"V": value})
    assert isinstance(tree, Table)
    assert [entry.key for entry in tree.entries] == ["a", "b"]
    assert tree.entries[0].node == Scalar(line=1, text=value, plain=True, variables=("V",))


def test_keys_are_not_expanded() -> None:
    """A reference is for values."""
    assert "F:1: ${K}: unknown key" in told("${K}: 1\n", {"K": "service"})[0]


@pytest.mark.parametrize("value", ["a\nadmin: {listen: 0.0.0.0:1}", "{a: b}", "[a]", "- a", "*x", "!!str a", "a: b"])
def test_injection_is_a_bad_value(value: str) -> None:
    """YAML in a variable is text, which is no service name."""
    (problem,) = problems(GOOD.replace("service: orders", "service: ${V}"), {"V": value})
    assert problem.path == "service"


def test_types_come_from_the_schema() -> None:
    """A number in a variable is a number where one is wanted, and a text where a text is."""
    text = GOOD.replace("service: orders", "service: ${V}") + "limits: {fields: ${V}}\n"
    found = settings(text.replace("{fields: ${V}}", "{fields: '${V}'}"), {"V": "123"})
    assert found.service == "123"
    assert found.inbound is not None
    assert found.inbound.listener.limits.fields == 123


SECRET = "hunter2-hunter2"  # a value that must be found nowhere


@pytest.mark.parametrize(
    "line",
    [
        "service: '${S} x'",
        "trust_domain: ${S}_X",
        "inbound: {app: 'http://${S}/x', listen: '${S}'}",
        "inbound: ${S}",
        "limits: {head: '${S}', fields: '${S}'}",
        "timeouts: {idle: '${S}'}",
        "tls: {min_version: '${S}'}",
        "event_loop: ${S}",
        "admin: {listen: '${S}:1'}",
        "tokens: {keys: 'ftp://${S}', keys_spiffe_id: '${S}', service: {url: 'http://${S}/', spiffe_id: '${S}'}}",
        "policy: [{name: ' ${S}', peers: ['spiffe://${S}/*/x'], scopes: ['a ${S}'], routes: [{match: '${S}'}]}]",
        "policy: [{name: a, peers: [spiffe://example.org/a], routes: [{match: GET /a, scopes: ['${S}']}]}]",
        "policy: [{name: a, peers: [spiffe://example.org/a], scopes: [b], routes: [{match: 'get /${S}'}]}]",
        "policy: [{name: '${S}', peers: ['${S}', '${S}'], routes: []}, {name: '${S}', peers: [a], routes: []}]",
        "outbound: {destinations: [{host: '${S} ', address: '${S}', spiffe_id: 'spiffe://${S}/x', token: {scope: '${S}'}}]}",
        "outbound: {destinations: [{host: '${S}', address: 'a:1', spiffe_id: 'spiffe://e.org/x', protection: '${S}'}]}",
        "outbound: {destinations: [{host: a, address: 'a:1', protection: web, token: {scope: '${S} b'}}]}",
        "identity: {source: '${S}', files: {svid: ${S}}}",
        "allow_ambiguous: ['${S}']",
    ],
)
def test_values_of_variables_are_in_no_error(line: str) -> None:
    """Wherever it stands and whatever refuses it: the name is told, the value is not."""
    key = line.partition(":")[0]
    rest = "".join(kept + "\n" for kept in WHO.splitlines() if not kept.startswith(f"{key}:"))
    lines = told(rest + line + "\n", {"S": SECRET})
    assert lines
    assert SECRET not in "\n".join(lines)


def test_the_room_next_door_repeats_no_value() -> None:
    """The policy room quotes a scope that no token could satisfy; it cannot know where the scope came from."""
    text = GOOD.replace("scopes: [orders.read]}", "scopes: ['${S}']}")
    (line,) = told(text, {"S": SECRET})
    assert line.endswith("the value of ${S} is not in the scopes of the rule: no token could satisfy it")
    (line,) = told(text.replace("${S}", "plain"), {"S": SECRET})
    assert "'plain' is not in the scopes of the rule" in line

"""The conditions of a rule as YAML writes them."""

import pytest
from support.yaml_text import GOOD, problems, settings

from proxy.policy.settings import Effect, RuleSettings

RULE = "  - name: r\n    peers: [spiffe://example.org/edge]\n    routes: [{match: GET /a}]\n"


def text(*lines: str, rule: str = RULE, top: str = "") -> str:
    """A good YAML whose only rule has these lines too."""
    assert "policy:" in GOOD
    rest = [line for line in GOOD.splitlines() if line]
    start = next(n for n, line in enumerate(rest) if line.startswith("policy:"))
    end = next((n for n in range(start + 1, len(rest)) if not rest[n].startswith((" ", "-"))), len(rest))
    written = ["policy:", *rule.splitlines(), *(f"    {line}" for line in lines)]
    return "\n".join([*rest[:start], *written, *rest[end:], top, ""])


def read(*lines: str, rule: str = RULE, top: str = "") -> RuleSettings:
    """That rule."""
    return settings(text(*lines, rule=rule, top=top)).policy.rules[0]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("BUY", "BUY"),
        ("3", 3),
        ("-3", -3),
        ("3.0", 3.0),
        ("0.5", 0.5),
        ("true", True),
        ("false", False),
        ('"3"', "3"),
        ('"true"', "true"),
        ("[BUY, 3, true]", ("BUY", 3, True)),
    ],
)
def test_values_have_the_type_that_they_are_written_in(written: str, value: object) -> None:
    """As JSON would have them."""
    found = read(f"tctx: {{action: {written}}}").tctx["action"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "written", ["0x10", "1_000", "010", "1e3", ".5", "+3", "yes", "2026-11-22", "~", "{a: 1}", "[]", "[[1]]", ".inf"]
)
def test_values_that_readers_of_yaml_read_differently(written: str) -> None:
    """Refused, with the place."""
    assert any(
        found.path.startswith("policy[0].tctx.action") for found in problems(text(f"tctx: {{action: {written}}}"))
    )


def test_a_rule_with_everything() -> None:
    """Each key reaches its setting; the lines of an expression become one."""
    one = read(
        "subjects: [users/*]",
        "trust_domains: [example.org]",
        "hosts: [orders, '*.example.org']",
        "tctx: {/order/q: 3}",
        "max_token_age: 2m",
        "when: >",
        "  token.sub == 'x' &&",
        "  environment.stage == 'prod'",
        top="environment: {stage: prod}",
    )
    assert one.subjects == ("users/*",)
    assert one.trust_domains == ("example.org",)
    assert one.hosts == ("orders", "*.example.org")
    assert one.tctx == {"/order/q": 3}
    assert one.max_token_age_s == 120
    assert one.when == "token.sub == 'x' && environment.stage == 'prod'"
    assert one.effect is Effect.ALLOW


def test_a_rule_that_denies_needs_neither_peers_nor_routes() -> None:
    """It speaks of everybody and everything; the rule that allows beside it is as it was."""
    found = settings(text(rule=RULE + "  - {name: d, effect: deny, hosts: [debug]}\n")).policy.rules
    assert [one.effect for one in found] == [Effect.ALLOW, Effect.DENY]


def test_the_environment_may_come_from_the_environment() -> None:
    """As every value may; and names are checked when the YAML is read."""
    body = text("when: environment.stage == 'prod'", top="environment: {stage: '${STAGE:-dev}'}")
    assert settings(body, {"STAGE": "prod"}).policy.environment == {"stage": "prod"}
    (found,) = problems(text("when: environment.region == 'eu'", top="environment: {stage: prod}"))
    assert found.path == "policy[0].when"
    assert "undeclared reference to 'environment.region'" in found.message


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("  - {name: r, peers: [spiffe://example.org/edge]}\n", "policy[0].routes"),
        ("  - {name: r, routes: [{match: GET /a}]}\n", "policy[0].peers"),
        ("  - {name: r, trust_domains: [other.org], routes: [{match: GET /a}]}\n", "policy[0].trust_domains[0]"),
        ("  - {name: r, effect: forbid}\n", "policy[0].effect"),
        ("  - {name: r, effect: deny, routes: [{match: GET /a, scopes: [s]}]}\n", "policy[0].routes[0].scopes"),
        ("  - {name: r, effect: deny, max_token_age: 5s}\n", "policy[0].max_token_age"),
    ],
)
def test_what_a_rule_must_and_may_not_have(rule: str, path: str) -> None:
    """Each told at its place."""
    assert path in {found.path for found in problems(text(rule=rule))}


@pytest.mark.parametrize(("length", "is_good"), [(1024, True), (1025, False)])
def test_the_length_of_an_expression(length: int, is_good: bool) -> None:  # noqa: FBT001 - n and n + 1
    """Law 8."""
    body = text(f'when: "true ||{" " * (length - 11)}true"')
    assert (not problems(body)) is is_good

"""Destinations and rules as they are written."""

import pytest
from support.yaml_text import GOOD, only, problems, settings

from proxy.policy.compile import MAX_NAME
from proxy.policy.settings import Ambiguity, Protection


def test_at_least_one_destination() -> None:
    """An outbound side that may call nobody is a slip."""
    text = GOOD.partition("outbound:")[0] + "outbound: {destinations: []}\n"
    assert only(text).startswith("F:11: outbound.destinations: write at least 1, for example - {host: ledger,")


def test_peers_are_named() -> None:
    """A rule for nobody is a slip; a rule without routes has to be written as such."""
    text = GOOD.replace("peers: [spiffe://example.org/edge]", "peers: []")
    assert only(text).startswith("F:8: policy[0].peers: write at least 1, for example [spiffe://example.org/edge]")
    routes = 'routes: [{match: "GET /orders/{id}", scopes: [orders.read]}]'
    assert only(GOOD.replace(routes, "audiences: []")).startswith("F:7: policy[0].routes: is missing")
    assert settings(GOOD.replace(routes, "routes: []")).policy.rules[0].routes == ()


def test_a_single_scope_is_a_list_too() -> None:
    """In a rule a scope without brackets is a slip that is told."""
    said = only(GOOD.replace("    scopes: [orders.read]", "    scopes: orders.read"))
    assert said.endswith(
        "expected a list (each item after '- '), not a single value; for example [orders.read, orders.write]"
    )


@pytest.mark.parametrize("protection", list(Protection))
def test_protections(protection: Protection) -> None:
    """Each by its name."""
    line = f'- {{host: other, address: "o:1", protection: {protection}'
    line += ', spiffe_id: "spiffe://example.org/o"}' if protection is Protection.MTLS else "}"
    found = settings(GOOD + f"    {line}\n")
    assert found.destinations[1].protection is protection


def test_an_unknown_protection() -> None:
    """All of them are told."""
    (problem,) = problems(GOOD.replace("{host: ledger,", "{host: ledger, protection: tls,"))
    assert problem.message == "'tls' is not one of mtls, web, plain, for example mtls"


@pytest.mark.parametrize("name", list(Ambiguity))
def test_every_ambiguity_can_be_allowed_by_name(name: Ambiguity) -> None:
    """And nothing else can."""
    assert settings(GOOD + f"allow_ambiguous: [{name}]\n").policy.allow == {name}
    assert "is not one of" in only(GOOD + f"allow_ambiguous: [{name}s]\n")


def test_the_length_of_a_name() -> None:
    """The limit is the policy room's own."""
    assert not problems(GOOD.replace("edge may order", "n" * MAX_NAME))
    assert f"is longer than {MAX_NAME} characters" in only(GOOD.replace("edge may order", "n" * (MAX_NAME + 1)))

"""actors.py: a rule may ask who acts for the subject."""

from dataclasses import replace

import pytest
from support.policy import AUDIENCE, NOW, grant, rule, token

from proxy.errors import ActorNotAllowed, ScopeMissing
from proxy.policy.actors import InvalidActor, parse_actors
from proxy.policy.compile import PolicyErrors, compile_policy
from proxy.policy.settings import PolicySettings, RuleSettings

READ = rule("read", [("GET /orders/{id}", ["orders.read"])])


def asked(*actors: str, base: RuleSettings = READ) -> RuleSettings:
    """The rule with these actors."""
    return replace(base, actors=actors)


def may(one: RuleSettings, *actors: str) -> bool:
    """Whether a token with these actors gets a permit."""
    try:
        grant(one).permit(b"GET", b"/orders/1", replace(token("orders.read"), actors=actors), NOW)
    except ActorNotAllowed:
        return False
    return True


def test_a_rule_without_actors_asks_nothing() -> None:
    """The token service has decided who acts."""
    assert may(READ)
    assert may(READ, "agent-1")


def test_only_the_subject_itself() -> None:
    """None means none; an actor that calls itself so is one."""
    assert may(asked("none"))
    assert not may(asked("none"), "agent-1")
    assert not may(asked("none"), "none")


def test_only_through_an_actor() -> None:
    """By its name, or the beginning of it; the subject itself is not asked for by a star."""
    assert may(asked("agent-1"), "agent-1")
    assert not may(asked("agent-1"), "agent-10")
    assert may(asked("agents/*"), "agents/7")
    assert not may(asked("agents/*"), "agents")
    assert may(asked("*"), "whoever")
    assert not may(asked("*"))
    assert may(asked("none", "agents/*"))


def test_history_decides_nothing() -> None:
    """Who acted before is no credential for who acts now (RFC 8693 section 4.1)."""
    assert may(asked("agent-1"), "agent-1", "intruder")
    assert not may(asked("agent-1"), "intruder", "agent-1")


def test_the_peer_is_no_actor() -> None:
    """The workload's own identity and the delegated authority never mix."""
    assert not may(asked("spiffe://example.org/edge"))


def test_alternatives() -> None:
    """One rule for people and one for agents on the same route; the refusal names what was missing."""
    people = asked("none", base=rule("people", [("GET /orders/{id}", ["orders.read"])]))
    agents = asked("agents/*", base=rule("agents", [("GET /orders/{id}", ["orders.read", "agents.use"])]))
    both = grant(people, agents)
    permit = both.permit(b"GET", b"/orders/1", replace(token("orders.read", "agents.use"), actors=("agents/1",)), NOW)
    assert permit.rule == "agents"
    assert both.permit(b"GET", b"/orders/1", token("orders.read"), NOW).rule == "people"
    with pytest.raises(ActorNotAllowed):
        both.permit(b"GET", b"/orders/1", replace(token("orders.read"), actors=("agents/1",)), NOW)
    with pytest.raises(ScopeMissing):
        both.permit(b"GET", b"/orders/1", replace(token("agents.use"), actors=("agents/1",)), NOW)


@pytest.mark.parametrize("pattern", ["", " ", "a*b", "**", "a ", "a\n", "a\nb"])
def test_patterns_that_are_none(pattern: str) -> None:
    """They are told with their place."""
    with pytest.raises(InvalidActor):
        parse_actors((pattern,))
    with pytest.raises(PolicyErrors) as refused:
        compile_policy(PolicySettings(rules=(asked(pattern),)), AUDIENCE)
    assert refused.value.errors[0][0] == "policy[0].actors"

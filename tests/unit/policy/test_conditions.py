"""Each condition of a rule: when it holds, when it does not, and when it cannot be told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.policy import EDGE, NOW, UNTIL, grant, peer, policy, rule, token

from proxy.errors import ConditionUnmet, FactMismatch
from proxy.policy.binding import Undecided
from proxy.policy.compile import PolicyErrors, compile_policy
from proxy.policy.conditions import Condition, OfContext, Question
from proxy.policy.settings import Effect, PolicySettings, RouteSettings, RuleSettings
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts

OPEN = rule("open", [("GET /a", [])])


def shown(authority: bytes = b"orders", target: bytes = b"/a") -> Facts:
    """The facts of a request."""
    return Facts(method=b"GET", target=target, lines=[], authority=authority)


def with_tctx(tctx: Mapping[str, Any] | None) -> TxnToken:
    """A token that says this."""
    return replace(token(), tctx=tctx)


def may(settings: RuleSettings, one: TxnToken, facts: Facts | None = None, now: float = NOW) -> bool:
    """Whether a request passes by this rule alone."""
    try:
        grant(settings).permit(b"GET", b"/a", one, now, facts)
    except ConditionUnmet:
        return False
    return True


def test_a_rule_without_conditions_makes_none() -> None:
    """What is not written costs nothing."""
    assert all(route.demands is None for route in policy(OPEN).rules[0].routes)


def test_subjects() -> None:
    """On whose behalf, with its case."""
    asked = replace(OPEN, subjects=("alice", "users/*"))
    assert may(asked, token())
    assert may(asked, replace(token(), sub="users/7"))
    assert not may(asked, replace(token(), sub="Alice"))


@pytest.mark.parametrize(
    ("value", "holds"),
    [("BUY", True), ("SELL", True), ("buy", False), (["BUY"], False), (True, False), (None, False)],
)
def test_tctx(value: object, holds: bool) -> None:  # noqa: FBT001 - a row of the table
    """One of the values, of the same JSON type."""
    assert may(replace(OPEN, tctx={"action": ("BUY", "SELL")}), with_tctx({"action": value})) is holds


@pytest.mark.parametrize(
    ("wanted", "value", "answer"),
    [
        (3, 3, True),
        (3, 3.0, True),
        (3, "3", False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ("3", 3, False),
        (0.5, 0.5, True),
        (3, {"x": 3}, False),
        (3, None, None),
    ],
)
def test_values_are_equal_by_type(wanted: Any, value: object, answer: bool | None) -> None:  # noqa: FBT001 - a row
    """As facts are (RFC 6902 section 4.6); what is missing or null cannot be told."""
    condition = OfContext("/a/b", ("a", "b"), (wanted,))
    question = Question(peer(), with_tctx({"a": {"b": value}}), NOW, UNTIL, None)
    assert condition.holds(question) is answer
    assert condition.holds(Question(peer(), with_tctx(None), NOW, UNTIL, None)) is None


def test_the_age_of_a_token() -> None:
    """At n it is taken, later it is not."""
    asked = replace(OPEN, max_token_age_s=60.0)
    young = replace(token(), iat=NOW - 60)
    assert may(asked, young)
    assert not may(asked, young, now=NOW + 0.001)


def test_hosts_need_the_request() -> None:
    """Without its facts the Grant asks for them; no Permit comes without."""
    asked = replace(OPEN, hosts=("orders",))
    with pytest.raises(Undecided) as undecided:
        may(asked, token())
    assert not undecided.value.needs_body
    assert may(asked, token(), shown())
    assert not may(asked, token(), shown(b"ledger"))
    assert not may(asked, token(), shown(b"orders.")), "what cannot be told opens nothing"


def test_what_can_be_refused_without_the_request_is() -> None:
    """The body of a request that cannot pass is not read."""
    route = RouteSettings(match="GET /a", facts={"q": "body:/q"})
    asked = RuleSettings(name="r", peers=(EDGE,), routes=(route,), subjects=("bob",), hosts=("orders",))
    with pytest.raises(ConditionUnmet):
        grant(asked).permit(b"GET", b"/a", token(), NOW)


def test_conditions_come_before_facts() -> None:
    """And both have to be met."""
    route = RouteSettings(match="GET /a", facts={"who": "literal:x"})
    asked = RuleSettings(name="r", peers=(EDGE,), routes=(route,), subjects=("alice",), hosts=("orders",))
    with pytest.raises(Undecided):
        grant(asked).permit(b"GET", b"/a", token(), NOW)
    with pytest.raises(FactMismatch):
        grant(asked).permit(b"GET", b"/a", with_tctx({"who": "y"}), NOW, shown())
    assert grant(asked).permit(b"GET", b"/a", with_tctx({"who": "x"}), NOW, shown())


def test_the_next_alternative_is_asked() -> None:
    """A rule whose condition does not hold keeps no other rule from allowing; what it demands is not dropped."""
    strict, other = replace(OPEN, subjects=("bob",)), replace(OPEN, name="other", subjects=("alice",))
    assert grant(strict, other).permit(b"GET", b"/a", token(), NOW).rule == "other"
    with pytest.raises(ConditionUnmet, match="'open' sets a condition that does not hold: subjects"):
        grant(strict, other).permit(b"GET", b"/a", replace(token(), sub="eve"), NOW)


def test_an_alternative_that_asks_for_more_is_not_asked() -> None:
    """Whoever satisfies it has satisfied the one before; never the other way round."""
    strict = replace(OPEN, name="strict", subjects=("bob",))
    assert [len(found) for found in grant(OPEN, strict).routes.find(b"GET", b"/a")] == [1]
    assert [len(found) for found in grant(strict, OPEN).routes.find(b"GET", b"/a")] == [2]
    assert grant(strict, OPEN).permit(b"GET", b"/a", token(), NOW).rule == "open"


def test_conditions_are_equal_where_they_were_written_equally() -> None:
    """Of a name and a text; the same text of another name is another condition."""
    one, same, other = Condition("subjects", "a"), Condition("subjects", "a"), Condition("hosts", "a")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "subjects"


BAD = {
    "policy[0].subjects": replace(OPEN, subjects=("a*b",)),
    "policy[0].hosts": replace(OPEN, hosts=("http://orders",)),
    "policy[0].tctx./a~2": replace(OPEN, tctx={"/a~2": 1}),
    "policy[0].when": replace(OPEN, when="token.nope == 1"),
    "policy[0].trust_domains[0]": replace(OPEN, trust_domains=("Example.org",)),
    "policy[0].max_token_age": RuleSettings(name="d", effect=Effect.DENY, max_token_age_s=1.0),
    "policy[0].routes[0].scopes": RuleSettings(
        name="d", effect=Effect.DENY, routes=(RouteSettings(match="GET /", scopes=("s",)),)
    ),
    "policy[0].routes[0].once": RuleSettings(
        name="d", effect=Effect.DENY, routes=(RouteSettings(match="GET /", once=True),)
    ),
    "policy[0].routes[0].match": RuleSettings(name="d", effect=Effect.DENY, routes=(RouteSettings(match="GET"),)),
    "policy[0].peers": RuleSettings(name="allow nobody", routes=OPEN.routes),
}


@pytest.mark.parametrize("path", BAD)
def test_what_cannot_be_meant(path: str) -> None:
    """Each with its place."""
    with pytest.raises(PolicyErrors) as caught:
        compile_policy(PolicySettings(rules=(BAD[path],)), "example.org")
    assert [place for place, _ in caught.value.errors] == [path]


def test_a_trust_domain_is_every_workload_of_it() -> None:
    """As ``spiffe://td/*`` is."""
    whole = RuleSettings(name="r", trust_domains=("example.org",), routes=OPEN.routes)
    assert grant(whole, uri="spiffe://example.org/a/b").permit(b"GET", b"/a", token(), NOW)

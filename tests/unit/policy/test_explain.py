"""An explanation has the verdict of the sidecar's own code, and what it found leads to that verdict."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy import EDGE, NOW, UNTIL, peer, policy, rule, token

from proxy.errors import ProxyError
from proxy.policy.binding import Undecided
from proxy.policy.explain import Case, explain
from proxy.policy.findings import Explanation
from proxy.policy.grant import admit
from proxy.policy.permit import Permit
from proxy.policy.rules import Policy
from proxy.policy.settings import Ambiguity, Effect, RouteSettings, RuleSettings
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts
from proxy.tokens.settings import AskSettings, SubjectSettings

RULES = (
    rule("edge may order", [("GET /orders/{id}", ["orders.read"]), ("POST /orders", ["orders.write"])]),
    replace(
        rule("audit", [("GET /orders/{id}", ["orders.audit"])]),
        peers=(EDGE, "spiffe://example.org/audit/*"),
        subjects=("auditors/*",),
    ),
    RuleSettings(
        name="nobody deletes", effect=Effect.DENY, routes=(RouteSettings(match="DELETE /**"),), subjects=("alice",)
    ),
)


def asked(
    one: TxnToken | None,
    method: bytes = b"GET",
    target: bytes = b"/orders/7",
    uri: str = EDGE,
    rules: Policy | None = None,
) -> Explanation:
    """Explain one case."""
    request = Facts(method=method, target=target, lines=[], authority=b"orders")
    return explain(rules or policy(*RULES), Case(peer=peer(uri), request=request, token=one, now=NOW, until=UNTIL))


def test_what_is_allowed_names_its_rule() -> None:
    """Each condition with what it asked and found, and the place in the YAML."""
    found = asked(token("orders.read"))
    assert (found.allowed, found.reason, found.rule, found.route) == (True, "", "edge may order", "/orders/{id}")
    assert [(each.name, each.holds) for each in found.connection] == [
        ("peer", True),
        ("audience", True),
        ("ceiling", True),
    ]
    assert [(each.place, each.decides) for each in found.considered] == [
        ("policy[0].routes[0]", True),
        ("policy[1].routes[0]", False),
    ]
    assert found.considered[0].findings[0].asked == "orders.read"
    assert found.advice == ()


def test_a_refusal_says_what_would_have_made_it_pass() -> None:
    """By every rule that could have allowed it."""
    found = asked(token("orders.audit"))
    assert found.reason == "condition_unmet"
    assert (
        "by policy[0].routes[0] 'edge may order', GET /orders/{id}: scopes orders.read (found: orders.audit)"
        in found.advice
    )
    assert any("subjects auditors/* (found: alice)" in line for line in found.advice)


@pytest.mark.parametrize(
    ("method", "target", "uri", "advice"),
    [
        (b"PUT", b"/orders", EDGE, "the rule 'edge may order' has this path with POST"),
        (b"GET", b"/orders/7/", EDGE, "the rule 'edge may order' has /orders/7, which is another path"),
        (b"GET", b"/ORDERS/7", EDGE, "the rule 'edge may order' has /orders/7, which is another path"),
        (b"GET", b"//", EDGE, "allow_ambiguous"),
        (b"DELETE", b"/x", EDGE, "policy[2] 'nobody deletes' does not speak of a request outside of subjects alice"),
        (
            b"POST",
            b"/orders",
            "spiffe://example.org/audit/x",
            "policy[0] 'edge may order' has this route, for spiffe://",
        ),
        (b"GET", b"/orders/7", "spiffe://example.org/who", "a rule that allows this peer"),
    ],
)
def test_what_is_near(method: bytes, target: bytes, uri: str, advice: str) -> None:
    """Another method, another spelling, another peer."""
    assert any(advice in line for line in asked(token(), method, target, uri).advice), asked(
        token(), method, target, uri
    )


def test_without_a_token_it_says_which_one_is_needed() -> None:
    """As far as the routes of the peer tell."""
    found = asked(None)
    assert (found.reason, found.considered[0].findings[0].holds) == ("token_missing", None)
    assert any("scopes orders.read" in line for line in found.advice)
    assert any("no token would help" in line for line in asked(None, target=b"/nowhere").advice)
    assert (
        any("'nobody deletes' denies it with subjects alice" in line for line in asked(None, b"DELETE").advice) is False
    )
    deletes = rule("deletes", [("DELETE /x", [])])
    told = asked(None, b"DELETE", b"/x", rules=policy(deletes, RULES[2])).advice
    assert any("policy[1] 'nobody deletes' denies it with subjects alice" in line for line in told)


def test_a_route_that_trades_wants_another_token() -> None:
    """At the edge of the mesh nobody can have a transaction token."""
    ask = AskSettings(scope=("s",), subject=SubjectSettings())
    trading = RuleSettings(
        name="trades", peers=(EDGE,), scopes=("s",), routes=(RouteSettings(match="GET /t", exchange=ask),)
    )
    assert asked(None, target=b"/t", rules=policy(trading)).reason == "access_token_missing"
    assert asked(None, target=b"/u", rules=policy(trading)).reason == "token_missing"
    assert asked(token("s"), target=b"/t", rules=policy(trading)).allowed


def test_facts_are_told_one_by_one() -> None:
    """All of them, also behind the first that fails."""
    route = RouteSettings(match="GET /t/{x}", facts={"a": "path:x", "b": "method", "c": "query:q"})
    rules = policy(RuleSettings(name="r", peers=(EDGE,), routes=(route,)))
    found = asked(replace(token(), tctx={"a": "1", "b": "PUT", "c": "3"}), target=b"/t/1?q=3", rules=rules)
    assert [(each.name, each.holds) for each in found.considered[0].findings] == [
        ("fact a", True),
        ("fact b", False),
        ("fact c", True),
    ]
    assert found.reason == "fact_mismatch"
    shown = asked(None, target=b"/t/1?q=3", rules=rules).considered[0].findings
    assert [each.holds for each in shown] == [None, None, None]


def test_as_data() -> None:
    """What was found, and whether it decides."""
    data = asked(token("orders.read")).as_data()
    assert data["considered"][0]["decides"] is True
    assert data["considered"][0]["findings"][0]["name"] == "scopes"


# ---- properties

SCOPES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True).map(tuple)
MATCH = st.sampled_from(["GET /x", "GET /{p}", "* /**", "GET /x/{p}", "POST /x", "GET /x/**", "HEAD /x", "GET /X"])
TARGET = st.sampled_from([b"/x", b"/X", b"/x/", b"/x/y", b"/y", b"/x/../y", b"/x%2fy", b"/", b"/x;y", b"//x", b"/%40"])
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "subjects": st.sampled_from([("alice",), ("bob",), ("al*",)]),
        "hosts": st.sampled_from([("orders",), ("other",), ("*.org",)]),
        "tctx": st.sampled_from([{"n": 1}, {"n": (1, 2)}, {"m": "x"}]),
        "actors": st.sampled_from([("none",), ("agents/*",), ("none", "bob")]),
        "when": st.sampled_from(
            ["token.tctx.n < 2", 'request.path == "/x"', 'peer.path == "/edge"', 'request.headers["a"] == "b"']
        ),
        "peers": st.sampled_from([(EDGE,), ("spiffe://example.org/*",), ("spiffe://example.org/b",)]),
    },
)


@st.composite
def rules(draw: st.DrawFn) -> tuple[RuleSettings, ...]:
    """A policy of a few rules, some of which deny."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        conditions: dict[str, Any] = draw(CONDITIONS)
        matches = draw(st.lists(MATCH, min_size=1, max_size=2, unique=True))
        if draw(st.booleans()):
            routes = tuple(RouteSettings(match=match, scopes=draw(SCOPES)) for match in matches)
            one = RuleSettings(
                name=f"r{number}", **{"peers": (EDGE,), **conditions}, scopes=("a", "b", "c"), routes=routes
            )
        else:
            routes = tuple(RouteSettings(match=match) for match in draw(st.sampled_from([matches, []])))
            one = RuleSettings(name=f"r{number}", effect=Effect.DENY, routes=routes, scopes=draw(SCOPES), **conditions)
        made.append(one)
    return tuple(made)


def _permit(compiled: Policy, method: bytes, target: bytes, one: TxnToken, request: Facts) -> Permit | str:
    try:
        granted = admit(compiled, peer(), UNTIL)
        try:
            return granted.permit(method, target, one, NOW)
        except Undecided:
            return granted.permit(method, target, one, NOW, request)
    except ProxyError as error:
        return error.reason


@given(
    rules(),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"get"]),
    TARGET,
    SCOPES,
    st.sampled_from([None, {"n": 1}, {"n": 2, "m": "x"}]),
    st.sampled_from([(), ("agents/1",), ("bob",)]),
    st.sampled_from([b"orders", b"a.org:1", b"orders.", b""]),
    st.sampled_from([frozenset[Ambiguity](), frozenset(Ambiguity)]),
)
def test_the_verdict_never_differs(
    settings: tuple[RuleSettings, ...],
    method: bytes,
    target: bytes,
    scopes: tuple[str, ...],
    tctx: dict[str, object] | None,
    actors: tuple[str, ...],
    authority: bytes,
    allow: frozenset[Ambiguity],
) -> None:
    """What the Grant says is what is told; and whoever reads the findings alone comes to the same."""
    compiled = policy(*settings, allow=allow)
    one = replace(token(*scopes), tctx=tctx, actors=actors)
    request = Facts(method=method, target=target, lines=[b"A: b"], authority=authority)
    given_ = _permit(compiled, method, target, one, request)
    told = explain(compiled, Case(peer=peer(), request=request, token=one, now=NOW, until=UNTIL))
    assert told.allowed is isinstance(given_, Permit)
    assert told.follows is told.allowed
    if isinstance(given_, Permit):
        assert (told.rule, told.route, told.reason) == (given_.rule, given_.route, "")
    else:
        assert told.reason == given_
        assert told.advice or told.reason == "grant_ended"

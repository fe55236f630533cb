"""Admission, and the order in which a request is asked."""

import math
import re
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from support.policy import EDGE, NOW, UNTIL, grant, peer, policy, rule, token

from proxy.errors import (
    AmbiguousPath,
    AudienceBeyondGrant,
    FactMismatch,
    FactUnauthorised,
    GrantEnded,
    PeerNotAllowed,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
)
from proxy.policy.binding import Undecided
from proxy.policy.grant import Grant, admit, route_that_trades
from proxy.policy.settings import Ambiguity, Effect, RouteSettings, RuleSettings
from proxy.tokens.facts import Facts
from proxy.tokens.settings import AskSettings

ORDERS = rule(
    "edge may order",
    [("GET /orders/{id}", ["orders.read"]), ("POST /orders", ["orders.write"]), ("GET /health", [])],
)


def test_an_unknown_peer_is_not_admitted() -> None:
    """Default deny: no rule, no Grant."""
    with pytest.raises(PeerNotAllowed):
        admit(policy(ORDERS), peer("spiffe://example.org/stranger"), UNTIL)
    with pytest.raises(PeerNotAllowed):
        admit(policy(), peer(), UNTIL)


def test_a_grant_is_fixed_at_admission() -> None:
    """It names its peer, audiences, scopes and end, and none of them changes."""
    one = grant(ORDERS)
    assert one.peer == peer()
    assert one.audiences == {"example.org"}
    assert one.scopes == {"orders.read", "orders.write"}
    assert one.until == UNTIL
    with pytest.raises(FrozenInstanceError):
        one.until = math.inf  # type: ignore[misc]


def test_a_request_within_the_grant_gets_a_permit() -> None:
    """The Permit names the rule and the template, as the metrics do."""
    permit = grant(ORDERS).permit(b"GET", b"/orders/42?full=1", token("orders.read"), NOW)
    assert (permit.rule, permit.route, permit.destination) == ("edge may order", "/orders/{id}", None)


def test_a_grant_ends_at_its_end() -> None:
    """The last instant before ``until`` is in, ``until`` is out, and so is a time or an end that is no number."""
    one = grant(ORDERS)
    assert one.permit(b"GET", b"/health", token(), math.nextafter(UNTIL, 0))
    for now in (UNTIL, UNTIL + 1, math.inf, math.nan):
        with pytest.raises(GrantEnded):
            one.permit(b"GET", b"/health", token(), now)
    with pytest.raises(GrantEnded):
        grant(ORDERS, until=math.nan).permit(b"GET", b"/health", token(), NOW)


REFUSALS = [
    (GrantEnded, b"GET", b"//", token("admin", aud="other"), UNTIL),
    (AudienceBeyondGrant, b"GET", b"//", token("admin", aud="other"), NOW),
    (ScopeBeyondGrant, b"GET", b"//", token("orders.read", "admin"), NOW),
    (AmbiguousPath, b"GET", b"//", token("orders.read"), NOW),
    (AmbiguousPath, b"DELETE", b"//", token("orders.read"), NOW),
    (RouteNotAllowed, b"DELETE", b"/orders/42", token("orders.read"), NOW),
    (RouteNotAllowed, b"GET", b"/orders", token("orders.read"), NOW),
    (RouteNotAllowed, b"GET", b"/orders/", token("orders.read"), NOW),
    (RouteNotAllowed, b"GET", b"/Orders/42", token("orders.read"), NOW),
    (ScopeMissing, b"GET", b"/orders/42", token("orders.write"), NOW),
    (ScopeMissing, b"GET", b"/orders/42", token(), NOW),
]


@pytest.mark.parametrize(("refusal", "method", "target", "with_token", "now"), REFUSALS)
def test_the_first_question_that_fails_is_the_reason(
    refusal: type[ProxyError],
    method: bytes,
    target: bytes,
    with_token: object,
    now: float,
) -> None:
    """In the order connection, token, path, route, scope: a token that does not fit learns of no route."""
    with pytest.raises(refusal) as caught:
        grant(ORDERS).permit(method, target, with_token, now)  # type: ignore[arg-type]
    assert type(caught.value) is refusal


def test_a_token_wider_than_the_connection_is_refused_where_the_route_needs_nothing() -> None:
    """Scope that the peer may not use should not have come this way at all."""
    with pytest.raises(ScopeBeyondGrant):
        grant(ORDERS).permit(b"GET", b"/health", token("orders.read", "admin"), NOW)


def test_the_token_may_be_for_any_audience_of_the_rules() -> None:
    """Named audiences stand in the place of the one of ``tokens:``."""
    one = grant(rule(routes=[("GET /a", [])], audiences=["a.example", "b.example"]))
    assert one.permit(b"GET", b"/a", token(aud="b.example"), NOW)
    with pytest.raises(AudienceBeyondGrant):
        one.permit(b"GET", b"/a", token(aud="example.org"), NOW)


def test_rules_of_other_peers_do_not_exist() -> None:
    """Another peer's route is no route, and its literal does not shadow ours."""
    rules = (rule("a", [("GET /{x}", [])]), rule("b", [("GET /secret", ["s"])], peers=["spiffe://example.org/b"]))
    assert grant(*rules).permit(b"GET", b"/secret", token(), NOW).rule == "a"
    assert grant(*rules).scopes == frozenset()


def test_a_refusal_for_scope_names_the_first_rule_and_what_it_lacks() -> None:
    """Names of ours only: the rule, the template, the scopes; no byte of the request."""
    rules = (rule("first", [("GET /a/{x}", ["s1", "s2"])]), rule("second", [("GET /a/{y}", ["s3"])]))
    with pytest.raises(ScopeMissing, match=re.escape("the rule 'first' needs s2 for GET /a/{x}")):
        grant(*rules).permit(b"GET", b"/a/evil-value", token("s1"), NOW)


def test_alternatives_are_asked_in_the_order_of_the_file() -> None:
    """Whichever of two rules is satisfied permits; of both, the first one gives its name."""
    rules = (rule("first", [("GET /a/{x}", ["s1"])]), rule("second", [("GET /a/{y}", ["s2"])]))
    one = grant(*rules)
    assert one.permit(b"GET", b"/a/1", token("s1"), NOW).rule == "first"
    assert one.permit(b"GET", b"/a/1", token("s2"), NOW).rule == "second"
    assert one.permit(b"GET", b"/a/1", token("s1", "s2"), NOW).rule == "first"


def test_every_reading_of_a_path_must_be_permitted() -> None:
    """An ambiguity that was allowed opens no way around a rule, and passes where both readings are allowed."""
    rules = (
        rule("low", [("GET /files/{name}", ["low"])]),
        rule("high", [("GET /files/{name}/secret", ["high"])]),
    )
    one = grant(*rules, allow=[Ambiguity.ENCODED_SLASH])
    with pytest.raises(ScopeMissing):
        one.permit(b"GET", b"/files/a%2Fsecret", token("low"), NOW)
    with pytest.raises(ScopeMissing):
        one.permit(b"GET", b"/files/a%2Fsecret", token("high"), NOW)
    assert one.permit(b"GET", b"/files/a%2Fsecret", token("low", "high"), NOW).rule == "low"
    with pytest.raises(AmbiguousPath, match="not every one has a route"):
        one.permit(b"GET", b"/files/a%2Fb", token("low", "high"), NOW)


def test_an_encoded_spelling_of_a_literal_is_held_to_both_rules() -> None:
    """One router sees /users/@me, another a user called %40me: the token must do for either."""
    rules = (rule("me", [("GET /users/@me", ["self"])]), rule("any", [("GET /users/{id}", ["users"])]))
    one = grant(*rules)
    assert one.permit(b"GET", b"/users/@me", token("self"), NOW).rule == "me"
    for only in ("self", "users"):
        with pytest.raises(ScopeMissing):
            one.permit(b"GET", b"/users/%40me", token(only), NOW)
    assert one.permit(b"GET", b"/users/%40me", token("self", "users"), NOW)
    assert one.permit(b"GET", b"/users/a%40b", token("users"), NOW).rule == "any"


def test_a_refusal_says_nothing_that_came_from_outside() -> None:
    """No detail holds the target, the method or the token."""
    one = grant(ORDERS)
    for method, target, with_token in (
        (b"EVIL", b"/evil/path", token()),
        (b"GET", b"/evil//path", token()),
        (b"GET", b"/orders/evil", token()),
        (b"GET", b"/x", token("evil")),
        (b"GET", b"/x", token(aud="evil")),
    ):
        with pytest.raises(ProxyError) as caught:
            one.permit(method, target, with_token, NOW)
        assert "evil" not in str(caught.value).lower()


def bound(*routes: RouteSettings, scopes: tuple[str, ...] = ("a", "b")) -> Grant:
    """Admit the edge under one rule with these routes."""
    return grant(RuleSettings(name="bound", peers=(EDGE,), scopes=scopes, routes=routes))


def shown(body: bytes = b"", target: bytes = b"/x/1") -> Facts:
    """The facts of a request with a JSON body."""
    return Facts(method=b"POST", target=target, lines=[b"Content-Type: application/json"], body=body)


def test_a_route_with_terms_gives_no_permit_without_facts() -> None:
    """Nor does one that has them among alternatives; the scopes are asked for first, and tell nothing of facts."""
    one = bound(RouteSettings(match="POST /x/{id}", scopes=("a",), facts={"id": "path:id"}))
    with pytest.raises(Undecided) as undecided:
        one.permit(b"POST", b"/x/1", token("a"), NOW)
    assert not undecided.value.needs_body
    with pytest.raises(ScopeMissing):
        one.permit(b"POST", b"/x/1", token("b"), NOW)
    body = bound(RouteSettings(match="POST /x/{id}", facts={"q": "body:/q"}))
    with pytest.raises(Undecided) as undecided:
        body.permit(b"POST", b"/x/1", token(), NOW)
    assert undecided.value.needs_body


def test_facts_have_to_equal_those_of_the_token() -> None:
    """With the template of the route, not with what the caller says of it."""
    one = bound(RouteSettings(match="POST /x/{id}", facts={"id": "path:id"}))
    good, other = replace(token(), tctx={"id": 1}), replace(token(), tctx={"id": 2})
    assert one.permit(b"POST", b"/x/1", good, NOW, shown()).rule == "bound"
    with pytest.raises(FactMismatch):
        one.permit(b"POST", b"/x/1", other, NOW, shown())
    with pytest.raises(FactUnauthorised):
        one.permit(b"POST", b"/x/1", token(), NOW, shown())


def test_alternatives_with_facts() -> None:
    """One of them has to be satisfied; a refusal is that of the first whose scopes suffice."""
    one = bound(
        RouteSettings(match="POST /x/{id}", scopes=("a",), facts={"id": "path:id"}),
        RouteSettings(match="POST /x/{id}", scopes=("b",)),
    )
    wrong = replace(token("a"), tctx={"id": 2})
    with pytest.raises(FactMismatch):
        one.permit(b"POST", b"/x/1", wrong, NOW, shown())
    assert one.permit(b"POST", b"/x/1", replace(wrong, scopes=frozenset({"a", "b"})), NOW, shown())
    assert one.permit(b"POST", b"/x/1", token("b"), NOW), "whose scopes lead past the facts needs none"


def test_a_route_that_asks_for_less_facts_is_not_dropped_for_one_that_asks_for_more() -> None:
    """Rules are alternatives: what one binds, another may leave free; the order of the file changes nothing."""
    strict = rule_of("strict", RouteSettings(match="POST /x/{id}", facts={"id": "path:id"}))
    free = rule_of("free", RouteSettings(match="POST /x/{id}"))
    assert grant(free, strict).permit(b"POST", b"/x/1", token(), NOW).rule == "free"
    assert grant(strict, free).permit(b"POST", b"/x/1", token(), NOW, shown()).rule == "free"


def rule_of(name: str, route: RouteSettings) -> RuleSettings:
    """A rule of one route."""
    return RuleSettings(name=name, peers=(EDGE,), scopes=(), routes=(route,))


def test_of_several_readings_the_one_that_is_used_once_decides() -> None:
    """A path with two readings is no way around it."""
    one = grant(
        rule_of("free", RouteSettings(match="GET /files/{name}")),
        rule_of("once", RouteSettings(match="GET /files/{name}/pay", once=True)),
        allow=[Ambiguity.ENCODED_SLASH],
    )
    assert one.permit(b"GET", b"/files/a", token(), NOW).once == ""
    assert one.permit(b"GET", b"/files/a%2Fpay", token(), NOW).once == "GET /files/{name}/pay"


def calls(one: Grant, target: bytes) -> int:
    """Count the calls, of Python's functions and of C's, that a Permit costs."""
    count = 0

    def see(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    held = token("s")
    sys.setprofile(see)
    try:
        one.permit(b"GET", target, held, NOW)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("target", [b"/part-7/1", b"/exact-7", b"/any/7/a/b", b"/part-7/a%40b"])
def test_a_permit_costs_the_same_with_500_rules(target: bytes) -> None:
    """Counted, not timed: the table is descended, never searched; and rules that deny other paths add nothing."""
    rules = [
        rule(
            f"rule {n}",
            [(f"GET /part-{n}/{{id}}", ["s"]), (f"GET /exact-{n}", []), (f"GET /any/{n}/**", [])],
            peers=[EDGE, f"spiffe://example.org/team-{n}/*"],
        )
        for n in range(500)
    ]
    denying = [
        RuleSettings(name=f"deny {n}", effect=Effect.DENY, routes=(RouteSettings(match=f"* /denied-{n}/**"),))
        for n in range(500)
    ]
    assert calls(grant(*rules), target) == calls(grant(rules[7]), target)
    assert calls(grant(*rules, *denying), target) == calls(grant(rules[7], denying[7]), target)


def test_nothing_is_traded_in_the_name_of_a_grant_that_has_ended() -> None:
    """The token service is asked for nobody whose SVID has ended, or who was taken back."""
    trading = RuleSettings(
        name="edge", peers=(EDGE,), routes=(RouteSettings(match="GET /x", exchange=AskSettings(scope=("a",))),)
    )
    one = admit(policy(trading), peer(), UNTIL)
    assert route_that_trades(one, b"GET", b"/x", UNTIL - 1) is not None
    for ended, now in ((one, UNTIL), (one, math.nan), (one.withdrawn(), NOW)):
        with pytest.raises(GrantEnded):
            route_that_trades(ended, b"GET", b"/x", now)


def test_a_path_whose_readings_trade_unlike_is_traded_by_none() -> None:
    """One reading is of the edge and one is not, or each asks for another token: it is not chosen between them."""
    routes = (
        RouteSettings(match="GET /open/**", exchange=AskSettings(scope=("a",))),
        RouteSettings(match="GET /inner"),
        RouteSettings(match="GET /other", exchange=AskSettings(scope=("b",))),
    )
    rules = policy(RuleSettings(name="edge", peers=(EDGE,), routes=routes), allow=frozenset({Ambiguity.DOT_SEGMENT}))
    one = admit(rules, peer(), UNTIL)
    assert route_that_trades(one, b"GET", b"/inner", NOW) is None
    for target in (b"/open/../inner", b"/open/../other"):
        with pytest.raises(AmbiguousPath):
            route_that_trades(one, b"GET", target, NOW)

"""Rules that stand in each other's way are found, and rules that only stand side by side are left in peace."""

from dataclasses import replace

import pytest
from support.policy import AUDIENCE, EDGE, policy, rule

from proxy.policy.conflicts import conflicts
from proxy.policy.settings import Effect, RouteSettings, RuleSettings

READ = rule("reads", [("GET /orders/{id}", ["r"])])
ALL = ("spiffe://example.org/*",)


def deny(*matches: str, name: str = "denies", peers: tuple[str, ...] = (), **conditions: object) -> RuleSettings:
    """A rule that denies."""
    routes = tuple(RouteSettings(match=match) for match in matches)
    return RuleSettings(name=name, effect=Effect.DENY, peers=peers, routes=routes, **conditions)  # type: ignore[arg-type]


def found(*rules: RuleSettings) -> dict[str, str]:
    """What is said, by its place."""
    return dict(conflicts(policy(*rules), AUDIENCE))


@pytest.mark.parametrize("match", ["GET /orders/{id}", "* /orders/**", "GET /ORDERS/{other}/", "* /**", "GET /{a}/{b}"])
def test_a_route_that_is_denied_whole(match: str) -> None:
    """Both rules are named, and where the route stands."""
    told = found(READ, deny(match))
    assert told == {"policy[0].routes[0]": "GET /orders/{id} is never allowed: policy[1] 'denies' denies all of it"}


@pytest.mark.parametrize(
    "denying",
    [
        deny("GET /orders/7"),
        deny("POST /orders/{id}"),
        deny("GET /orders/{id}", subjects=("bob",)),
        deny("GET /orders/{id}/**", peers=("spiffe://example.org/edge/*", "spiffe://example.org/edge"), hosts=("x",)),
        deny("GET /orders"),
    ],
)
def test_a_route_that_is_denied_in_part(denying: RuleSettings) -> None:
    """That is what such rules are for."""
    assert found(READ, denying) == {}


def test_a_rule_whose_peers_are_barred() -> None:
    """It never decides; with a peer left it may."""
    assert found(READ, deny(peers=ALL)) == {"policy[0]": "never decides: policy[1] 'denies' denies all of its peers"}
    assert found(replace(READ, peers=(EDGE, "spiffe://other.org/x")), deny(peers=ALL)) == {}


def test_a_denial_of_nothing() -> None:
    """No rule allows these peers anything."""
    assert "denies what no rule allows" in found(READ, deny("GET /x", peers=("spiffe://example.org/x",)))["policy[1]"]


def test_a_route_that_is_never_asked() -> None:
    """Of an equal one, the first decides."""
    told = found(READ, replace(READ, name="again"))
    assert "GET /orders/{id} is never asked: policy[0].routes[0] ('reads')" in told["policy[1].routes[0]"]
    wide = replace(READ, peers=ALL)
    assert list(found(wide, replace(READ, name="again"))) == ["policy[1].routes[0]"]
    assert found(READ, replace(wide, name="again")) == {}, "it is asked for other peers"


def test_a_route_that_keeps_nobody_out() -> None:
    """A looser one of another rule lets the same peers through."""
    loose = rule("loose", [("GET /orders/{id}", [])])
    assert "keeps nobody out: policy[1].routes[0] ('loose')" in found(READ, loose)["policy[0].routes[0]"]
    assert found(replace(READ, peers=ALL), loose) == {}, "for one peer of many more may be allowed"


@pytest.mark.parametrize("condition", ["facts", "once", "when", "subjects", "actors", "tctx n", "max_token_age"])
def test_a_condition_that_another_rule_does_not_have(condition: str) -> None:
    """What one of two rules asks for, a peer of both need not bring."""
    route = RouteSettings(match="GET /orders/{id}", scopes=("r",))
    strict = {
        "facts": replace(READ, routes=(replace(route, facts={"id": "path:id"}),)),
        "once": replace(READ, routes=(replace(route, once=True),)),
        "when": replace(READ, when="token.sub == 'x'"),
        "subjects": replace(READ, subjects=("x",)),
        "actors": replace(READ, actors=("none",)),
        "tctx n": replace(READ, tctx={"n": 1}),
        "max_token_age": replace(READ, max_token_age_s=5.0),
    }[condition]
    other = rule("other", [("GET /orders/{id}", ["o"])], peers=ALL)
    (told,) = found(strict, other).items()
    assert told[0] == "policy[0].routes[0]"
    assert f"asks for {condition}, and for a peer of both rules" in told[1]
    assert "policy[1].routes[0] ('other')" in told[1]
    (turned,) = found(other, strict).items()
    assert turned[0] == "policy[1].routes[0]"


def test_peers_that_never_meet() -> None:
    """Two rules of two peers have nothing to do with each other."""
    other = rule("other", [("GET /orders/{id}", [])], peers=["spiffe://example.org/edge/below"])
    assert found(READ, other) == {}


def test_an_audience_that_is_never_believed() -> None:
    """Tokens are verified for one audience."""
    assert "no token passes" in found(replace(READ, audiences=("other.org",)))["policy[0].audiences"]
    assert found(replace(READ, audiences=("other.org", AUDIENCE))) == {}

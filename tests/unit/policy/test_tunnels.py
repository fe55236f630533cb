"""What a rule may say of tunnels."""

import pytest
from support.policy import AUDIENCE, EDGE

from proxy.policy.compile import PolicyErrors, compile_destinations, compile_policy
from proxy.policy.describe import describe
from proxy.policy.settings import LimitSettings, PolicySettings, RouteSettings, RuleSettings, TokenNeed, TunnelEnd
from proxy.tokens.settings import AskSettings

TUNNEL = "CONNECT db:5432"


def errors(route: RouteSettings, **more: object) -> list[tuple[str, str]]:
    """All that is wrong with a rule that has this route."""
    rule = RuleSettings(name="a", peers=(EDGE,), scopes=("s",), routes=(route,), **more)  # type: ignore[arg-type]
    with pytest.raises(PolicyErrors) as caught:
        compile_policy(PolicySettings(rules=(rule,)), AUDIENCE)
    return caught.value.errors


@pytest.mark.parametrize(
    ("route", "more", "path", "told"),
    [
        (RouteSettings(match="GET /", token=TokenNeed.NONE), {}, "token", "is about tunnels"),
        (RouteSettings(match="GET /", ends=TunnelEnd.LIMIT), {}, "ends", "is about tunnels"),
        (RouteSettings(match=TUNNEL, ends=TunnelEnd.LIMIT), {}, "ends", "write limits: {time: ...}"),
        (RouteSettings(match=TUNNEL, token=TokenNeed.NONE, scopes=("s",)), {}, "token", "are of a token"),
        (RouteSettings(match=TUNNEL, token=TokenNeed.NONE, once=True), {}, "token", "are of a token"),
        (RouteSettings(match=TUNNEL, token=TokenNeed.NONE), {"actors": ("none",)}, "token", "are of a token"),
        (RouteSettings(match=TUNNEL, facts={"a": "method"}), {}, "facts", "no request"),
        (RouteSettings(match=TUNNEL, exchange=AskSettings(scope=("s",))), {}, "exchange", "no request"),
        (RouteSettings(match="CONNECT /"), {}, "match", "host:port"),
        (RouteSettings(match="CONNECT *"), {}, "match", "host:port"),
        (RouteSettings(match="CONNECT *:5432"), {}, "match", "host:port"),
        (RouteSettings(match="CONNECT {db}:5432"), {}, "match", "host:port"),
        (RouteSettings(match="CONNECT db"), {}, "match", "the port too"),
    ],
)
def test_what_cannot_be_meant(route: RouteSettings, more: dict[str, object], path: str, told: str) -> None:
    """Told with its place and what would be right."""
    found = errors(route, **more)
    assert [where for where, _ in found] == [f"policy[0].routes[0].{path}"]
    assert told in found[0][1]


def test_tunnels_in_plain_words() -> None:
    """What each needs, and what ends it."""
    rule = RuleSettings(
        name="a",
        peers=(EDGE,),
        scopes=("s",),
        routes=(
            RouteSettings(match=TUNNEL, scopes=("s",)),
            RouteSettings(match="CONNECT db:1", ends=TunnelEnd.LIMIT),
            RouteSettings(match="CONNECT db:2", token=TokenNeed.NONE),
        ),
        limits=LimitSettings(max_bytes=5, max_s=60.0, refusals=3),
    )
    said = describe(compile_policy(PolicySettings(rules=(rule,)), AUDIENCE), compile_destinations([], AUDIENCE))
    assert said[1:5] == [
        "  may use CONNECT db:5432 with scope s, until the token ends",
        "  may use CONNECT db:1 with any such token, also when the token has ended",
        "  may use CONNECT db:2 by mTLS alone, without a token",
        "  a connection carries at most 5 bytes; a connection ends after 60 s; it ends at refusal 3 of a token beyond it",
    ]

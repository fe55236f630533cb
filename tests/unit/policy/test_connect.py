"""The Permit of a tunnel: exactly the authority of the rule, with a token or, by its word, without."""

import pytest
from support.policy import EDGE, NOW, UNTIL, grant, token

from proxy.errors import (
    AudienceBeyondGrant,
    BadHost,
    DeniedByRule,
    GrantEnded,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
    TokenMissing,
)
from proxy.policy.connect import permit_tunnel, spelled
from proxy.policy.grant import Grant
from proxy.policy.settings import Effect, LimitSettings, RouteSettings, RuleSettings, TokenNeed, TunnelEnd


def tunnels(*routes: RouteSettings, limits: LimitSettings | None = None) -> Grant:
    """The Grant of a rule with these tunnels."""
    return grant(
        RuleSettings(
            name="edge", peers=(EDGE,), scopes=("db.query", "db.admin"), routes=routes, limits=limits or LimitSettings()
        )
    )


DB = tunnels(
    RouteSettings(match="CONNECT db:5432", scopes=("db.query",)),
    RouteSettings(match="CONNECT [::1]:6379", token=TokenNeed.NONE),
)


@pytest.mark.parametrize("authority", [b"db:5432", b"DB:5432", b"Db:5432"])
def test_a_tunnel_that_a_rule_names(authority: bytes) -> None:
    """Hosts have no case; the Permit names the rule and what it says."""
    permit = permit_tunnel(DB, authority, token("db.query"), NOW)
    assert (permit.rule, permit.route, permit.tunnel.bare) == ("edge", "db:5432", False)


@pytest.mark.parametrize(
    ("authority", "scopes", "aud", "now", "reason"),
    [
        (b"db:5433", ["db.query"], "example.org", NOW, RouteNotAllowed),
        (b"db.example:5432", ["db.query"], "example.org", NOW, RouteNotAllowed),
        (b"[::2]:6379", ["db.query"], "example.org", NOW, RouteNotAllowed),
        (b"db:5432", [], "example.org", NOW, ScopeMissing),
        (b"db:5432", ["db.query", "x"], "example.org", NOW, ScopeBeyondGrant),
        (b"db:5432", ["db.query"], "other.org", NOW, AudienceBeyondGrant),
        (b"db:5432", ["db.query"], "example.org", UNTIL, GrantEnded),
        (b"db", ["db.query"], "example.org", NOW, BadHost),
        (b"db:5432 ", ["db.query"], "example.org", NOW, BadHost),
        (b"d\xc3\xbc:5432", ["db.query"], "example.org", NOW, BadHost),
        (b"*", ["db.query"], "example.org", NOW, BadHost),
        (b"/db:5432", ["db.query"], "example.org", NOW, BadHost),
    ],
)
def test_every_other_tunnel(
    authority: bytes, scopes: list[str], aud: str, now: float, reason: type[ProxyError]
) -> None:
    """The reasons are those of a request."""
    with pytest.raises(reason):
        permit_tunnel(DB, authority, token(*scopes, aud=aud), now)


def test_without_a_token() -> None:
    """Only where the rule says so; elsewhere nobody is told whether there is a rule at all."""
    assert permit_tunnel(DB, b"[::1]:6379", None, NOW).tunnel.bare
    assert permit_tunnel(DB, b"[0:0::1]:6379", None, NOW).tunnel.bare
    for authority in (b"db:5432", b"unknown:1"):
        with pytest.raises(TokenMissing):
            permit_tunnel(DB, authority, None, NOW)
    with pytest.raises(GrantEnded):
        permit_tunnel(DB, b"[::1]:6379", None, UNTIL)
    with pytest.raises(GrantEnded):
        permit_tunnel(DB.withdrawn(), b"[::1]:6379", None, NOW)


def test_no_path_leads_to_a_tunnel() -> None:
    """Rules for paths, also for every path by any method, name no authority; and no path is one."""
    paths = tunnels(RouteSettings(match="* /**"), RouteSettings(match="GET /db:5432"))
    with pytest.raises(RouteNotAllowed):
        permit_tunnel(paths, b"db:5432", token("db.query"), NOW)
    for target in (b"/db:5432", b"db:5432", b"/"):
        with pytest.raises(RouteNotAllowed):
            DB.permit(b"GET", target if target.startswith(b"/") else b"/" + target, token("db.query"), NOW)
        if target != b"db:5432":
            with pytest.raises(RouteNotAllowed):
                DB.permit(b"CONNECT", target, token("db.query"), NOW)


def test_limits_of_a_tunnel() -> None:
    """Of its rule, and its route."""
    limits = LimitSettings(max_bytes=5, max_s=7.0)
    route = RouteSettings(match="CONNECT db:5432", ends=TunnelEnd.LIMIT)
    found = permit_tunnel(tunnels(route, limits=limits), b"db:5432", token(), 6.0).tunnel
    assert (found.max_bytes, found.max_s, found.ends_with_token) == (5, 7.0, False)
    assert permit_tunnel(DB, b"db:5432", token("db.query"), NOW).tunnel.ends_with_token


@pytest.mark.parametrize(
    ("raw", "one"), [(b"A:1", b"a:1"), (b"[::0001]:1", b"[::1]:1"), (b"a_b.c:65535", b"a_b.c:65535")]
)
def test_one_spelling(raw: bytes, one: bytes) -> None:
    """As a rule is compared."""
    assert spelled(raw) == one


DENIALS = (
    RuleSettings(name="no db", effect=Effect.DENY, routes=(RouteSettings(match="CONNECT db:5432"),)),
    RuleSettings(name="not for bots", effect=Effect.DENY, subjects=("bots/*",), peers=(EDGE,)),
    RuleSettings(
        name="not for bots, here",
        effect=Effect.DENY,
        subjects=("bots/*",),
        routes=(RouteSettings(match="CONNECT db:5432"),),
    ),
)


@pytest.mark.parametrize("denial", DENIALS, ids=lambda rule: rule.name)
def test_a_denial_holds_for_a_tunnel_without_a_token(denial: RuleSettings) -> None:
    """Whose subject it is cannot be told without one, and what cannot be told does not stop a rule that denies."""
    open_to_all = RuleSettings(
        name="edge", peers=(EDGE,), routes=(RouteSettings(match="CONNECT db:5432", token=TokenNeed.NONE),)
    )
    assert permit_tunnel(grant(open_to_all), b"db:5432", None, NOW).rule == "edge"
    with pytest.raises(DeniedByRule):
        permit_tunnel(grant(open_to_all, denial), b"DB:5432", None, NOW)


def test_a_rule_with_conditions_opens_nothing_without_a_token() -> None:
    """They ask about a token; a tunnel that brings none has not met them."""
    rule = RuleSettings(
        name="edge",
        peers=(EDGE,),
        subjects=("users/*",),
        routes=(RouteSettings(match="CONNECT db:5432", token=TokenNeed.NONE),),
    )
    with pytest.raises(TokenMissing):
        permit_tunnel(grant(rule), b"db:5432", None, NOW)


def test_a_denial_of_paths_does_not_speak_of_tunnels() -> None:
    """A tunnel has no path; one with a token is asked of the denials as a request is."""
    rule = RuleSettings(
        name="edge", peers=(EDGE,), scopes=("db.query",), routes=(RouteSettings(match="CONNECT db:5432"),)
    )
    paths = RuleSettings(name="no paths", effect=Effect.DENY, routes=(RouteSettings(match="* /**"),))
    bots = RuleSettings(name="no bots", effect=Effect.DENY, subjects=("alice",))
    tunnel = RuleSettings(name="no db", effect=Effect.DENY, routes=(RouteSettings(match="CONNECT db:5432"),))
    assert permit_tunnel(grant(rule, paths), b"db:5432", token("db.query"), NOW).rule == "edge"
    for denial in (bots, tunnel):
        with pytest.raises(DeniedByRule):
            permit_tunnel(grant(rule, denial), b"db:5432", token("db.query"), NOW)

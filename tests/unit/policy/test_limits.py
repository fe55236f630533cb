"""Numbers of rules: the widest of several for a connection, those of its rule for a tunnel."""

import pytest
from support.policy import EDGE, NOW, grant, peer, policy, rule

from proxy.errors import GrantEnded
from proxy.policy.grant import admit
from proxy.policy.limits import FOREVER, UNLIMITED, most_refusals, widest_bytes, widest_s
from proxy.policy.settings import LimitSettings, RouteSettings, RuleSettings


def limited(name: str, **limits: float) -> RuleSettings:
    """A rule with these limits."""
    return RuleSettings(
        name=name,
        peers=(EDGE,),
        routes=(RouteSettings(match=f"GET /{name}"),),
        limits=LimitSettings(**limits),  # type: ignore[arg-type]
    )


def test_rules_are_alternatives() -> None:
    """The widest decides; one without a limit has none."""
    assert widest_s([LimitSettings(max_s=5.0), LimitSettings(max_s=7.0)]) == 7.0
    assert widest_s([LimitSettings(max_s=5.0), LimitSettings()]) == FOREVER
    assert widest_bytes([LimitSettings(max_bytes=5), LimitSettings(max_bytes=7)]) == 7
    assert widest_bytes([LimitSettings(max_bytes=5), LimitSettings()]) == widest_bytes([]) == UNLIMITED
    assert most_refusals([LimitSettings(refusals=3), LimitSettings(refusals=1)]) == 3
    assert most_refusals([]) == LimitSettings().refusals == 10


def test_a_grant_ends_with_its_time() -> None:
    """Counted from when the connection began, never past the SVIDs."""
    rules = policy(limited("a", max_s=5.0, refusals=2, max_bytes=5), limited("b", max_s=7.0, max_bytes=7))
    one = admit(rules, peer(), 1000.0, NOW)
    assert (one.until, one.since, one.refusals, one.max_bytes) == (NOW + 7, NOW, 10, 7)
    assert admit(rules, peer(), NOW + 1, NOW).until == NOW + 1
    assert one.withdrawn().refusals == 10
    with pytest.raises(GrantEnded):
        one.permit(b"GET", b"/a", None, NOW + 7)  # type: ignore[arg-type]


def test_without_limits() -> None:
    """Until the SVIDs end."""
    assert grant(rule("a", [("GET /", [])])).until == 1000.0

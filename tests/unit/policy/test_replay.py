"""Recorded decisions, judged again: as they were by the same policy, never guessed where the audit does not say enough."""

import json
from typing import Any

import pytest
from support.audit import RECORD, TOKEN

from proxy.observe.audit.line import Scribe
from proxy.observe.audit.record import AuditRecord
from proxy.observe.audit.settings import AuditSettings, PathDetail, Subject
from proxy.policy.compile import compile_policy
from proxy.policy.replay import NotRecorded, Recorded, Verdict, judge, read_record
from proxy.policy.settings import Effect, LimitSettings, Mode, PolicySettings, RouteSettings, RuleSettings, TokenNeed

EDGE = "spiffe://example.org/edge"


def recorded(record: AuditRecord, **settings: Any) -> Recorded | None:
    """Read what the audit would hold of this."""
    chosen = AuditSettings(**{"path": PathDetail.FULL} | settings)
    return read_record(json.loads('{"n":7,' + Scribe(chosen, "0a").write(record) + "}"), record.time)


def verdict(*rules: RuleSettings, record: AuditRecord = RECORD, mode: Mode = Mode.ENFORCE, **settings: Any) -> Verdict:
    """Judge it by these rules."""
    found = recorded(record, **settings)
    assert found is not None
    return judge(compile_policy(PolicySettings(rules=rules, mode=mode), "example.org"), found)


def rule(match: str = "GET /orders/{id}", scopes: tuple[str, ...] = ("orders.read",), **given: Any) -> RuleSettings:
    """A rule with one route."""
    ceiling = {"scopes": ("orders.read", "orders.write", "x")}
    facts = given.pop("facts", {})
    routes = (RouteSettings(match=match, scopes=scopes, facts=facts),)
    return RuleSettings(**{"name": "r", "peers": (EDGE,), "routes": routes} | ceiling | given)


def test_each_question_of_the_policy() -> None:
    """Peer, ceiling, route, scope, actor, denial; in both modes."""
    assert verdict(rule()) == Verdict(decision="allow", rule="r")
    assert verdict(rule(peers=("spiffe://example.org/x",))).reason == "peer_not_allowed"
    assert verdict(rule(scopes=("x",))).reason == "scope_missing"
    assert verdict(rule(match="POST /orders/{id}")).reason == "route_not_allowed"
    assert verdict(rule(actors=("none",))).reason == "actor_not_allowed"
    denial = RuleSettings(name="d", effect=Effect.DENY, actors=("agent-2",))
    assert verdict(rule(), denial).reason == "denied_by_rule"
    assert verdict(rule(limits=LimitSettings(max_s=5.0))).decision == "allow", "its connection was open then"
    watched = rule(scopes=("x",), mode=Mode.AUDIT)
    assert verdict(watched) == Verdict(decision="would_refuse", reason="scope_missing", rule="r")
    stranger = rule(peers=("spiffe://example.org/x",))
    assert verdict(stranger, mode=Mode.AUDIT).reason == "peer_not_allowed"
    assert verdict(rule(), record=RECORD._replace(target=b"/orders/../x")).reason == "ambiguous_path"


TUNNEL = RECORD._replace(method=b"CONNECT", target=b"DB:5432", route="db:5432")
BARE = TUNNEL._replace(token=None)
ASKED_BARE = BARE._replace(decision="deny", reason="token_missing", rule=None, route=None)


def tunnel(match: str = "CONNECT db:5432", *, need: TokenNeed = TokenNeed.NONE, **given: Any) -> RuleSettings:
    """A rule with one tunnel, which needs no token unless told otherwise."""
    scopes = ("orders.read",) if need is TokenNeed.REQUIRED else ()
    routes = (RouteSettings(match=match, token=need, scopes=scopes),)
    ceiling = {"scopes": ("orders.read", "orders.write")}
    return RuleSettings(**{"name": "t", "peers": (EDGE,), "routes": routes} | ceiling | given)


@pytest.mark.parametrize("record", [BARE, ASKED_BARE])
def test_tunnels_without_a_token(record: AuditRecord) -> None:
    """Opened by mTLS alone, or refused for want of a token: each is judged as the sidecar would, however it is spelled."""
    missing = Verdict(decision="deny", reason="token_missing")
    assert verdict(tunnel(), record=record) == Verdict(decision="allow", rule="t")
    assert verdict(tunnel(need=TokenNeed.REQUIRED), record=record) == missing
    assert verdict(tunnel("CONNECT db:5433"), record=record) == missing
    assert verdict(tunnel(subjects=("alice@example.org",)), record=record) == missing
    assert verdict(tunnel(peers=("spiffe://example.org/x",)), record=record).reason == "peer_not_allowed"
    denied = Verdict(decision="deny", reason="denied_by_rule")
    for asked in ({"tctx": {"stock": ("A",)}}, {"subjects": ("bob",)}, {"actors": ("none",)}):
        denial = RuleSettings(name="d", effect=Effect.DENY, **asked)
        assert verdict(tunnel(), denial, record=record) == denied, "its conditions cannot be told: it holds"


def test_a_tunnel_without_a_token_that_a_rule_had_denied() -> None:
    """Without that rule it opens."""
    denied = ASKED_BARE._replace(reason="denied_by_rule")
    assert verdict(tunnel(), record=denied) == Verdict(decision="allow", rule="t")


def test_tunnels_with_a_token() -> None:
    """As requests, with the authority in the spelling of the rules."""
    assert verdict(tunnel(need=TokenNeed.REQUIRED), record=TUNNEL) == Verdict(decision="allow", rule="t")
    assert verdict(tunnel(), record=TUNNEL) == Verdict(decision="allow", rule="t")
    assert verdict(tunnel("CONNECT db:5433"), record=TUNNEL).reason == "route_not_allowed"


@pytest.mark.parametrize("record", [BARE, TUNNEL])
def test_a_tunnel_without_its_path(record: AuditRecord) -> None:
    """Its route is its whole destination, which is no template; one that had none is not guessed."""
    found = recorded(record, path=PathDetail.TEMPLATE)
    assert found is not None
    assert (found.target, found.templated) == (b"db:5432", False)
    with pytest.raises(NotRecorded, match="path"):
        recorded(ASKED_BARE, path=PathDetail.TEMPLATE)


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "token_expired"},
        {"reason": "token_repeated"},
        {"reason": "bad_host", "target": b"db"},
        {"reason": "token_missing", "target": b"db"},
        {"reason": "token_missing", "method": b"GET", "target": b"/orders/1"},
        {"reason": "grant_ended"},
        {"reason": "bad_framing"},
    ],
)
def test_tunnels_that_no_policy_has_judged(changes: dict[str, Any]) -> None:
    """Its token was none, its destination no host:port, its connection over; or it was no tunnel."""
    assert recorded(ASKED_BARE._replace(**changes)) is None


def test_admissions() -> None:
    """Of connections, allowed and refused."""
    record = AuditRecord(1.0, "connection", "inbound", "allow", "", "", 1, EDGE, None)
    assert verdict(rule(), record=record).decision == "allow"
    assert verdict(rule(peers=("spiffe://example.org/x",)), record=record).decision == "deny"
    refused = record._replace(decision="deny", reason="peer_not_allowed")
    assert verdict(rule(), record=refused).decision == "allow"


def test_what_no_policy_has_judged() -> None:
    """Refused before, going out, state; and what is no decision."""
    assert recorded(RECORD._replace(token=None, decision="deny", reason="token_missing")) is None
    assert recorded(RECORD._replace(direction="outbound")) is None
    assert recorded(RECORD._replace(decision="deny", reason="transaction_replayed")) is None
    record = AuditRecord(1.0, "connection", "inbound", "deny", "untrusted_chain", "", 1, None, None)
    assert recorded(record) is None
    assert read_record({"n": 1, "kind": "checkpoint"}, 0.0) is None


def test_without_the_path() -> None:
    """By the template of the route that had allowed it, and not at all where there was none."""
    found = recorded(RECORD, path=PathDetail.TEMPLATE)
    assert found is not None
    assert (found.target, found.templated) == (b"/orders/x", True)
    assert verdict(rule(), path=PathDetail.TEMPLATE).decision == "allow"
    with pytest.raises(NotRecorded, match="path"):
        recorded(RECORD._replace(route=None, rule=None), path=PathDetail.TEMPLATE)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"tctx": {"stock": ("A",)}}, "tctx"),
        ({"hosts": ("orders",)}, "host"),
        ({"facts": {"q": "path:id"}}, "facts"),
        ({"facts": {"q": "body:/q"}}, "facts"),
        ({"when": "token.tctx.a == 'b'"}, "token.tctx"),
        ({"when": "request.host == 'orders'"}, "request.host"),
        ({"when": "token.iss == ''"}, "token.iss"),
        ({"when": "'x-a' in request.headers"}, "request.headers"),
    ],
)
def test_what_is_not_recorded_is_not_guessed(given: dict[str, Any], what: str) -> None:
    """Where a rule that speaks of the request asks for it; not where another decides before."""
    with pytest.raises(NotRecorded, match=what):
        verdict(rule(**given))
    assert verdict(rule(match="POST /other/{id}", **given)).reason == "route_not_allowed"
    if "facts" not in given:
        denial = RuleSettings(name="d", effect=Effect.DENY, **given)
        with pytest.raises(NotRecorded, match=what):
            verdict(rule(), denial)


def test_what_is_recorded_is_judged() -> None:
    """Subjects where they are plain, the age of the token, and what ``when`` may ask of it."""
    assert verdict(rule(subjects=("alice@example.org",))).decision == "allow"
    assert verdict(rule(subjects=("bob",))).reason == "condition_unmet"
    with pytest.raises(NotRecorded, match="subject"):
        verdict(rule(subjects=("bob",)), sub=Subject.SHA256)
    assert verdict(rule(max_token_age_s=10.0)).decision == "allow", "at the time of the request, not now"
    late = RECORD._replace(time=TOKEN.iat + 11.0)
    assert verdict(rule(max_token_age_s=10.0), record=late).reason == "condition_unmet"
    asked = "token.txn.startsWith('97') && request.path == '/orders/17' && peer.path == '/edge'"
    assert verdict(rule(when=asked)).decision == "allow"
    with pytest.raises(NotRecorded, match=r"request\.path"):
        verdict(rule(when=asked), path=PathDetail.TEMPLATE)


def test_lines_of_somebody_else() -> None:
    """A line with other types is not judged, and never a fault."""
    for line in ({"peer": 7}, {"peer": "x"}, {"scope": 7}, {"act": 7, "peer": EDGE}, {"iat": True, "peer": EDGE}):
        whole: dict[str, Any] = {"n": 1, "kind": "request", "direction": "inbound", "scope": "a", "path": "/a"} | line
        try:
            found = read_record(whole, 0.0)
        except NotRecorded:
            continue
        assert found is not None
        assert judge(compile_policy(PolicySettings(rules=(rule(),)), "example.org"), found).decision == "deny"

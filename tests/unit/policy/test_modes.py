"""Audit mode, by its law; and every way in which it could let in somebody whom nothing lets in."""

import pytest
from support.audit import TOKEN

from proxy.errors import (
    REASONS,
    AmbiguousPath,
    DeniedByRule,
    GrantEnded,
    PeerNotAllowed,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
    ScopeMissing,
    TransactionReplayed,
)
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.compile import compile_policy
from proxy.policy.grant import Grant, admit
from proxy.policy.modes import OF_A_ROUTE, OF_THE_CEILING, let_pass
from proxy.policy.permit import Permit
from proxy.policy.rules import Policy
from proxy.policy.settings import Effect, Mode, PolicySettings, RouteSettings, RuleSettings
from proxy.tokens.claims import TxnToken

EDGE = SpiffeId.parse("spiffe://example.org/edge")
PEER = Peer(spiffe_id=EDGE, uri=str(EDGE), certificate_sha256="", serial=1, not_after=1e12)


def rule(name: str, *routes: tuple[str, str], mode: Mode = Mode.ENFORCE, **given: object) -> RuleSettings:
    """A rule with routes of (match, scopes)."""
    settings: dict[str, object] = {"peers": (str(EDGE),), "scopes": ("read", "write"), **given}
    return RuleSettings(
        name=name,
        routes=tuple(RouteSettings(match=match, scopes=tuple(scopes.split())) for match, scopes in routes),
        mode=mode,
        **settings,  # type: ignore[arg-type]
    )


def deny(name: str, *routes: str, mode: Mode = Mode.ENFORCE, **given: object) -> RuleSettings:
    """A rule that denies."""
    return RuleSettings(
        name=name,
        effect=Effect.DENY,
        routes=tuple(RouteSettings(match=match) for match in routes),
        mode=mode,
        **given,  # type: ignore[arg-type]
    )


def policy(*rules: RuleSettings, mode: Mode = Mode.ENFORCE) -> Policy:
    """Compile."""
    return compile_policy(PolicySettings(rules=rules, mode=mode), "example.org")


def token(scope: str = "read", aud: str = "example.org") -> TxnToken:
    """A verified token."""
    return TxnToken(
        txn="t",
        sub="s",
        aud=aud,
        scopes=frozenset(scope.split()),
        req_wl="w",
        iat=0,
        exp=1e11,
        iss=None,
        tctx=None,
        rctx=None,
        digest="d",
    )


def ask(
    policy: Policy, target: bytes = b"/a", scope: str = "read", aud: str = "example.org", *, grant: Grant | None = None
) -> Permit:
    """What ``on_request`` does with a verified token."""
    grant = grant or admit(policy, PEER, 1e12)
    shown = token(scope, aud)
    try:
        return grant.permit(b"GET", target, shown, 1.0)
    except ProxyError as refusal:
        return let_pass(grant, b"GET", target, shown, 1.0, None, refusal)


AUDIT, ENFORCE = Mode.AUDIT, Mode.ENFORCE


def test_what_is_allowed_is_not_marked() -> None:
    """In either mode."""
    for mode in Mode:
        permit = ask(policy(rule("r", ("GET /a", "read"), mode=mode), mode=mode))
        assert (permit.rule, permit.audited) == ("r", "")


def test_a_rule_in_audit_mode() -> None:
    """What its routes refuse, and where it is alone also what no route allows and a token that is too wide."""
    one = policy(rule("r", ("GET /a", "write"), mode=AUDIT))
    permit = ask(one)
    assert (permit.rule, permit.route, permit.audited) == ("r", "/a", "scope_missing")
    assert ask(one, b"/b").audited == "route_not_allowed"
    assert (ask(one, scope="read admin").audited, ask(one, scope="read admin").route) == ("scope_beyond_grant", "/a")
    assert ask(one, aud="other.org").audited == "audience_beyond_grant"


def test_beside_an_enforced_rule_it_opens_nothing() -> None:
    """An alternative in audit mode, a ceiling, a route that nobody has: what was refused without it stays refused."""
    enforced = rule("e", ("GET /a", "write"))
    watched = rule("w", ("GET /a", "read write"), ("GET /c", "write"), mode=AUDIT)
    for order in ((enforced, watched), (watched, enforced)):
        both = policy(*order)
        with pytest.raises(ScopeMissing):
            ask(both)
        with pytest.raises(RouteNotAllowed):
            ask(both, b"/b")
        with pytest.raises(ScopeBeyondGrant):
            ask(both, scope="read admin")
        assert ask(both, b"/c").audited == "scope_missing", "a route of its own"


def test_an_alternative_that_asks_less_and_is_watched_hides_no_enforced_one() -> None:
    """The table drops what is satisfied with another; not where the modes differ."""
    both = policy(rule("w", ("GET /a", "write"), mode=AUDIT), rule("e", ("GET /a", "write")))
    with pytest.raises(ScopeMissing):
        ask(both)


def test_what_an_enforced_rule_denies_stays_denied() -> None:
    """Also where it is asked only after what audit mode lets pass; and in the listener's audit mode it is told."""
    rules = (rule("r", ("GET /x/**", "write"), mode=AUDIT), deny("no", "GET /x/secret"))
    one = policy(*rules)
    for scope in ("read", "write", "admin"):
        with pytest.raises(DeniedByRule):
            ask(one, b"/x/secret", scope)
    assert ask(one, b"/x/y").audited == "scope_missing"
    with pytest.raises(DeniedByRule):
        ask(policy(rule("r", mode=AUDIT), deny("no", "GET /x/secret")), b"/x/secret")
    watched = policy(*rules, mode=AUDIT)
    assert ask(watched, b"/x/secret", "write").audited == "denied_by_rule"
    assert ask(watched, b"/x/secret", "read").audited == "scope_missing"


def test_a_denying_rule_in_audit_mode() -> None:
    """It denies nothing, and allows nothing."""
    one = policy(rule("r", ("GET /x/**", "write")), deny("no", "GET /x/secret", mode=AUDIT))
    permit = ask(one, b"/x/secret", "write")
    assert (permit.rule, permit.audited) == ("r", "denied_by_rule")
    assert ask(one, b"/x/y", "write").audited == ""
    with pytest.raises(ScopeMissing):
        ask(one, b"/x/secret", "read")
    everybody = policy(rule("r", ("GET /a", "read")), deny("no", mode=AUDIT))
    assert ask(everybody).audited == "denied_by_rule", "nor does it keep a peer out"


def test_a_listener_in_audit_mode() -> None:
    """A peer that no rule names comes in, and each of its requests is told; nobody else does."""
    one = policy(rule("r", ("GET /a", "read"), peers=("spiffe://example.org/other",)), mode=AUDIT)
    grant = admit(one, PEER, 1e12)
    assert grant.barred == "peer_not_allowed"
    assert ask(one).audited == "peer_not_allowed"
    with pytest.raises(PeerNotAllowed):
        admit(policy(rule("r", ("GET /a", "read"), peers=("spiffe://example.org/other",), mode=AUDIT)), PEER, 1e12)


@pytest.mark.parametrize("target", [b"//a", b"/a/../b", b"/%2e%2e/a", b"/a%2fb", b"/a;b"])
def test_a_path_with_two_readings_never_passes(target: bytes) -> None:
    """Whatever refuses the request first."""
    for rules in (
        (rule("r", ("GET /a", "read")),),
        (rule("r", ("GET /a", "read"), peers=("spiffe://example.org/x",)),),
    ):
        for scope in ("read", "admin"):
            with pytest.raises(AmbiguousPath):
                ask(policy(*rules, mode=AUDIT), target, scope)


def test_a_grant_that_ended_never_passes() -> None:
    """Nor one that was taken back."""
    one = policy(rule("r", ("GET /a", "read")), mode=AUDIT)
    with pytest.raises(GrantEnded):
        ask(one, grant=admit(one, PEER, 0.5))
    with pytest.raises(GrantEnded):
        ask(one, grant=admit(one, PEER, 1e12).withdrawn())


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_nothing_but_what_the_policy_refuses(reason: str) -> None:
    """Every reason that there is: what is not in the two lists is raised again, also where all is in audit mode."""
    one = policy(rule("r", ("GET /a", "write"), mode=AUDIT), mode=AUDIT)
    refusal = REASONS[reason]("x")
    kind = type(refusal)
    if kind in OF_A_ROUTE | OF_THE_CEILING:
        assert let_pass(admit(one, PEER, 1e12), b"GET", b"/a", TOKEN, 1.0, None, refusal).audited == reason
        return
    with pytest.raises(kind):
        let_pass(admit(one, PEER, 1e12), b"GET", b"/a", TOKEN, 1.0, None, refusal)


def test_the_two_lists_are_these() -> None:
    """A new reason is thought about here before it may be let pass."""
    assert {kind.reason for kind in OF_THE_CEILING} == {
        *("audience_beyond_grant", "scope_beyond_grant", "route_not_allowed"),
    }
    assert {kind.reason for kind in OF_A_ROUTE} == {
        *("scope_missing", "actor_not_allowed", "condition_unmet", "transaction_replayed"),
        *("fact_unusable", "fact_unauthorised", "fact_mismatch"),
    }


def test_a_second_use_uses_nothing() -> None:
    """The Permit of what is let pass takes no transaction."""
    one = policy(
        RuleSettings(
            name="r",
            peers=(str(EDGE),),
            scopes=("read",),
            routes=(RouteSettings(match="GET /a", scopes=("read",), once=True),),
            mode=AUDIT,
        )
    )
    assert ask(one).once
    grant = admit(one, PEER, 1e12)
    passed = let_pass(grant, b"GET", b"/a", token(), 1.0, None, TransactionReplayed("x"))
    assert (passed.once, passed.audited) == ("", "transaction_replayed")

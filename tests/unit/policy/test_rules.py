"""What a peer may do at most, and that it is worked out once."""

from support.policy import grant, peer, policy, rule

from proxy.identity.spiffe_id import SpiffeId

RULES = (
    rule("all", [("GET /health", ())], peers=["spiffe://example.org/*"], scopes=["a"]),
    rule("team", [("GET /team", ["b"])], peers=["spiffe://example.org/team/*"]),
    rule("one", [("GET /one", ["c"])], peers=["spiffe://example.org/team/one"], audiences=["other.example"]),
)


def test_a_ceiling_is_the_union_of_the_rules_that_match() -> None:
    """Scopes and audiences of all of them, and of no other."""
    for uri, scopes, audiences in (
        ("spiffe://example.org/x", {"a"}, {"example.org"}),
        ("spiffe://example.org/team/x", {"a", "b"}, {"example.org"}),
        ("spiffe://example.org/team/one", {"a", "b", "c"}, {"example.org", "other.example"}),
    ):
        one = grant(*RULES, uri=uri)
        assert one.scopes == scopes
        assert one.audiences == audiences


def test_no_rule_no_ceiling() -> None:
    """Default deny: another domain, the domain itself, an empty policy."""
    rules = policy(*RULES)
    assert rules.ceiling_of(SpiffeId.parse("spiffe://other.org/team/one")) is None
    assert rules.ceiling_of(SpiffeId.parse("spiffe://example.org")) is None
    assert policy().ceiling_of(peer().spiffe_id) is None


def test_connections_share_one_ceiling() -> None:
    """Ten thousand peers under the same rules make one table, however they are called."""
    rules = policy(*RULES)
    ceilings = {id(rules.ceiling_of(SpiffeId.parse(f"spiffe://example.org/p{n}"))) for n in range(10_000)}
    assert len(ceilings) == 1
    assert rules.ceiling_of(SpiffeId.parse("spiffe://example.org/team/x")) is not rules.ceiling_of(
        SpiffeId.parse("spiffe://example.org/team/one"),
    )


def test_peers_cannot_make_more_ceilings_than_there_are_patterns() -> None:
    """What strangers are called does not grow the policy."""
    rules = policy(*RULES)
    uris = [f"spiffe://example.org/{a}{b}" for a in ("", "team/", "team/one/", "x/") for b in range(100)]
    ceilings = {id(rules.ceiling_of(SpiffeId.parse(uri))) for uri in [*uris, "spiffe://example.org/team/one"]}
    assert len(ceilings) == 3

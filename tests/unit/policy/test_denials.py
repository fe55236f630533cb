"""Rules that deny: they win, they see every spelling, and what cannot be told does not silence them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy import EDGE, NOW, UNTIL, grant, peer, policy, rule, token

from proxy.errors import (
    AmbiguousPath,
    DeniedByRule,
    PeerNotAllowed,
    ProxyError,
    RouteNotAllowed,
    ScopeBeyondGrant,
)
from proxy.policy.binding import Undecided
from proxy.policy.denials import folded
from proxy.policy.grant import admit, route_that_trades
from proxy.policy.settings import Ambiguity, Effect, RouteSettings, RuleSettings
from proxy.tokens.facts import Facts
from proxy.tokens.settings import AskSettings, SubjectSettings

OPEN = rule("open", [("* /**", []), ("OPTIONS *", []), ("TRACE /**", [])], scopes=["a", "b"])


def deny(*matches: str, name: str = "deny", **conditions: object) -> RuleSettings:
    """A rule that denies these, to everybody unless ``peers`` are named."""
    routes = tuple(RouteSettings(match=match) for match in matches)
    return RuleSettings(name=name, effect=Effect.DENY, routes=routes, **conditions)  # type: ignore[arg-type]


def is_denied(denying: RuleSettings, method: str, target: str, *allow: Ambiguity) -> bool:
    """Whether a rule that allows everything is overruled."""
    try:
        grant(OPEN, denying, allow=allow).permit(method.encode(), target.encode(), token(), NOW)
    except DeniedByRule:
        return True
    return False


BYPASSES = [
    "/admin", "/admin/", "/admin/users", "/Admin/users", "/ADMIN", "/admin./users", "/admin../x", "/admin%20/x",
    "/admin?x", "/admin/?/../x", "/%EF%BD%81dmin/x", "/adm%C4%B1n".replace("%C4%B1", "%E2%85%B0"), "/admin/a/b/c/d",
    "/a%EF%BC%8Fb/..x".replace("/a%EF%BC%8Fb/..x", "/admin%EF%BC%8Fx"), "/admin%EF%BC%BCx", "/admin%C2%A0/x",
]  # fmt: skip


@pytest.mark.parametrize("target", BYPASSES)
def test_every_spelling_that_an_app_could_take_for_it(target: str) -> None:
    """Case, slashes and dots at the end, blanks, compatible forms of Unicode; the query takes no part."""
    assert is_denied(deny("GET /admin/**"), "GET", target)


@pytest.mark.parametrize("target", ["/administer", "/a/admin", "/", "/adm", "/ad.min", "/admi/n", "/%C3%A4dmin"])
def test_other_paths_are_left_alone(target: str) -> None:
    """What nobody takes for it is not denied."""
    assert not is_denied(deny("GET /admin/**"), "GET", target)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/x/../admin", Ambiguity.DOT_SEGMENT),
        ("//admin", Ambiguity.EMPTY_SEGMENT),
        ("/admin;x=y/z", Ambiguity.SEMICOLON),
        ("/admin%2fz", Ambiguity.ENCODED_SLASH),
        ("/x%5c..%5cadmin", Ambiguity.BACKSLASH),
        ("/%61dmin", Ambiguity.ENCODED_UNRESERVED),
        ("/%2561dmin", Ambiguity.DOUBLE_ENCODING),
        ("/admin%00.png", Ambiguity.ENCODED_NUL),
    ],
)
def test_any_reading_is_enough(target: str, allowed: Ambiguity) -> None:
    """Where an ambiguity is allowed, one reading that is denied denies; where it is not, nothing of it passes."""
    both = [allowed, Ambiguity.DOT_SEGMENT, Ambiguity.ENCODED_UNRESERVED]
    assert is_denied(deny("* /admin/**"), "GET", target, *both)
    with pytest.raises(AmbiguousPath):
        is_denied(deny("* /admin/**"), "GET", target)


@pytest.mark.parametrize(
    ("match", "method", "denied"),
    [
        ("GET /a", "GET", True),
        ("GET /a", "HEAD", True),
        ("GET /a", "POST", False),
        ("HEAD /a", "GET", False),
        ("POST /a", "HEAD", False),
        ("* /a", "TRACE", True),
        ("* /a", "PURGE", True),
        ("DELETE /a", "DELETE", True),
        ("OPTIONS *", "OPTIONS", False),
    ],
)
def test_methods(match: str, method: str, denied: bool) -> None:  # noqa: FBT001 - a row of the table
    """GET speaks of HEAD, and * of every one, also of those that no rule allows by it."""
    assert is_denied(deny(match), method, "/a") is denied


def test_methods_in_small_letters() -> None:
    """A rule that allows can name none; what denies would see it all the same."""
    denials = grant(OPEN, deny("GET /a")).denials
    assert denials is not None
    assert [denial.rule for denial in denials.of(b"get", b"/a")] == ["deny"]


def test_the_asterisk() -> None:
    """``OPTIONS *`` is a target of its own."""
    assert is_denied(deny("OPTIONS *"), "OPTIONS", "*")
    assert not is_denied(deny("OPTIONS /**"), "OPTIONS", "*")


def test_any_template_that_fits_and_not_the_most_specific() -> None:
    """A route that allows more exactly rescues nothing."""
    exact = rule("exact", [("GET /a/{x}/c", [])])
    for match in ("GET /a/**", "GET /{y}/{z}/{w}", "GET /a/b/c", "* /**"):
        with pytest.raises(DeniedByRule, match="the rule 'deny' denies it"):
            grant(exact, deny(match)).permit(b"GET", b"/a/b/c", token(), NOW)


def test_each_of_several_with_parameters() -> None:
    """Two that begin with a parameter are told apart by what follows, whatever it is called."""
    denying = deny("GET /{x}/a", "GET /{y}/b", "GET /{z}/{w}/c")
    for target, denied in (("/1/a", True), ("/1/b", True), ("/1/2/c", True), ("/1/c", False), ("/1/2/a", False)):
        assert is_denied(denying, "GET", target) is denied


def test_it_denies_also_where_nothing_allows() -> None:
    """One reason before the other, so that a refusal does not tell which routes there are."""
    one = grant(rule("r", [("GET /a", [])]), deny("GET /b"))
    with pytest.raises(DeniedByRule):
        one.permit(b"GET", b"/b", token(), NOW)
    with pytest.raises(RouteNotAllowed):
        one.permit(b"GET", b"/c", token(), NOW)


def test_a_token_that_does_not_fit_learns_of_no_rule() -> None:
    """The ceiling of the connection comes first."""
    with pytest.raises(ScopeBeyondGrant):
        grant(OPEN, deny("* /**")).permit(b"GET", b"/a", token("admin"), NOW)


def test_it_speaks_of_its_peers_alone() -> None:
    """By ID, by path, by trust domain; of everybody where it names none."""
    for peers in ((EDGE,), ("spiffe://example.org/*",), ()):
        with pytest.raises(DeniedByRule):
            grant(OPEN, deny("GET /a", peers=peers)).permit(b"GET", b"/a", token(), NOW)
    assert grant(OPEN, deny("GET /a", peers=("spiffe://example.org/x",))).denials is None
    with pytest.raises(DeniedByRule):
        grant(OPEN, deny("GET /a", trust_domains=("example.org",))).permit(b"GET", b"/a", token(), NOW)


def test_a_peer_that_is_barred_is_not_admitted() -> None:
    """A rule that asks for nothing but the peer ends the connection before a byte reaches the app."""
    with pytest.raises(PeerNotAllowed, match="'out' denies this peer"):
        grant(OPEN, deny(name="out", peers=(EDGE,)))
    assert grant(OPEN, deny(name="out", peers=("spiffe://example.org/other",)))


def test_a_rule_that_denies_admits_nobody() -> None:
    """Nor does it add to what a connection may hold."""
    with pytest.raises(PeerNotAllowed):
        admit(policy(deny("GET /a", peers=(EDGE,))), peer(), UNTIL)
    one = grant(OPEN, deny("GET /a", scopes=("admin",), audiences=("other.org",)))
    assert one.scopes == {"a", "b"}
    assert one.audiences == {"example.org"}


def test_all_conditions_of_it_have_to_hold() -> None:
    """Scopes: one of them; audiences, actors, subjects, tctx and hosts as everywhere."""
    facts = Facts(method=b"GET", target=b"/a", lines=[], authority=b"debug")
    acting = replace(token("a"), actors=("agents/7",), tctx={"region": "us"})
    for denying in (
        deny(scopes=("a", "x")),
        deny(audiences=("example.org",)),
        deny(actors=("agents/*",)),
        deny(subjects=("alice",)),
        deny(tctx={"region": ("us", "uk")}),
        deny(hosts=("debug",)),
        deny("GET /a", scopes=("a",), actors=("agents/*",), subjects=("al*",)),
    ):
        with pytest.raises(DeniedByRule):
            grant(OPEN, denying).permit(b"GET", b"/a", acting, NOW, facts)
    for denying in (
        deny(scopes=("b", "x")),
        deny(audiences=("other.org",)),
        deny(actors=("none",)),
        deny(subjects=("bob",)),
        deny(tctx={"region": "eu"}),
        deny(hosts=("orders",)),
        deny("GET /a", scopes=("a",), actors=("none",)),
    ):
        assert grant(OPEN, denying).permit(b"GET", b"/a", acting, NOW, facts)


def test_what_cannot_be_told_denies() -> None:
    """A member that is not there, a host without a reading."""
    with pytest.raises(DeniedByRule):
        grant(OPEN, deny(tctx={"region": "us"})).permit(b"GET", b"/a", token(), NOW)
    facts = Facts(method=b"GET", target=b"/a", lines=[], authority=b"debug.")
    with pytest.raises(DeniedByRule):
        grant(OPEN, deny(hosts=("debug",))).permit(b"GET", b"/a", token(), NOW, facts)


def test_the_request_is_asked_for_where_it_matters() -> None:
    """Not where the path or the token keeps the rule silent; and nothing passes without an answer."""
    one = grant(OPEN, deny("GET /a", hosts=("debug",), subjects=("alice",)))
    with pytest.raises(Undecided):
        one.permit(b"GET", b"/a", token(), NOW)
    assert one.permit(b"GET", b"/b", token(), NOW)
    assert one.permit(b"GET", b"/a", replace(token(), sub="bob"), NOW)
    certain = grant(OPEN, deny("GET /a", hosts=("debug",)), deny("GET /a", name="certain"))
    with pytest.raises(DeniedByRule, match="'certain'"):
        certain.permit(b"GET", b"/a", token(), NOW)


@pytest.mark.parametrize("first", [0, 1])
def test_a_rule_that_is_silent_decides_for_no_other(first: int) -> None:
    """One needs the request, another does not speak of this one: whatever their order, nothing passes unseen."""
    both = [deny("GET /a", hosts=("debug",)), deny("GET /a", name="of bob", subjects=("bob",))]
    one = grant(OPEN, both[first], both[1 - first])
    with pytest.raises(Undecided):
        one.permit(b"GET", b"/a", token(), NOW)
    facts = Facts(method=b"GET", target=b"/a", lines=[], authority=b"debug")
    with pytest.raises(DeniedByRule):
        one.permit(b"GET", b"/a", token(), NOW, facts)


def test_a_grant_that_was_taken_back_keeps_them() -> None:
    """Whatever reads it later sees the same rules."""
    one = grant(OPEN, deny("GET /a"))
    assert one.withdrawn().denials is one.denials


def test_no_token_is_asked_for_in_the_name_of_what_is_denied() -> None:
    """At the edge of the mesh a trade costs the token service something; what no token could do is not traded."""
    ask = AskSettings(scope=("s",), subject=SubjectSettings())
    trading = RuleSettings(
        name="t", peers=(EDGE,), scopes=("s",), routes=(RouteSettings(match="GET /t", exchange=ask),)
    )
    with pytest.raises(DeniedByRule):
        route_that_trades(grant(trading, deny("GET /T/")), b"GET", b"/t", NOW)
    route = route_that_trades(grant(trading, deny("GET /t", subjects=("bob",))), b"GET", b"/t", NOW)
    assert route is not None, "the token that comes of it decides"


def test_a_long_path_is_read_no_further_than_the_rules_go() -> None:
    """However many segments a caller sends; and what lies deeper still matches where it should."""
    assert folded([b"a", b"%20", b"b", *[b"c"] * 5000], 3) == ["a", "b", "c"]
    assert is_denied(deny("GET /a/**"), "GET", "/a" * 2000)
    assert not is_denied(deny("GET /a/a"), "GET", "/a" * 2000)


# ---- properties

SEGMENT = st.sampled_from(["a", "B", "c.", "%40", "{x}", "d e".replace(" ", "%20"), "%C3%84"])
TEMPLATE = st.builds(
    lambda parts, rest: "/" + "/".join([*parts, *rest]),
    st.lists(SEGMENT, max_size=3, unique=True),
    st.sampled_from([[], ["**"]]),
)
PIECE = st.sampled_from(
    ["a", "A", "b", "B", "c", "c.", "@", "%40", "d%20e", "d%20e%20", "%C3%84", "%c3%a4", "A%CC%88", "x", ""]
)
TARGET = st.builds(lambda pieces: "/" + "/".join(pieces), st.lists(PIECE, min_size=1, max_size=4))


def _verdict(settings: tuple[RuleSettings, ...], target: str) -> type[ProxyError] | None:
    try:
        grant(*settings).permit(b"GET", target.encode(), token(), NOW)
    except ProxyError as error:
        return type(error)
    return None


@given(TEMPLATE, TARGET)
def test_it_is_never_narrower_than_the_same_template_that_allows(template: str, target: str) -> None:
    """Whatever a match lets through as a rule that allows, it refuses as one that denies."""
    match = f"GET {template}".replace("%40", "@")
    alone = _verdict((rule("r", [(match, [])]),), target)
    both = _verdict((OPEN, deny(match)), target)
    assert both is DeniedByRule if alone is None else both in {None, DeniedByRule, AmbiguousPath}


@given(st.lists(TEMPLATE, max_size=4), TARGET)
def test_it_is_as_a_search_through_all_templates(templates: list[str], target: str) -> None:
    """The tree answers as one who compares segment by segment, one template after the other."""
    matches = [f"GET {template}".replace("%40", "@") for template in templates]
    found = _verdict((OPEN, *(deny(match, name=f"d{n}") for n, match in enumerate(matches))), target)
    if found is not AmbiguousPath:
        assert (found is DeniedByRule) is any(_fits(match.split(" ")[1], target) for match in matches)


def _fits(template: str, target: str) -> bool:
    wanted = folded([part.encode() for part in template[1:].split("/")], 99)
    given_ = folded([part.encode() for part in target[1:].split("/")], 99)
    if wanted[-1:] == ["**"]:
        wanted, given_ = wanted[:-1], given_[: len(wanted) - 1]
    return len(wanted) == len(given_) and all(a in {b, "{x}"} for a, b in zip(wanted, given_, strict=True))


@given(st.lists(TEMPLATE, min_size=1, max_size=3), TARGET, st.data())
def test_one_more_rule_that_denies_never_opens_anything(templates: list[str], target: str, data: st.DataObject) -> None:
    """Whatever was refused stays refused."""
    rules = [rule(f"r{n}", [(f"GET {each}".replace("%40", "@"), [])]) for n, each in enumerate(templates)]
    more = deny(
        f"GET {data.draw(TEMPLATE)}".replace("%40", "@"),
        subjects=data.draw(st.sampled_from([(), ("alice",), ("bob",)])),
    )
    before, after = _verdict(tuple(rules), target), _verdict((*rules, more), target)
    assert after is before or after is DeniedByRule

"""Which route decides: by hand, against a slow matcher, and against apps that read paths in their own ways."""

import string
from collections.abc import Callable, Sequence
from itertools import product
from timeit import repeat
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from support.policy import NOW, grant, rule, token

from proxy.errors import AmbiguousPath, ProxyError, RouteNotAllowed, ScopeMissing
from proxy.policy.settings import Ambiguity

Routes = Sequence[tuple[str, frozenset[str]]]


def decides(routes: Sequence[str], method: bytes, target: bytes) -> str | None:
    """Return the match of the route that decides, or None: each route is a rule of its own, without scopes."""
    rules = [rule(f"rule {number}", [(match, ())]) for number, match in enumerate(routes)]
    try:
        permit = grant(*rules).permit(method, target, token(), NOW)
    except RouteNotAllowed:
        return None
    return routes[int(permit.rule.removeprefix("rule "))]


MATCHES = [
    ("GET /", b"/", True),
    ("GET /", b"/a", False),
    ("GET /a", b"/a", True),
    ("GET /a", b"/a/", False),
    ("GET /a/", b"/a/", True),
    ("GET /a/", b"/a", False),
    ("GET /a", b"/A", False),
    ("GET /a", b"/ab", False),
    ("GET /a", b"/a.", False),
    ("GET /a", b"/a?b", True),
    ("GET /a", b"/a?b/c", True),
    ("GET /{x}", b"/a", True),
    ("GET /{x}", b"/", False),
    ("GET /{x}", b"/a/", False),
    ("GET /{x}", b"/a/b", False),
    ("GET /a/{x}/c", b"/a/b/c", True),
    ("GET /a/{x}/c", b"/a/b/d", False),
    ("GET /a/{x}/", b"/a/b/", True),
    ("GET /**", b"/", True),
    ("GET /**", b"/a/b/c", True),
    ("GET /a/**", b"/a", False),
    ("GET /a/**", b"/a/", True),
    ("GET /a/**", b"/a/b", True),
    ("GET /a/**", b"/a/b/c/", True),
    ("GET /a/**", b"/ab/c", False),
    ("GET /a/{x}/**", b"/a/b", False),
    ("GET /a/{x}/**", b"/a/b/", True),
    ("GET /caf%C3%A9", b"/caf%C3%A9", True),
    ("GET /caf%C3%A9", b"/caf%c3%a9", True),
    ("GET /caf%c3%a9", b"/caf%C3%a9", True),
    ("GET /caf%C3%A9", b"/cafe", False),
    ("GET /a%2Ab", b"/a*b", True),
    ("GET /a(b)", b"/a(b)", True),
    ("GET /a.b", b"/axb", False),  # a template is no pattern of a regex
    ("GET /a+", b"/aa", False),
    ("GET /a$", b"/a", False),
]


@pytest.mark.parametrize(("match", "target", "expected"), MATCHES)
def test_which_targets_a_route_matches(match: str, target: bytes, *, expected: bool) -> None:
    """Whole segments, with their case and their slashes, without the query."""
    assert (decides([match], b"GET", target) is not None) is expected


METHODS = [
    ("GET /a", b"GET", True),
    ("GET /a", b"HEAD", False),  # not implied: default deny has no exceptions
    ("GET /a", b"get", False),
    ("GET /a", b"GETX", False),
    ("HEAD /a", b"HEAD", True),
    ("* /a", b"GET", True),
    ("* /a", b"HEAD", True),
    ("* /a", b"PROPFIND", True),
    ("* /a", b"M-SEARCH", True),
    ("* /a", b"CONNECT", False),
    ("* /a", b"TRACE", False),
    ("TRACE /a", b"TRACE", True),
    ("* /a", b"delete", False),  # Django and Werkzeug would make it DELETE
    ("* /a", b"Delete", False),
    ("* /a", b"trace", False),
    ("* /a", b"", False),
    ("* /a", b"GE T", False),
    ("* /a", b"GET\xff", False),
]


@pytest.mark.parametrize(("match", "method", "expected"), METHODS)
def test_which_methods_a_route_matches(match: str, method: bytes, *, expected: bool) -> None:
    """The one that is named; ``*`` any in capitals but CONNECT and TRACE."""
    assert (decides([match], method, b"/a") is not None) is expected


def test_a_route_for_any_method_does_not_reach_a_method_that_it_never_means() -> None:
    """A TRACE that another route names does not open TRACE to ``*``."""
    assert decides(["* /a", "TRACE /b"], b"TRACE", b"/a") is None
    assert decides(["* /a", "TRACE /b"], b"TRACE", b"/b") == "TRACE /b"


def test_the_target_asterisk_is_matched_by_its_own_route_alone() -> None:
    """``OPTIONS *`` is no path, so no path template reaches it."""
    assert decides(["OPTIONS *"], b"OPTIONS", b"*") == "OPTIONS *"
    assert decides(["OPTIONS /**", "* /**"], b"OPTIONS", b"*") is None
    assert decides(["OPTIONS *"], b"OPTIONS", b"/") is None
    assert decides(["OPTIONS *"], b"GET", b"*") is None
    with pytest.raises(AmbiguousPath):
        decides(["OPTIONS *"], b"OPTIONS", b"*?x")


SPECIFICITY = [
    (["GET /a/{x}", "GET /a/b"], b"/a/b", "GET /a/b"),
    (["GET /**", "GET /{x}"], b"/a", "GET /{x}"),
    (["GET /**", "GET /{x}"], b"/", "GET /**"),
    (["GET /a/**", "GET /a/{x}", "GET /a/b"], b"/a/c", "GET /a/{x}"),
    (["GET /a/{x}/c", "GET /a/b/**"], b"/a/b/c", "GET /a/b/**"),  # from the left
    (["GET /{x}/b/c", "GET /a/{y}/{z}"], b"/a/b/c", "GET /a/{y}/{z}"),
    (["GET /a/b/c", "GET /{x}/b/d"], b"/a/b/d", "GET /{x}/b/d"),  # /a/b leads nowhere
    (["GET /a/b/{x}/d", "GET /a/{y}/**"], b"/a/b/c/e", "GET /a/{y}/**"),
    (["GET /a/b/{x}/d", "GET /**"], b"/a/b/c/e", "GET /**"),
    (["GET /a/", "GET /a/**"], b"/a/", "GET /a/"),
    (["* /a", "GET /a"], b"/a", "GET /a"),
    (["* /a/b", "GET /a/{x}"], b"/a/b", "* /a/b"),  # the path before the method
    (["POST /a/b", "GET /a/{x}"], b"/a/b", "GET /a/{x}"),  # a route of another method does not match
    (["GET /a/{x}", "GET /a/{y}"], b"/a/b", "GET /a/{x}"),  # the same template: the order of the file
]


@pytest.mark.parametrize(("routes", "target", "expected"), SPECIFICITY)
def test_the_most_specific_route_decides_in_any_order(routes: list[str], target: bytes, expected: str) -> None:
    """Literal before one segment before the rest, from the left; only equals depend on the order of the file."""
    assert decides(routes, b"GET", target) == expected
    if expected != "GET /a/{x}" or "GET /a/{y}" not in routes:
        assert decides(routes[::-1], b"GET", target) == expected


def test_a_less_specific_route_never_rescues() -> None:
    """What the literal refuses, neither the variable nor the rest nor any method lets through."""
    one = grant(
        rule("strict", [("DELETE /a/b", ["admin"])]),
        rule("lax", [("DELETE /a/{x}", []), ("* /a/b", []), ("* /**", [])]),
    )
    with pytest.raises(ScopeMissing, match="strict"):
        one.permit(b"DELETE", b"/a/b", token(), NOW)
    assert one.permit(b"DELETE", b"/a/c", token(), NOW).rule == "lax"


# The same law again, slowly: every route is tried, each segment by an if.


def rank(match: str, segments: Sequence[bytes], *, decoded: bool) -> tuple[int, ...] | None:
    """Return how specific the template is for these segments, lower is more; None if it does not match."""
    wanted = match.split(" ")[1][1:].split("/")
    ranks: list[int] = []
    for position, want in enumerate(wanted):
        if want == "**":
            return (*ranks, 2) if len(segments) > position else None
        if position >= len(segments):
            return None
        if want.startswith("{"):
            if not segments[position]:
                return None
            ranks.append(1)
        else:
            literal = unquote_to_bytes(want) if decoded else want.encode()
            if segments[position] != literal:
                return None
            ranks.append(0)
    return tuple(ranks) if len(wanted) == len(segments) else None


def reference(routes: Routes, method: str, segments: Sequence[bytes], scopes: frozenset[str], *, decoded: bool) -> str:
    """Decide: ``permit``, ``route`` (none matches) or ``scope``."""
    matching = []
    for match, needs in routes:
        by = match.split(" ")[0]
        found = rank(match, segments, decoded=decoded)
        if found is not None and by in (method, "*"):
            matching.append(((found, by == "*"), needs))
    if not matching:
        return "route"
    best = min(key for key, _ in matching)
    return "permit" if any(needs <= scopes for key, needs in matching if key == best) else "scope"


def decide(routes: Routes, method: str, target: bytes, scopes: frozenset[str], allow: frozenset[Ambiguity]) -> str:
    """Ask a Grant the same question; every route is a rule, so that any routes may stand together."""
    rules = [rule(f"rule {n}", [(match, needs)], scopes="abc") for n, (match, needs) in enumerate(routes)]
    try:
        grant(rule("base", scopes="abc"), *rules, allow=allow).permit(method.encode(), target, token(*scopes), NOW)
    except RouteNotAllowed:
        return "route"
    except ScopeMissing:
        return "scope"
    except ProxyError:
        return "refused"
    return "permit"


SCOPES = st.frozensets(st.sampled_from("abc"), max_size=2)
SEGMENTS = st.sampled_from(["x", "y", "@z", "caf%C3%A9", "{p}", "{p}"])


@st.composite
def matches(draw: st.DrawFn) -> str:
    """Draw a route's match: few words, so that routes overlap and requests hit."""
    segments = draw(st.lists(SEGMENTS, min_size=0, max_size=3))
    named = [f"{{p{n}}}" if segment == "{p}" else segment for n, segment in enumerate(segments)]
    end = draw(st.sampled_from(["", "", "/", "/**"])) if named else draw(st.sampled_from(["/", "/**"]))
    return f"{draw(st.sampled_from(['GET', 'GET', 'POST', '*']))} {''.join(f'/{segment}' for segment in named)}{end}"


ROUTES = st.lists(st.tuples(matches(), SCOPES), min_size=1, max_size=8)
PLAIN_PATHS = st.lists(st.sampled_from(["x", "y", "@z", "w", "..."]), max_size=4).map("/".join)


@settings(max_examples=500, deadline=None)
@given(ROUTES, st.sampled_from(["GET", "POST", "PUT"]), PLAIN_PATHS, st.sampled_from(["", "/", "?q"]), SCOPES)
def test_the_table_decides_as_the_slow_matcher(
    routes: Routes,
    method: str,
    path: str,
    end: str,
    scopes: frozenset[str],
) -> None:
    """For any routes and any plain path: the same verdict, with its reason."""
    target = f"/{path}{end if path or end == '?q' else ''}".encode()
    segments = target.partition(b"?")[0][1:].split(b"/")
    expected = reference(routes, method, segments, scopes, decoded=False)
    assert decide(routes, method, target, scopes, frozenset()) == expected


# Apps that read a path in every way that we know of. None of them may see a request that it reads as one that the
# rules refuse.


def app_readings(path: bytes) -> set[tuple[tuple[bytes, ...], bool]]:
    """Return what such apps take a path for: its segments, and whether they compare them decoded."""
    found = set()
    decoders: list[tuple[Callable[[bytes], bytes], ...]]
    decoders = [(hex_in_capitals,), (normalized,), (unquote_to_bytes,), (unquote_to_bytes, unquote_to_bytes)]
    for decoder, switches in product(decoders, product((False, True), repeat=6)):
        first, backslash, nul, parameters, merges, resolves = switches
        text = path
        for decode in decoder if first else ():
            text = decode(text)
        if backslash:
            text = text.replace(b"\\", b"/")
        if nul:
            text = text.split(b"\0")[0]
        segments = text[1:].split(b"/")
        for decode in () if first else decoder:
            segments = [decode(segment) for segment in segments]
        if parameters:
            segments = [segment.split(b";")[0] for segment in segments]
        if merges:
            segments = [segment for segment in segments[:-1] if segment] + segments[-1:]
        if resolves:
            segments = resolved(segments)
        found.add((tuple(segments), unquote_to_bytes in decoder))
    return found


def resolved(segments: list[bytes]) -> list[bytes]:
    """Resolve dot segments, as a person would with a pencil."""
    kept: list[bytes] = []
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        if segment == b"..":
            kept = kept[:-1] + ([b""] if last else [])
        elif segment == b".":
            kept += [b""] if last else []
        else:
            kept.append(segment)
    return kept


def hex_in_capitals(text: bytes) -> bytes:
    """``%c3`` and ``%C3`` are the same to all (RFC 3986 6.2.2.1)."""
    out = b""
    while text:
        take = 3 if text.startswith(b"%") else 1
        out += text[:take].upper() if take == 3 else text[:take]
        text = text[take:]
    return out


def normalized(text: bytes) -> bytes:
    """Decode what needs no encoding, and no more (RFC 3986 6.2.2.2)."""
    text = hex_in_capitals(text)
    for character in string.ascii_letters + string.digits + "-._~":
        text = text.replace(f"%{ord(character):02X}".encode(), character.encode())
    return text


ODD = [
    "/",
    "/",
    "/",
    "x",
    "y",
    "@z",
    "%40z",
    "%78",
    ".",
    "..",
    "%2e",
    "%2F",
    "%5c",
    "\\",
    ";",
    "%3b",
    "%00",
    "%25",
    "2f",
    "%C3%A9",
    "caf",
    "%",
    "%20",
]


LAX = ("GET /**", frozenset[str]())
A = frozenset("a")
NONE = frozenset[Ambiguity]()


@settings(max_examples=500, deadline=None)
@given(
    ROUTES.map(lambda routes: [*routes, LAX]),
    st.lists(st.sampled_from(ODD), max_size=9).map("".join),
    SCOPES,
    st.just(frozenset(Ambiguity)) | st.frozensets(st.sampled_from(list(Ambiguity))),
)
@example([("GET /x", A), LAX], "/x", frozenset(), NONE)
@example([("GET /x", A), LAX], "/x", frozenset(), frozenset(Ambiguity))
@example([("GET /x", A), LAX], "x;y", frozenset(), frozenset(Ambiguity))
@example([("GET /x", A), LAX], "x%00y", frozenset(), frozenset(Ambiguity))
@example([("GET /x", A), LAX], "y/..;/x", frozenset(), frozenset(Ambiguity))
@example([("GET /x", A), LAX], "%2e%2e/x", frozenset(), frozenset(Ambiguity))
@example([("GET /y/x", A), LAX], "y%252fx", frozenset(), frozenset(Ambiguity))
@example([("GET /y/x", A), LAX], "y%252fx", frozenset(), NONE)
@example([("GET /x/{p}", A), LAX], "%78/%40z", frozenset(), frozenset(Ambiguity))
@example([("GET /x/{p}", A), ("GET /x/@z", frozenset()), LAX], "%78/%40z", frozenset(), frozenset(Ambiguity))
@example(
    [("GET /", A), LAX], "\\;%5c%25", frozenset(), frozenset(Ambiguity)
)  # found by chance: \\ splits, %5c does not
@example([("GET /@z", A), ("GET /{p}", frozenset())], "%40z", frozenset(), NONE)
def test_no_app_reads_a_permitted_path_as_a_refused_one(
    routes: Routes,
    path: str,
    scopes: frozenset[str],
    allow: frozenset[Ambiguity],
) -> None:
    """Whatever is allowed by name, and whatever the app does to the path: the rules hold for what it ends up with."""
    target = f"/{path}".encode()
    if decide(routes, "GET", target, scopes, allow) != "permit":
        return
    event("ambiguous" if set(path) & set(".%;\\") or "//" in f"/{path}" else "plain")
    for segments, decoded in app_readings(target):
        assert reference(routes, "GET", segments, scopes, decoded=decoded) == "permit", (segments, decoded)


ALTERNATIVES_OF_A_PATH = 500


def test_many_rules_do_not_slow_a_request_down() -> None:
    """Five hundred rules cost what one costs, give or take the noise of a busy machine (by factor 5)."""

    def seconds(rules: int) -> float:
        own = rule("own", [("GET /own/{id}/items", ["s"])])
        others = [rule(f"{n}", [(f"GET /r{n}/{{id}}/items", ["s"]), (f"* /own/r{n}", ["s"])]) for n in range(rules - 1)]
        one = grant(*others, own)
        with_token = token("s")
        return min(repeat(lambda: one.permit(b"GET", b"/own/1/items", with_token, NOW), number=2000, repeat=5))

    assert seconds(500) < 5 * seconds(1)


def test_rules_that_ask_for_more_than_one_before_them_cost_nothing() -> None:
    """Five hundred rules for the same route: only those that could decide are asked."""
    rules = [rule(f"{n}", [("GET /a/{x}", ["s"])]) for n in range(ALTERNATIVES_OF_A_PATH)]
    (alternatives,) = grant(*rules).routes.find(b"GET", b"/a/b")
    assert [route.permit.rule for route in alternatives] == ["0"]


def test_requests_leave_nothing_behind() -> None:
    """Ever new paths, methods and readings do not make the table grow: it holds nothing that a caller sent."""
    one = grant(rule("r", [("GET /a/{x}", []), ("* /b/**", [])]), allow=frozenset(Ambiguity))
    before = _size(one.routes)
    for n in range(2000):
        for method, target in ((b"GET", b"/a/%d" % n), (b"M%d" % n, b"/b/%d;x" % n), (b"GET", b"/%d" % n)):
            try:
                one.permit(method, target, token(), NOW)
            except ProxyError:
                continue
    assert _size(one.routes) == before


def _size(table: object) -> int:
    """Count what can be reached from the table, by its slots and dictionaries."""
    seen: set[int] = set()
    queue = [table]
    while queue:
        thing = queue.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            queue += [*thing.keys(), *thing.values()]
        elif isinstance(thing, tuple | frozenset):
            queue += thing
        else:
            queue += [getattr(thing, slot) for slot in getattr(type(thing), "__slots__", ()) if hasattr(thing, slot)]
    return len(seen)

"""The path law: what is refused, under which name, and how what is allowed is read."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import AmbiguousPath
from proxy.policy.path import (
    MAX_AMBIGUITIES,
    MAX_AMBIGUOUS_BYTES,
    PLAIN,
    ambiguities,
    in_capitals,
    is_simple,
    readings,
    spell,
)
from proxy.policy.settings import Ambiguity

EMPTY = Ambiguity.EMPTY_SEGMENT
DOT = Ambiguity.DOT_SEGMENT
SLASH = Ambiguity.ENCODED_SLASH
BACKSLASH = Ambiguity.BACKSLASH
SEMICOLON = Ambiguity.SEMICOLON
NUL = Ambiguity.ENCODED_NUL
UNRESERVED = Ambiguity.ENCODED_UNRESERVED
DOUBLE = Ambiguity.DOUBLE_ENCODING
BAD = Ambiguity.BAD_ENCODING
ALL = frozenset(Ambiguity)

PLAIN_TARGETS = [
    b"/",
    b"/orders",
    b"/orders/",
    b"/orders/42/items",
    b"/a.b/c..d/...",  # three dots are a name
    b"/.well-known/jwks.json",
    b"/..a/.b/a..",
    b"/admin.",  # a trailing dot is another name than admin
    b"/@me/a:b/x=y,z/(1)/a*b!$&'+",
    b"/~user/a_b-c",
    b"/orders?x=1&y=[2]|{3}",
    b"/?",
    b"/orders?next=/../admin;x%2f%00//",  # the query takes no part
    b"/orders??",
]

AMBIGUOUS_TARGETS = [
    (b"//", {EMPTY}),
    (b"//admin", {EMPTY}),
    (b"/a//b", {EMPTY}),
    (b"/a//", {EMPTY}),
    (b"/a///b", {EMPTY}),
    (b"/.", {DOT}),
    (b"/..", {DOT}),
    (b"/a/../b", {DOT}),
    (b"/a/./b", {DOT}),
    (b"/a/..", {DOT}),
    (b"/a/.", {DOT}),
    (b"/a/..?x", {DOT}),
    (b"/../../etc/passwd", {DOT}),
    (b"/a/%2e%2e/b", {DOT, UNRESERVED}),
    (b"/a/%2E%2e/b", {DOT, UNRESERVED}),
    (b"/a/.%2e/b", {DOT, UNRESERVED}),
    (b"/a/%2e", {DOT, UNRESERVED}),
    (b"/a%2fb", {SLASH}),
    (b"/a%2Fb", {SLASH}),
    (b"/a/..%2fb", {SLASH, DOT}),
    (b"/a%2f..%2fb", {SLASH, DOT}),
    (b"/a%2f%2fb", {SLASH, EMPTY}),
    (b"/%2fb", {SLASH, EMPTY}),
    (b"/a\\b", {BACKSLASH}),
    (b"/a%5cb", {BACKSLASH}),
    (b"/a%5Cb", {BACKSLASH}),
    (b"/..\\b", {BACKSLASH, DOT}),
    (b"/a/..%5cb", {BACKSLASH, DOT}),
    (b"/\\evil.example", {BACKSLASH, EMPTY}),
    (b"/a;b", {SEMICOLON}),
    (b"/a;jsessionid=1/b", {SEMICOLON}),
    (b"/a%3bb", {SEMICOLON}),
    (b"/a%3Bb", {SEMICOLON}),
    (b"/a/..;/b", {SEMICOLON, DOT}),  # resolved by those that drop parameters first
    (b"/a/..;x=1/b", {SEMICOLON, DOT}),
    (b"/a/.;/b", {SEMICOLON, DOT}),
    (b"/a/;x/b", {SEMICOLON, EMPTY}),
    (b"/a/..%3b/b", {SEMICOLON, DOT}),
    (b"/a;x%2f..%2fb", {SEMICOLON, SLASH, DOT}),
    (b"/a%00", {NUL}),
    (b"/a%00.png", {NUL}),
    (b"/a/..%00/b", {NUL, DOT}),
    (b"/%61dmin", {UNRESERVED}),
    (b"/%41", {UNRESERVED}),
    (b"/%7Euser", {UNRESERVED}),
    (b"/a%2db", {UNRESERVED}),
    (b"/a%252fb", {DOUBLE, SLASH}),
    (b"/a%252Fb", {DOUBLE, SLASH}),
    (b"/%252e%252e/b", {DOUBLE, DOT, UNRESERVED}),
    (b"/a%2541", {DOUBLE, UNRESERVED}),
    (b"/a%2520b", {DOUBLE}),
    (b"/a%25%32%66b", {DOUBLE, SLASH, UNRESERVED}),
    (b"/a%255cb", {DOUBLE, BACKSLASH}),
    (b"/a%2500", {DOUBLE, NUL}),
    (b"/%25%36%31", {DOUBLE, UNRESERVED}),
    (b"/a%", {BAD}),
    (b"/a%2", {BAD}),
    (b"/a%zz", {BAD}),
    (b"/a%2x/b", {BAD}),
    (b"/a%%20", {BAD}),
    (b"/a%u002f", {BAD}),
    (b"/a%+2f", {BAD}),  # what int("+2", 16) would take
    (b"/a%0x", {BAD}),
    (b"/a%2_", {BAD}),
]

NEVER_ALLOWED = [
    b"",
    b"?x",
    b"orders",
    b"*x",
    b"http://a/b",
    b"/a b",
    b"/a\tb",
    b"/a\0b",
    b"/a\nb",
    b"/a\r\nb",
    b"/a\x7fb",
    b"/a#b",
    b"/a?b#c",
    b"/a?b c",
    b"/a?\0",
    b"/a?\n",
    b"/a?\xc3\xa9",
    b"/\xc3\xa9",
    b"/\xff",
    b'/a"b',
    b"/a<b>",
    b"/a[b]",
    b"/a{b}",
    b"/a|b",
    b"/a^b",
    b"/a`b",
    b"/admin%0a",
    b"/admin%0D%0A",
    b"/a%09b",
    b"/a%1fb",
    b"/a%7fb",
    b"/a%250ab",
    b"/%c0%ae%c0%ae/b",  # overlong ..
    b"/a%c0%afb",  # overlong /
    b"/a%e0%80%afb",
    b"/a%f0%80%80%afb",
    b"/a%c1%9cb",  # overlong backslash
    b"/caf%e9",  # Latin-1
    b"/%ff",
    b"/%ed%a0%80",  # a surrogate
    b"/%25c0%25af",
    b"/a%25252fb",
    b"/a%2525252525252fb",
    b"/%%32%66",  # %2f to one who decodes twice, once the % without digits is passed over
]


@pytest.mark.parametrize("target", PLAIN_TARGETS)
def test_a_plain_target_has_one_reading(target: bytes) -> None:
    """Nothing need be allowed, and the segments are what stands between the slashes."""
    path = target.partition(b"?")[0]
    assert readings(target, frozenset()) == [path[1:].split(b"/")]


@pytest.mark.parametrize(("target", "expected"), AMBIGUOUS_TARGETS)
def test_an_ambiguity_is_found_by_its_name(target: bytes, expected: set[Ambiguity]) -> None:
    """Each way to read it twice is named, those that another one hides too."""
    assert ambiguities(target.partition(b"?")[0]) == expected


@pytest.mark.parametrize(("target", "expected"), AMBIGUOUS_TARGETS)
def test_an_ambiguous_path_passes_only_if_all_of_it_is_allowed(target: bytes, expected: set[Ambiguity]) -> None:
    """With all but one of its ambiguities allowed it is refused, and the refusal names that one and no input."""
    assert PLAIN.fullmatch(target) is None
    for missing in expected:
        with pytest.raises(AmbiguousPath, match=missing.value) as caught:
            readings(target, ALL - {missing})
        assert target.decode() not in str(caught.value)
    assert readings(target, frozenset(expected))


@pytest.mark.parametrize("target", NEVER_ALLOWED)
def test_some_targets_are_refused_whatever_is_allowed(target: bytes) -> None:
    """No name lets these pass: they are no paths, or no app has a use for them."""
    assert PLAIN.fullmatch(target) is None
    with pytest.raises(AmbiguousPath):
        readings(target, ALL)


@pytest.mark.parametrize("byte", sorted(set(range(256)) - set(b"/?%;\\")))
def test_each_byte_of_a_path_by_rfc_3986(byte: int) -> None:
    """A byte passes exactly if it is a pchar."""
    pchar = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@"
    target = b"/a" + bytes((byte,))
    assert (PLAIN.fullmatch(target) is not None) == (byte in pchar)
    if byte in pchar:
        assert readings(target, frozenset()) == [[target[1:]]]
    else:
        with pytest.raises(AmbiguousPath):
            readings(target, ALL)


@pytest.mark.parametrize("byte", range(256))
def test_each_encoded_byte_is_what_the_law_says(byte: int) -> None:
    """Every %XX alone: refused, ambiguous under one name, or data."""
    path = b"/x%" + b"%02x" % byte
    names = {0x00: NUL, 0x2F: SLASH, 0x3B: SEMICOLON, 0x5C: BACKSLASH}
    if 0 < byte < 0x20 or byte >= 0x7F:
        with pytest.raises(AmbiguousPath):
            ambiguities(path)
    elif byte in names:
        assert ambiguities(path) == {names[byte]}
    elif chr(byte).isalnum() or chr(byte) in "-._~":
        assert ambiguities(path) == {UNRESERVED}
    else:
        assert ambiguities(path) == set()


READINGS = [
    (b"/users/%40me", set(), {(b"users", b"%40me"), (b"users", b"@me")}),
    (b"/caf%c3%a9", set(), {(b"caf%C3%A9",)}),
    (b"/a%20b", set(), {(b"a%20b",)}),
    (b"/100%25", set(), {(b"100%25",)}),
    (b"/a//b", {EMPTY}, {(b"a", b"", b"b"), (b"a", b"b")}),
    (b"//a//", {EMPTY}, {(b"", b"a", b"", b""), (b"a", b"")}),
    (b"/a/../b", {DOT}, {(b"a", b"..", b"b"), (b"b",)}),
    (b"/a/b/..", {DOT}, {(b"a", b"b", b".."), (b"a", b"")}),
    (b"/a/.", {DOT}, {(b"a", b"."), (b"a", b"")}),
    (b"/../a", {DOT}, {(b"..", b"a"), (b"a",)}),
    (b"/a%2Fb", {SLASH}, {(b"a%2Fb",), (b"a", b"b")}),
    (b"/a%5cb", {BACKSLASH}, {(b"a%5Cb",), (b"a", b"b")}),
    (b"/a\\b", {BACKSLASH}, {(b"a\\b",), (b"a", b"b")}),
    (b"/a;x/b", {SEMICOLON}, {(b"a;x", b"b"), (b"a", b"b")}),
    (b"/a%3bx/b", {SEMICOLON}, {(b"a%3Bx", b"b"), (b"a", b"b")}),
    (b"/a%00.png/b", {NUL}, {(b"a%00.png", b"b"), (b"a",)}),
    (b"/%61b", {UNRESERVED}, {(b"%61b",), (b"ab",)}),
    (b"/%6F%40", {UNRESERVED}, {(b"%6F%40",), (b"o%40",), (b"o@",)}),
    (b"/a%2541", {DOUBLE, UNRESERVED}, {(b"a%2541",), (b"aA",)}),
    (b"/a%2520b", {DOUBLE}, {(b"a%2520b",), (b"a%20b",)}),
    (b"/a%zz", {BAD}, {(b"a%zz",)}),
    (
        b"/s/..%2fadmin",
        {SLASH, DOT},
        {(b"s", b"..%2Fadmin"), (b"s", b"..", b"admin"), (b"admin",)},
    ),
    (
        b"/a/..;x/b",
        {SEMICOLON, DOT},
        {(b"a", b"..;x", b"b"), (b"a", b"..", b"b"), (b"b",)},
    ),
]


@pytest.mark.parametrize(("target", "allow", "expected"), READINGS)
def test_what_is_allowed_is_read_in_every_way(
    target: bytes,
    allow: set[Ambiguity],
    expected: set[tuple[bytes, ...]],
) -> None:
    """All readings are there, and that of one who changes nothing is the first."""
    found = [tuple(segments) for segments in readings(target, frozenset(allow))]
    assert set(found) == expected
    assert found[0] == tuple(in_capitals(target)[1:].split(b"/"))


def test_the_longest_path_with_an_ambiguity() -> None:
    """MAX_AMBIGUOUS_BYTES may be read in several ways, one more may not."""
    path = b"/a;" + b"b" * (MAX_AMBIGUOUS_BYTES - 3)
    assert len(readings(path, ALL)) == 2
    with pytest.raises(AmbiguousPath, match=str(MAX_AMBIGUOUS_BYTES)):
        readings(path + b"b", ALL)


def test_a_long_path_without_an_ambiguity_passes() -> None:
    """That limit is for what is read in several ways by allowance; the codec limits the rest."""
    assert len(readings(b"/caf%C3%A9" + b"/b" * 3000, frozenset())) == 1


def test_the_most_ambiguities_of_one_path() -> None:
    """MAX_AMBIGUITIES kinds may stand together, one more may not."""
    pieces = {SLASH: b"a%2Fb", SEMICOLON: b"a;b", UNRESERVED: b"%61", BACKSLASH: b"a\\b", NUL: b"a%00"}
    for kinds in combinations(pieces, MAX_AMBIGUITIES):
        assert readings(b"/" + b"/".join(pieces[kind] for kind in kinds), ALL)
    for kinds in combinations(pieces, MAX_AMBIGUITIES + 1):
        with pytest.raises(AmbiguousPath, match="kinds of ambiguity"):
            readings(b"/" + b"/".join(pieces[kind] for kind in kinds), ALL)


@given(
    st.lists(st.sampled_from([b"/", b"a", b".", b"%2e", b"%2F", b"%40", b";", b"?", b"\\", b"%", b"@", b"#", b"\xff"]))
)
def test_the_quick_check_never_says_more_than_the_slow_one(pieces: list[bytes]) -> None:
    """What PLAIN lets by has no ambiguity, and one reading: the one that the quick way takes."""
    target = b"".join(pieces)
    plain = PLAIN.fullmatch(target)
    if plain is not None:
        assert plain[1] == target.partition(b"?")[0]
        assert readings(target, frozenset()) == [plain[1][1:].split(b"/")]


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Nothing but AmbiguousPath is ever raised, whatever is allowed."""
    for allow in (frozenset[Ambiguity](), ALL):
        try:
            assert readings(b"/" + raw, allow)
        except AmbiguousPath:
            continue


@given(st.binary(max_size=30))
def test_spelling_is_final(raw: bytes) -> None:
    """To spell twice changes nothing more, unless decoding has laid a new encoding open."""
    try:
        if Ambiguity.DOUBLE_ENCODING in ambiguities(b"/" + raw):
            return
    except AmbiguousPath:
        return
    assert spell(spell(raw)) == spell(raw)


@given(st.text(alphabet="/.a~_-%;\\\0\x7f?#é", max_size=12))
def test_what_is_simple_is_plain(text: str) -> None:
    """The quick check takes nothing that the pattern does not, and no query."""
    target = text.encode()
    plain = PLAIN.fullmatch(target)
    assert not is_simple(target) or (plain is not None and plain[1] == target)


@pytest.mark.parametrize(
    "target", [b"", b"*", b"a", b"//", b"/a//b", b"/.", b"/..", b"/a/./b", b"/a/..", b"/\0", b"/a?b"]
)
def test_what_is_not_simple(target: bytes) -> None:
    """Left to the pattern, or refused."""
    assert not is_simple(target)


def test_simple_paths() -> None:
    """Of unreserved characters."""
    assert all(map(is_simple, [b"/", b"/a", b"/a/", b"/a./b..c/~_-9"]))

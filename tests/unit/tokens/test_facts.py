"""facts.py: what a request says, in one reading or in none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import FactUnusable
from proxy.tokens.facts import MAX_FACT_CHARS, SECRET_FIELDS, Facts, InvalidFact, parse_fact, value_at

JSON = [b"Content-Type: application/json"]


def facts(target: bytes = b"/orders/7?action=BUY&n=1", body: bytes = b"{}", lines: list[bytes] | None = None) -> Facts:
    """A request."""
    return Facts(
        method=b"POST",
        target=target,
        lines=JSON if lines is None else lines,
        source="192.0.2.1",
        peer="spiffe://example.org/gateway",
        route="/orders/{id}",
        body=body,
    )


def value(name: str, of: Facts | None = None) -> object:
    """The fact of this name."""
    return parse_fact(name, routed=True).of(of or facts())


def test_each_kind() -> None:
    """One of each."""
    found = facts(body=b'{"a":{"b/c":[1,{"d~e":true}]}}', lines=[*JSON, b"X-Tenant:  blue "])
    assert value("method", found) == "POST"
    assert value("route", found) == "/orders/{id}"
    assert value("source", found) == "192.0.2.1"
    assert value("peer", found) == "spiffe://example.org/gateway"
    assert value("path:id", found) == "7"
    assert value("query:action", found) == "BUY"
    assert value("header:X-Tenant", found) == "blue"
    assert value("body:/a/b~1c/0", found) == 1
    assert value("body:/a/b~1c/1/d~0e", found) is True
    assert value("literal:body:/a", found) == "body:/a"


@pytest.mark.parametrize(
    ("route", "target", "found"),
    [
        ("/a/{id}/**", b"/a/7/x", "7"),
        ("/a/{id}/**", b"/a/7/x/y/z", "7"),
        ("/a/{id}/**", b"/a/7/", "7"),
        ("/a/{id}", b"/a/X-%C3%A4.b", "X-\u00e4.b"),
        ("/a/{id}/**", b"/a/7", None),
        ("/a/{id}", b"/a/7/x", None),
        ("/{one}/{id}", b"/a/7?x=/y/z", "7"),
        ("/**/{id}", b"/a/7/x", None),
    ],
)
def test_where_a_fact_of_the_path_stands(route: str, target: bytes, found: str | None) -> None:
    """Where its route has it; with a rest behind it, whatever that is, but for none."""
    request = Facts(method=b"GET", target=target, lines=[], route=route)
    if found is None:
        with pytest.raises(FactUnusable):
            value("path:id", request)
    else:
        assert value("path:id", request) == found


@pytest.mark.parametrize("step", ["2", "-1", "-", "01", "+1", "1_0", " 1", "x", "", "1000000", "\u0661"])
def test_what_is_no_index(step: str) -> None:
    """RFC 6901 section 4: digits without a zero before them; the rest leads nowhere."""
    assert value_at({"a": ["x", "y"]}, ("a", "1")) == "y"
    assert value_at({"a": ["x", "y"]}, ("a", step)) is None


def test_a_whole_object_or_list() -> None:
    """Is a fact as well; what is in it is exact."""
    found = facts(body=b'{"a":{"x":[1,1.5,"y",null]}}')
    assert value("body:/a", found) == {"x": [1, 1.5, "y", None]}
    assert value("body:/a/x", found) == [1, 1.5, "y", None]


def test_other_spellings_matter_where_an_app_reads_it() -> None:
    """``alone`` says so; a token has one reader, and its members one spelling."""
    assert value_at({"q": 1, "Q": 2}, ("q",)) == 1
    with pytest.raises(FactUnusable):
        value_at({"q": 1, "Q": 2}, ("q",), alone="body:/q")


def test_the_words_of_a_form() -> None:
    """A parameter is read as forms write it: + is a blank, in the name too; it may be empty, a field may not."""
    assert value("query:q", facts(b"/orders/7?q=a+b%2B%C3%A4")) == "a b+\u00e4"
    assert value("query:a b", facts(b"/orders/7?a+b=1")) == "1"
    assert value("query:q", facts(b"/orders/7?q=")) == ""
    assert value("query:q", facts(b"/orders/7?p=q=1&q=p=2?")) == "p=2?"
    assert value("optional header:a", facts(lines=[b"A: "])) is None


@pytest.mark.parametrize("name", ["query:x", "header:x", "body:/x", "body:/a/0", "body:/n"])
def test_what_is_not_there(name: str) -> None:
    """Refused, or left out where it is optional; null is not there."""
    found = facts(body=b'{"a":"text","n":null}')
    assert value(f"optional {name}", found) is None
    with pytest.raises(FactUnusable):
        value(name, found)


@pytest.mark.parametrize("name", ["source", "peer", "route", "body:/a", "path:id"])
def test_of_a_request_that_is_not_known_well(name: str) -> None:
    """What nobody said is not there, and no empty word; a body that was not read has no facts."""
    bare = Facts(method=b"GET", target=b"/", lines=JSON)
    assert bare.authority == b""
    with pytest.raises(FactUnusable):
        value(name, bare)


def test_which_facts_need_the_body() -> None:
    """Those alone make a request wait for it."""
    names = ("method", "source", "query:a", "header:body", "literal:body:/a", "body:/a", "optional body:/a")
    assert [parse_fact(name, routed=True).of_body for name in names] == [False] * 5 + [True] * 2


def test_a_body_that_says_it_is_not_compressed() -> None:
    """In any case of its letters."""
    for coding in (b"identity", b"Identity"):
        found = facts(body=b'{"a":1}', lines=[*JSON, b"Content-Encoding: " + coding])
        assert value("body:/a", found) == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("query:a", facts(b"/orders/7?a=1&a=2")),
        ("query:a", facts(b"/orders/7?a=1&%61=2")),
        ("query:a", facts(b"/orders/7?a=1;a=2")),
        ("query:a", facts(b"/orders/7?a=%zz")),
        ("query:a", facts(b"/orders/7?a=%ff")),
        ("path:id", facts(b"/orders/a%2Fb")),
        ("path:id", facts(b"/orders/a;b")),
        ("path:id", facts(b"/orders/a%5Cb")),
        ("path:id", facts(b"/orders/%252e")),
        ("path:id", facts(b"/orders/%2e%2e")),
        ("path:id", facts(b"/orders/%2e")),
        ("path:id", facts(b"/orders/7%00")),
        ("path:id", facts(b"/orders//7")),
        ("path:id", facts(b"/orders/")),
        ("path:other", facts()),
        ("header:a", facts(lines=[b"A: 1", b"a: 2"])),
        ("header:a", facts(lines=[b"A: \xff"])),
        ("body:/a", facts(body=b'{"a":1,"a":2}')),
        ("body:/a", facts(body=b'{"a":1}', lines=[])),
        ("body:/a", facts(body=b'{"a":1}', lines=[b"Content-Type: text/plain"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[*JSON, b"Content-Type: application/json"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[*JSON, b"Content-Encoding: gzip"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[*JSON, b"Content_Type: text/plain"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[b"content_type: application/json"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[*JSON, b"Content_Encoding: gzip"])),
        ("body:/a", facts(body=b'{"a":1}', lines=[*JSON, b"Content-Encoding: identity", b"content_encoding: gzip"])),
        ("body:/a", facts(body=b'{"a":1,"b":' + b"[" * 32 + b"]" * 32 + b"}")),
        ("body:/a", facts(body=b'{"a":' + b'{"a":' * 100_000)),
        ("body:/a", facts(body=b'[{"a":1}]')),
        ("body:/a", facts(body=b'{"a":NaN}')),
        ("body:/a", facts(body=b"")),
        ("optional query:a", facts(b"/orders/7?a=1&a=2")),
        ("optional query:a", facts(b"/orders/7?a=%ff")),
        ("optional header:a", facts(lines=[b"A: \xff"])),
        ("optional body:/a", facts(body=b"nonsense")),
    ],
)
def test_two_readings_are_none(name: str, found: Facts) -> None:
    """Whatever an app might read there, no token says that it was so; optional does not help."""
    with pytest.raises(FactUnusable):
        value(name, found)


def test_a_fact_n_and_n_plus_1() -> None:
    """A token is carried by every hop."""
    assert value("header:a", facts(lines=[b"A: " + b"x" * MAX_FACT_CHARS]))
    with pytest.raises(FactUnusable):
        value("header:a", facts(lines=[b"A: " + b"x" * (MAX_FACT_CHARS + 1)]))
    with pytest.raises(FactUnusable):
        value("body:/a", facts(body=b'{"a":[' + b"1," * MAX_FACT_CHARS + b"1]}"))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "method:",
        "header:",
        "header:a b",
        "query:",
        "body:",
        "body:a",
        "body:/~2",
        "source:x",
        "optional",
        "literal",
    ],
)
def test_names_that_are_none(name: str) -> None:
    """They are told with what would be right."""
    with pytest.raises(InvalidFact):
        parse_fact(name, routed=True)


@pytest.mark.parametrize("name", sorted(SECRET_FIELDS))
def test_secrets_are_no_facts(name: str) -> None:
    """A token shows what it holds to everybody."""
    for spelled in (name, name.title(), name.upper()):
        with pytest.raises(InvalidFact):
            parse_fact(f"header:{spelled}", routed=True)


@pytest.mark.parametrize("name", ["route", "path:id", "peer"])
def test_without_a_route(name: str) -> None:
    """A destination has none; the others are known there too."""
    with pytest.raises(InvalidFact):
        parse_fact(name, routed=False)
    for other in ("method", "source", "query:action", "literal:x"):
        assert parse_fact(other, routed=False).of(facts())


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["query:a", "path:id", "header:a", "body:/a"]))
def test_nothing_but_a_refusal(target: bytes, body: bytes, name: str) -> None:
    """Random requests have the fact, or are refused."""
    with contextlib.suppress(FactUnusable):
        value(name, facts(b"/" + target, body, [*JSON, b"a: " + body]))


@pytest.mark.parametrize(
    ("name", "target", "lines", "body"),
    [
        ("query:q", b"/x?q=1&Q=2", (), b""),
        ("query:q", b"/x?Q=2", (), b""),
        ("query:q", b"/x?q=1&q%5B%5D=2", (), b""),
        ("query:q", b"/x?q=1&q[0]=2", (), b""),
        ("query:a_b", b"/x?a_b=1&a.b=2", (), b""),
        ("query:a_b", b"/x?a_b=1&a+b=2", (), b""),
        ("query:q", b"/x?q=1&%20q=2", (), b""),
        ("query:q", b"/x?q=1&q%00=2", (), b""),
        ("header:x-user", b"/x", (b"X-User: 1", b"X_User: 2"), b""),
        ("header:x-user", b"/x", (b"x_user: 2",), b""),
        ("header:x_user", b"/x", (b"x-user: 2",), b""),
        ("header:x_user", b"/x", (b"x_user: 1", b"X-User: 2"), b""),
        ("body:/q", b"/x", (), b'{"q":1,"Q":2}'),
        ("body:/q", b"/x", (), b'{"Q":2}'),
        ("body:/k", b"/x", (), '{"k":1,"\u212a":2}'.encode()),
        ("body:/s", b"/x", (), '{"s":1,"\u017f":2}'.encode()),
        ("body:/a/q", b"/x", (), b'{"a":{"q":1},"A":{"q":2}}'),
        ("body:/q", b"/x", (), b'{"q":0.1000000000000000001}'),
        ("body:/q", b"/x", (), b'{"q":{"x":[0.1000000000000000001]}}'),
    ],
)
def test_what_some_reader_takes_for_it(name: str, target: bytes, lines: tuple[bytes, ...], body: bytes) -> None:
    """Names in another spelling, numbers with too many digits: refused, for optional facts too."""
    found = Facts(method=b"GET", target=target, lines=[b"Content-Type: application/json", *lines], body=body)
    for written in (name, f"optional {name}"):
        with pytest.raises(FactUnusable):
            parse_fact(written, routed=True).of(found)


@pytest.mark.parametrize(
    "good", [b"application/json", b"Application/JSON ; charset=UTF-8", b'application/b+json;charset="utf-8"']
)
def test_json_by_any_of_its_names(good: bytes) -> None:
    """In UTF-8 alone, and with no field behind it."""
    found = Facts(method=b"GET", target=b"/x", lines=[b"Content-Type: " + good], body=b'{"q":1}')
    assert parse_fact("body:/q", routed=True).of(found) == 1
    for bad in (b"application/json; charset=utf-16", b"application/json; charset=utf-8; x=1", b"text/json", b"json"):
        with pytest.raises(FactUnusable):
            parse_fact("body:/q", routed=True).of(
                Facts(method=b"GET", target=b"/x", lines=[b"Content-Type: " + bad], body=b'{"q":1}')
            )
    with pytest.raises(FactUnusable):
        parse_fact("body:/q", routed=True).of(
            Facts(method=b"GET", target=b"/x", lines=[b"Content-Type: " + good], body=b'{"q":1}', trailers=True)
        )

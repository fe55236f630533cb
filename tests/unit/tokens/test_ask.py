"""ask.py and subject.py: what is asked for, and with which subject token."""

import json
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import AccessTokenMalformed, AccessTokenMissing, FactUnusable
from proxy.tokens.ask import MAX_CONTEXT_BYTES, Ask, compile_ask
from proxy.tokens.exchange import Want, request_body
from proxy.tokens.facts import MAX_FACTS, Facts
from proxy.tokens.settings import AskSettings, SubjectSettings
from proxy.tokens.subject import TYPES, InvalidType, kind_of, subject

ME = "spiffe://example.org/edge"


def ask(**settings: object) -> Ask:
    """Compile one."""
    errors: list[tuple[str, str]] = []
    made = compile_ask("exchange", AskSettings(scope=("a",), **settings), errors, routed=True)  # type: ignore[arg-type]
    assert made is not None, errors
    return made


def errors_of(**settings: object) -> list[str]:
    """The places that are wrong."""
    errors: list[tuple[str, str]] = []
    assert compile_ask("x", AskSettings(scope=("a",), **settings), errors, routed=False) is None  # type: ignore[arg-type]
    return [path for path, _ in errors]


def facts(*lines: bytes, target: bytes = b"/") -> Facts:
    """A request with these fields."""
    return Facts(method=b"GET", target=target, lines=list(lines), source="192.0.2.1", route="/")


def test_in_our_own_name() -> None:
    """Nothing of the request plays a part."""
    own = ask()
    assert own.is_plain
    assert own.want(facts(), ME) == ask().want(facts(b"Authorization: Bearer x"), ME)
    assert own.want(facts(), ME) == Want(ME, ("a",))
    assert own.field == b""
    assert own.without([b"Authorization: Bearer x"]) == [b"Authorization: Bearer x"]


def test_what_makes_it_more_than_our_own_name() -> None:
    """A subject, details or context: each alone."""
    for settings in ({"subject": SubjectSettings()}, {"details": {"a": "method"}}, {"context": {"a": "method"}}):
        assert not ask(**settings).is_plain


def test_equal_ones_are_equal() -> None:
    """As their settings are, so that a policy that is read again changes nothing."""
    one, again, other = ask(details={"a": "method"}), ask(details={"a": "method"}), ask(details={"a": "source"})
    assert (one == again, one == other, hash(one) == hash(again)) == (True, False, True)
    assert one != "an ask"


@pytest.mark.parametrize("word", sorted(set(TYPES) - {"unsigned_json"}))
def test_every_type_of_subject_token(word: str) -> None:
    """From Authorization or from a field; the field is taken away, however it is spelled."""
    for taken, line in (("bearer", b"AUTHORIZATION: bearer  abc.def~+/="), ("header:X-Token", b"x-tOKEN: abc.def~+/=")):
        made = ask(subject=SubjectSettings(type=word, taken=taken))
        found = made.want(facts(line), ME).subject
        assert found is not None
        assert (found.kind, found.token) == (f"urn:ietf:params:oauth:token-type:{word}", "abc.def~+/=")
        assert found.audience == "", "verified here as a JWT-SVID is this kind alone"
        assert made.without([b"A: 1", line]) == [b"A: 1"]


def test_a_name_is_an_unsigned_subject() -> None:
    """The app says who it is; what it says cannot become more than a name."""
    made = ask(subject=SubjectSettings(type="unsigned_json", taken="header:x-user"))
    found = made.want(facts(b'X-User: al","admin":"y'), ME).subject
    assert found is not None
    assert json.loads(found.token) == {"sub": 'al","admin":"y'}
    for value in (b"", b"\xff", "a\u0000b".encode()):
        with pytest.raises(AccessTokenMalformed):
            made.want(facts(b"X-User: " + value), ME)


def test_a_subject_shows_no_token() -> None:
    """In a log by accident it has the hash, by which two are the same."""
    one = subject(TYPES["access_token"], "secret")
    assert "secret" not in repr(one)
    assert one == subject(TYPES["access_token"], "secret") != subject(TYPES["access_token"], "other")


def test_the_words_of_types() -> None:
    """Those of RFC 8693 section 3, and of the draft of transaction tokens."""
    assert set(TYPES) == {
        *("access_token", "id_token", "jwt", "saml1", "saml2"),
        *("txn_token", "unsigned_json", "self_signed"),
    }


def test_a_refresh_token_is_never_sent() -> None:
    """Under no name (specs 1.8)."""
    for word in ("refresh_token", "urn:ietf:params:oauth:token-type:refresh_token"):
        with pytest.raises(InvalidType):
            kind_of(word)
        assert errors_of(subject=SubjectSettings(type=word)) == ["x.subject.type"]
    assert kind_of("urn:example:our-own") == "urn:example:our-own"
    assert kind_of("urn:" + "x" * 251)
    for word in ("urn:" + "x" * 252, "urn:\u00e9", "urn:a\nb", "uri:a"):
        with pytest.raises(InvalidType):
            kind_of(word)


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ((), AccessTokenMissing),
        ((b"Authorization: Basic YTpi",), AccessTokenMissing),
        ((b"Authorization: DPoP abc",), AccessTokenMissing),
        ((b"Authorization: Bearer",), AccessTokenMalformed),
        ((b"Authorization: Bearer a, Bearer b",), AccessTokenMalformed),
        ((b"Authorization: Bearer a", b"Authorization: Bearer b"), AccessTokenMalformed),
        ((b"Authorization: Bearer \xff",), AccessTokenMalformed),
        ((b"Authorization: Bearer " + b"x" * 16385,), AccessTokenMalformed),
    ],
)
def test_requests_without_one_token(lines: tuple[bytes, ...], refusal: type[Exception]) -> None:
    """None is missing, several or nonsense is malformed."""
    with pytest.raises(refusal):
        ask(subject=SubjectSettings()).want(facts(*lines), ME)


def test_a_token_in_the_query() -> None:
    """RFC 6750 allows one way at a time, and we cannot take it out of there; however its name is spelled."""
    made = ask(subject=SubjectSettings())
    for query in (
        b"access_token=b",
        b"a&%61ccess_token=b",
        b"Access_Token=b",
        b"a;access_token=b",
        b"access.token[]=b",
        b"access+token=b",
    ):
        with pytest.raises(AccessTokenMalformed):
            made.want(facts(b"Authorization: Bearer a", target=b"/?" + query), ME)
    own_field = ask(subject=SubjectSettings(taken="header:x-token"))
    assert own_field.want(facts(b"X-Token: a", target=b"/?access_token=b"), ME).subject, "not the way of RFC 6750"
    for query in (b"access_tokens=b", b"q=access_token", b"%zz=1", b"%ff=1", b""):
        assert made.want(facts(b"Authorization: Bearer a", target=b"/access_token?" + query), ME).subject


def test_templates() -> None:
    """Members in the order of the configuration; an optional one that is not there is left out."""
    made = ask(details={"b": "literal:x", "a": "optional header:none"}, context={"ip": "source"})
    want = made.want(facts(), ME)
    assert (want.details, want.context) == ('{"b":"x"}', '{"ip":"192.0.2.1"}')


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_fact_gets_out_of_its_member(one: str, other: str) -> None:
    """Whatever a caller writes, what is asked for has the members of the configuration, with those values."""
    made = ask(details={"quantity": "query:q", "desk": "body:/desk", "admin": "literal:no"})
    body = json.dumps({"desk": other}).encode()
    found = Facts(
        method=b"POST",
        target=b"/?q=" + quote(one).encode(),
        lines=[b"Content-Type: application/json"],
        body=body,
    )
    asked = made.want(found, ME)
    assert json.loads(asked.details) == {"quantity": one, "desk": other, "admin": "no"}
    form = parse_qsl(request_body(asked, "example.org").decode(), keep_blank_values=True)
    assert len(form) == len(dict(form))
    assert json.loads(dict(form)["request_details"]) == json.loads(asked.details)


def test_templates_n_and_n_plus_1() -> None:
    """So many facts, and so many bytes of them."""
    assert ask(details={f"f{n}": "method" for n in range(MAX_FACTS)})
    assert errors_of(details={f"f{n}": "method" for n in range(MAX_FACTS + 1)}) == ["x.details"]
    big = ask(details={f"f{n}": "header:a" for n in range(5)})
    with pytest.raises(FactUnusable, match=str(MAX_CONTEXT_BYTES)):
        big.want(facts(b"A: " + b"x" * 1000), ME)
    exact = ask(details={**{f"f{n}": "header:a" for n in range(4)}, "f4": "header:b"})
    room = MAX_CONTEXT_BYTES - len(json.dumps(dict.fromkeys(("f0", "f1", "f2", "f3", "f4"), ""), separators=(",", ":")))
    lines = b"A: " + b"x" * 1000, b"B: " + b"x" * (room - 4000)
    assert len(exact.want(facts(*lines), ME).details) == MAX_CONTEXT_BYTES
    with pytest.raises(FactUnusable, match=str(MAX_CONTEXT_BYTES)):
        exact.want(facts(lines[0], lines[1] + b"x"), ME)


def test_subject_n_and_n_plus_1() -> None:
    """16 KiB of a token that is traded, not one more."""
    made = ask(subject=SubjectSettings())
    for size in (1, 16384):
        found = made.want(facts(b"Authorization: Bearer " + b"X" * size), ME).subject
        assert found is not None
        assert len(found.token) == size
    with pytest.raises(AccessTokenMalformed):
        made.want(facts(b"Authorization: Bearer " + b"X" * 16385), ME)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"subject": SubjectSettings(type="token")}, "x.subject.type"),
        ({"subject": SubjectSettings(type="urn:a b")}, "x.subject.type"),
        ({"subject": SubjectSettings(taken="cookie")}, "x.subject.from"),
        ({"subject": SubjectSettings(taken="header:")}, "x.subject.from"),
        ({"subject": SubjectSettings(type="unsigned_json")}, "x.subject.from"),
        ({"details": {"a": "nonsense"}}, "x.details.a"),
        ({"context": {"a": "header:cookie"}}, "x.context.a"),
        ({"context": {"a": "route"}}, "x.context.a"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, object], path: str) -> None:
    """Each with its place."""
    assert errors_of(**settings) == [path]


def test_a_jwt_svid_is_a_jwt_with_an_audience() -> None:
    """The service is told that it is a JWT; here it is known whom it must be for, and other types must not say so."""
    audience = "spiffe://example.org/tts"
    made = ask(subject=SubjectSettings(type="jwt_svid", audience=audience))
    found = made.want(facts(b"Authorization: Bearer a.b.c"), ME).subject
    assert found is not None
    assert (found.kind, found.token, found.audience) == (TYPES["jwt"], "a.b.c", audience)
    plain = ask(subject=SubjectSettings(type="jwt")).want(facts(b"Authorization: Bearer a.b.c"), ME).subject
    assert plain != found, "a token that was traded unverified is not the one of a JWT-SVID"
    assert errors_of(subject=SubjectSettings(type="jwt_svid")) == ["x.subject.audience"]
    assert errors_of(subject=SubjectSettings(type="jwt", audience=audience)) == ["x.subject.audience"]

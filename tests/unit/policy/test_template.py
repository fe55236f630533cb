"""What a route may be written as."""

import pytest

from proxy.policy.template import MAX_SEGMENTS, InvalidTemplate, Template, Wild

ACCEPTED = [
    ("GET /", (b"",)),
    ("GET /orders", (b"orders",)),
    ("GET /orders/", (b"orders", b"")),
    ("GET /orders/{id}", (b"orders", Wild.ONE)),
    ("GET /{a}/x/{b}", (Wild.ONE, b"x", Wild.ONE)),
    ("* /files/**", (b"files", Wild.REST)),
    ("GET /**", (Wild.REST,)),
    ("M-SEARCH /x", (b"x",)),
    ("TRACE /x", (b"x",)),
    ("POST /pkg.Service/Method", (b"pkg.Service", b"Method")),
    ("GET /.well-known/jwks.json", (b".well-known", b"jwks.json")),
    ("GET /@me/a:b", (b"@me", b"a:b")),
    ("GET /caf%c3%a9", (b"caf%C3%A9",)),
    ("GET /a%2Ab", (b"a*b",)),
    ("OPTIONS *", None),
]

REFUSED = [
    ("", "no method"),
    ("/orders", "no method"),
    ("GET", "no method"),
    ("GET  /orders", "begins with /"),
    (" GET /orders", "capitals"),
    ("GET orders", "begins with /"),
    ("GET ", "begins with /"),
    ("get /orders", "capitals"),
    ("Get /orders", "capitals"),
    ("GE(T /orders", "capitals"),
    ("GÉT /orders", "capitals"),
    ("GET,POST /orders", "capitals"),
    ("CONNECT /x", "a tunnel leads to host:port"),
    ("CONNECT db", "write the port too"),
    ("GET *", "only OPTIONS"),
    ("* *", "only OPTIONS"),
    ("GET /a?b=c", "query"),
    ("GET /a#b", "fragment"),
    ("GET /a//b", "empty segment"),
    ("GET //", "empty segment"),
    ("GET /a/../b", "dot_segment"),
    ("GET /a/.", "dot_segment"),
    ("GET /a/%2e%2e", "dot_segment"),
    ("GET /a%2Fb", "encoded_slash"),
    ("GET /a\\b", "backslash"),
    ("GET /a;b", "semicolon"),
    ("GET /a%00", "encoded_nul"),
    ("GET /%61", "encoded_unreserved"),
    ("GET /a%zz", "bad_encoding"),
    ("GET /a%252f", "double_encoding"),
    ("GET /a%25252f", "more than twice"),
    ("GET /a%0a", "control"),
    ("GET /caf%e9", "UTF-8"),
    ("GET /café", "ASCII"),
    ("GET /a b", "percent-encode"),
    ("GET /a|b", "percent-encode"),
    ("GET /%40me", "@, not %40"),
    ("GET /orders/*", "{name} for one segment"),
    ("GET /orders/a*", "{name} for one segment"),
    ("GET /orders/{id", "{name} for one segment"),
    ("GET /orders/id}", "{name} for one segment"),
    ("GET /orders/{id}.json", "{name} for one segment"),
    ("GET /orders/{}", "{name} for one segment"),
    ("GET /orders/{1}", "{name} for one segment"),
    ("GET /orders/{a-b}", "{name} for one segment"),
    ("GET /orders/{rest...}", "/** at the end"),
    ("GET /orders/{rest:.*}", "/** at the end"),
    ("GET /orders/{**}", "/** at the end"),
    ("GET /orders/***", "/** at the end"),
    ("GET /**/orders", "only at the end"),
    ("GET /**/", "only at the end"),
    ("GET /{id}/{id}", "same {name}"),
]


@pytest.mark.parametrize(("raw", "segments"), ACCEPTED)
def test_what_a_match_is_understood_as(raw: str, segments: tuple[bytes | Wild, ...] | None) -> None:
    """A literal is kept as on the wire, a wildcard is a whole segment."""
    template = Template.parse(raw)
    assert template.segments == segments
    assert str(template) == raw
    assert template.path == raw.split(" ")[1]


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_what_is_refused_says_what_would_be_right(raw: str, message: str) -> None:
    """Nothing is guessed: a match that is not in the grammar is an error with a way out."""
    with pytest.raises(InvalidTemplate) as caught:
        Template.parse(raw)
    assert message in str(caught.value)


def test_most_segments() -> None:
    """MAX_SEGMENTS are allowed, one more is not."""
    assert Template.parse("GET " + "/a" * MAX_SEGMENTS).segments == (b"a",) * MAX_SEGMENTS
    with pytest.raises(InvalidTemplate, match=str(MAX_SEGMENTS)):
        Template.parse("GET " + "/a" * (MAX_SEGMENTS + 1))


def test_names_of_variables_do_not_tell_templates_apart() -> None:
    """``{id}`` and ``{name}`` match the same requests, so the segments are equal."""
    assert Template.parse("GET /a/{id}").segments == Template.parse("GET /a/{name}").segments

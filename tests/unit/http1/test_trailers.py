"""Trailers: parsed apart, and nothing in them that should have come before."""

import pytest

from proxy.errors import BadFraming, BadRequest, HeadTooLarge, OwnedField
from proxy.http1.trailers import parse_trailers

NONE: frozenset[bytes] = frozenset()


def test_ordinary_trailers_are_written_anew() -> None:
    """In their order, with the blanks of a field line."""
    section = b"grpc-status:0\r\ngrpc-message: \t ok \t\r\nX-Sum:"
    assert parse_trailers(section, 9, NONE) == (b"grpc-status: 0", b"grpc-message: ok", b"X-Sum: ")


@pytest.mark.parametrize(
    "name",
    [
        *(b"Txn-Token", b"txn-token", b"X-Forwarded-Client-Cert", b"Client-Cert", b"Client-Cert-Chain"),
        *(b"Authorization", b"WWW-Authenticate", b"Proxy-Authorization", b"Cookie", b"Set-Cookie", b"Cache-Control"),
        *(b"Connection", b"Keep-Alive", b"TE", b"Trailer", b"Upgrade", b"Proxy-Connection", b"Expect", b"Max-Forwards"),
        *(b"Content-Type", b"CONTENT-ENCODING", b"Content-Range", b"Via", b"traceparent", b"Forwarded"),
    ],
)
def test_what_should_have_come_before_is_dropped(name: bytes) -> None:
    """Identity, authentication, routing, and how to read the content (specs 6.3)."""
    assert parse_trailers(name + b": evil\r\nX: y", 9, NONE) == (b"X: y",)


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"host", b"TRANSFER-ENCODING"])
def test_framing_that_comes_late_is_refused(name: bytes) -> None:
    """A hop that merges trailers into the head would read another message (law 5)."""
    with pytest.raises(BadFraming):
        parse_trailers(b"X: y\r\n" + name + b": 5", 9, NONE)


@pytest.mark.parametrize("name", [b"Txn_Token", b"x_forwarded_client_cert", b"Content_Length"])
def test_an_imitation_is_refused(name: bytes) -> None:
    """As in a head."""
    with pytest.raises(OwnedField):
        parse_trailers(name + b": evil", 9, NONE)


def test_what_connection_names_is_dropped() -> None:
    """Removal applies to trailers too (RFC 9110 section 7.6.1)."""
    assert parse_trailers(b"X-Hop: 1\r\nX-End: 2", 9, {b"x-hop"}) == (b"X-End: 2",)


@pytest.mark.parametrize(
    "section",
    [
        *(b"X", b": y", b" X: y", b"X : y", b"X: y\r\n folded", b"X: y\r\n\tfolded", b"", b"X: y\r\n", b"X\x00: y"),
        *(b"X: a\rb", b"X: a\nb", b"X: a\rb\nTxn-Token: evil", b"X: \x00", b"X: \x7f", b"X: a\r\r\nY: b", b"X: a\r"),
    ],
)
def test_a_malformed_trailer_is_refused(section: bytes) -> None:
    """The grammar is that of a field line in a head."""
    with pytest.raises(BadRequest):
        parse_trailers(section, 9, NONE)


def test_trailers_are_counted() -> None:
    """As many as fields in a head, and not one more."""
    section = b"\r\n".join([b"X: y"] * 9)
    assert len(parse_trailers(section, 9, NONE)) == 9
    with pytest.raises(HeadTooLarge):
        parse_trailers(section, 8, NONE)

"""The bytes that are sent."""

import itertools

import pytest

from loadtest.openloop.request import BadRequestLine, Target, requests

TARGET = Target.parse("http://127.0.0.1:15001/orders/1?q=2")


def test_the_request_as_it_stands() -> None:
    """Host from the URL, or from a field."""
    assert Target("127.0.0.1", 15001, "127.0.0.1:15001", "/orders/1?q=2") == TARGET
    asked = next(requests(TARGET, ["Accept: */*"]))
    assert asked == (
        b"GET /orders/1?q=2 HTTP/1.1\r\nHost: 127.0.0.1:15001\r\nAccept: */*\r\nUser-Agent: svidecar-openloop\r\n\r\n"
    )
    assert next(requests(TARGET, ["host: orders"])).count(b"ost: ") == 1


def test_each_request_has_the_next_token() -> None:
    """In the order of the file, and from its beginning when it ends."""
    asked = itertools.islice(requests(TARGET, [], ["a.b.c", "d.e.f"]), 3)
    tokens = [request.split(b"Txn-Token: ")[1].split(b"\r\n")[0] for request in asked]
    assert tokens == [b"a.b.c", b"d.e.f", b"a.b.c"]


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "127.0.0.1:80/", "http:///x", "http://a/b c", "http://a/\r\nX: y"]
)
def test_urls_that_are_refused(url: str) -> None:
    """TLS is the proxy's; and a request line is one line."""
    with pytest.raises((BadRequestLine, ValueError)):
        next(requests(Target.parse(url), []))
        assert "\r" not in Target.parse(url).path
        raise BadRequestLine


@pytest.mark.parametrize(
    "field", ["no colon", ": empty", "A: b\r\nC: d", "Content-Length: 3", "Connection: close", "A : b", "A: \u00e9"]
)
def test_fields_that_are_refused(field: str) -> None:
    """One field a line; and none that changes the framing."""
    with pytest.raises(BadRequestLine):
        requests(TARGET, [field])

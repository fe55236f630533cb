"""Bodies of a known length, and those that the end of the connection ends."""

import pytest

from proxy.http1.body import BodyUntilClose, CountedBody
from proxy.http1.message import END


def test_a_body_of_no_bytes_is_its_end() -> None:
    """Nothing of the buffer is taken: it is the next message."""
    assert CountedBody(0).take(b"GET /") == (END, 0)


def test_a_counted_body_takes_its_bytes_and_no_more() -> None:
    """What follows stays in the buffer."""
    body = CountedBody(5)
    assert body.take(b"helloGET /") == (b"hello", 5)
    assert body.take(b"GET /") == (END, 0)


def test_a_counted_body_comes_in_pieces() -> None:
    """Each piece is given out at once; an empty buffer gives nothing."""
    body = CountedBody(5)
    assert body.take(b"") == (None, 0)
    assert body.take(b"he") == (b"he", 2)
    assert body.take(b"") == (None, 0)
    assert body.take(b"llo") == (b"llo", 3)
    assert body.take(b"") == (END, 0)


@pytest.mark.parametrize("size", [1, 2, 10**18 - 1])
def test_a_counted_body_that_is_not_whole_has_no_end(size: int) -> None:
    """One byte less than declared, and the end does not come."""
    body = CountedBody(size)
    data = b"x" * min(size - 1, 100)
    assert body.take(data) == (data or None, len(data))
    assert body.take(b"") == (None, 0)


def test_a_body_until_close_never_ends_by_itself() -> None:
    """Everything that comes is its data, whatever it looks like."""
    body = BodyUntilClose()
    assert body.take(b"") == (None, 0)
    assert body.take(b"HTTP/1.1 200 OK\r\n\r\n") == (b"HTTP/1.1 200 OK\r\n\r\n", 19)
    assert body.take(b"") == (None, 0)

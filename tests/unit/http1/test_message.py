"""The events: plain values, whose text shows no more than what kind they are."""

from proxy.http1.message import END, EndOfMessage, RequestHead, ResponseHead


def test_a_head_shows_its_method_and_length_alone() -> None:
    """What is printed by a debugger or a log holds no target, no field and no token."""
    head = RequestHead(b"GET", b"/secret", b"secret", 1, [b"X: secret"], {b"txn-token": [b"secret"]})
    assert repr(head) == "RequestHead(b'GET', length=0)"
    answer = ResponseHead(200, b"HTTP/1.1 200 secret", 1, [b"X: secret"], {})
    assert repr(answer) == "ResponseHead(200, length=0)"


def test_a_head_is_a_whole_message_that_keeps_its_connection_until_framing_says_otherwise() -> None:
    """The defaults of a GET in HTTP/1.1."""
    head = RequestHead(b"GET", b"/", b"a", 1, [], {})
    assert (head.length, head.keep_alive) == (0, True)
    answer = ResponseHead(204, b"HTTP/1.1 204 ", 1, [], {})
    assert (answer.length, answer.keep_alive) == (0, True)


def test_the_common_end_has_no_trailers() -> None:
    """It is one value for all messages."""
    assert END.trailers == EndOfMessage().trailers == ()

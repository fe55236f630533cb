"""llhttp reads what we forward, and the same wire, as we do. It is another family of parsers than h11."""

import pytest
from hypothesis import given, settings
from support.attacks import streams
from support.http1 import Message, read_requests, write_request

from proxy.http1.message import RequestHead

pytest.importorskip("httptools", reason="the second judge is a package of its own")

from support.second_judge import llhttp_requests

EXAMPLES = 600

KNOWN = {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"}
"""llhttp refuses every method that it does not know."""


def assert_forwards_one(message: Message) -> None:
    """What we write for a request is that request alone to llhttp."""
    head = message.head
    assert isinstance(head, RequestHead)
    verdict = llhttp_requests(write_request(message))
    assert (verdict.refused, verdict.left_over, len(verdict.messages)) == (False, b"", 1)
    judged = verdict.messages[0]
    assert judged.first == (head.method, head.target)
    assert (judged.body, judged.complete) == (message.body, True)
    rows = [line.partition(b": ") for line in [b"Host: " + (head.authority or b"app.internal"), *head.lines]]
    expected = [(name.lower(), value) for name, _, value in rows]
    assert judged.fields[: len(expected)] == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=streams())
def test_what_we_forward_is_one_request_to_llhttp(wire: bytes) -> None:
    """Whatever comes is refused, or passes as exactly the request that we read."""
    for message in read_requests([wire]).messages:
        assert isinstance(message.head, RequestHead)
        if message.complete and message.head.method in KNOWN:
            assert_forwards_one(message)


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=streams())
def test_we_read_the_wire_as_llhttp_does(wire: bytes) -> None:
    """Where both read the same bytes without complaint, both find the same messages."""
    reading, verdict = read_requests([wire]), llhttp_requests(wire)
    if reading.error is not None or verdict.refused or verdict.left_over:
        return
    ours = [message for message in reading.messages if message.complete]
    theirs = [judged for judged in verdict.messages if judged.complete]
    for message, judged in zip(ours, theirs, strict=True):
        assert isinstance(message.head, RequestHead)
        assert (judged.first[0], judged.body) == (message.head.method, message.body)

"""What we would forward is read by others as the same requests, with the same bodies, and nothing left over."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import gunicorn, llhttp
from support.attacks import spoiled, streams
from support.http1 import Message, Reading, read_requests, read_responses, write_request, write_response
from support.judges import Judged, Verdict, h11_requests, h11_response

from proxy.http1.grammar import HOP_BY_HOP, OWNED
from proxy.http1.message import CHUNKED, RequestHead, ResponseHead

EXAMPLES = 600


def pairs(lines: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """Give fields as h11 reports them."""
    rows = [line.partition(b": ") for line in lines]
    return [(name.lower(), value) for name, _, value in rows]


def assert_forwards_one(message: Message) -> None:
    """What we write for a request is that request alone to h11, with the fields that we meant."""
    head = message.head
    assert isinstance(head, RequestHead)
    verdict = h11_requests(write_request(message))
    assert (verdict.refused, verdict.left_over, len(verdict.messages)) == (False, b"", 1)
    judged = verdict.messages[0]
    assert judged.first == (head.method, head.target)
    assert judged.complete
    assert judged.body == message.body
    assert judged.trailers == pairs(message.trailers)
    assert_fields(judged, head, pairs([b"Host: " + (head.authority or b"app.internal"), *head.lines]), message)


def assert_fields(
    judged: Judged, head: RequestHead | ResponseHead, expected: list[tuple[bytes, bytes]], message: Message
) -> None:
    """The judge saw the fields that we meant, our framing, and nothing that ends with this hop or that is ours."""
    if head.length is CHUNKED:
        expected.append((b"transfer-encoding", b"chunked"))
    elif message.body:
        expected.append((b"content-length", b"%d" % len(message.body)))
    assert judged.fields == expected
    names = {name for name, _ in [*judged.fields, *judged.trailers]}
    assert not names & (OWNED | HOP_BY_HOP - {b"transfer-encoding"})


def assert_all_forward(reading: Reading) -> None:
    """Each whole request of a connection passes as itself."""
    for message in reading.messages:
        if message.complete:
            assert_forwards_one(message)


def assert_read_alike(wire: bytes, reading: Reading, verdict: Verdict) -> None:
    """A judge that reads the same raw bytes without complaint finds the messages that we found."""
    if reading.error is not None or verdict.refused:
        return
    for message, judged in zip(reading.messages, verdict.messages, strict=False):
        head = message.head
        assert isinstance(head, RequestHead)
        assert judged.first[0] == head.method
        assert judged.first[1] == head.target or judged.first[1].lower().startswith((b"http://", b"https://"))
        assert (judged.body, judged.complete) == (message.body, message.complete), wire
    closed = any(not message.head.keep_alive for message in reading.messages)
    assert len(verdict.messages) == len(reading.messages) or (closed and len(verdict.messages) > len(reading.messages))


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=streams())
def test_what_we_forward_is_one_request_to_h11(wire: bytes) -> None:
    """Whatever comes is refused, or passes as exactly the request that we read."""
    assert_all_forward(read_requests([wire]))


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=streams())
def test_we_read_the_wire_as_h11_does(wire: bytes) -> None:
    """Where both read the same bytes, both find the same messages: nobody beside us sees another request."""
    assert_read_alike(wire, read_requests([wire]), h11_requests(wire))


@pytest.mark.shared
def test_what_we_forward_of_the_corpora_is_one_request_to_h11(shared_testdata: Path) -> None:
    """The cases of llhttp and gunicorn, as they stand and with a Host, pass as themselves or not at all."""
    cases = [case for case in llhttp.read(shared_testdata / "llhttp") if case.type.startswith("request")]
    wires = [wire for case in cases for wire in (case.wire, case.with_hosts())]
    wires += [wire for case in gunicorn.read(shared_testdata / "gunicorn") for wire in (case.wire, case.with_hosts())]
    readings = [read_requests([wire]) for wire in wires]
    assert sum(message.complete for reading in readings for message in reading.messages) > 150
    for reading in readings:
        assert_all_forward(reading)


@pytest.mark.shared
def test_what_we_forward_of_spoiled_corpora_is_one_request_to_h11(shared_testdata: Path) -> None:
    """The same with one place of a case spoiled."""
    cases = [case.with_hosts() for case in llhttp.read(shared_testdata / "llhttp") if case.type.startswith("request")]
    cases += [case.with_hosts() for case in gunicorn.read(shared_testdata / "gunicorn")]

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(wire=spoiled(st.sampled_from([wire for wire in cases if len(wire) < 4000])))
    def judge(wire: bytes) -> None:
        assert_all_forward(read_requests([wire]))

    judge()


@pytest.mark.shared
def test_what_we_forward_of_responses_is_one_response_to_h11(shared_testdata: Path) -> None:
    """The responses of llhttp pass as themselves or not at all."""
    judged = 0
    for case in llhttp.read(shared_testdata / "llhttp"):
        if case.type.startswith("response"):
            reading = read_responses([case.wire], many=False, eof=True)
            for message in reading.messages:
                head = message.head
                assert isinstance(head, ResponseHead)
                if message.complete and head.status >= 200:
                    verdict = h11_response(write_response(message), b"GET", eof=not message.body)
                    assert (verdict.refused, verdict.left_over, len(verdict.messages)) == (False, b"", 1), case.name
                    assert verdict.messages[0].first == (b"%d" % head.status,)
                    assert verdict.messages[0].body == message.body
                    assert_fields(verdict.messages[0], head, pairs(head.lines), message)
                    judged += 1
    assert judged > 30

"""Drives a decoder over bytes, and writes anew what it understood."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from proxy.errors import BadMessage, ProxyError, UpstreamBadResponse
from proxy.http1 import write
from proxy.http1.decoder import RequestDecoder, ResponseDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import CHUNKED, EndOfMessage, RequestHead, ResponseHead

LIMITS = Limits()


@dataclass(slots=True)
class Message:
    """One message as it was read so far."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    trailers: tuple[bytes, ...] = ()
    complete: bool = False

    @property
    def facts(self) -> tuple[object, ...]:
        """Everything that was read, as a value."""
        head = self.head
        first = (
            (head.method, head.target, head.authority)
            if isinstance(head, RequestHead)
            else (head.status, head.first_line)
        )
        rest = (head.version, tuple(head.lines), head.held, head.length, head.keep_alive)
        return (*first, *rest, self.body, self.trailers, self.complete)


@dataclass(slots=True)
class Reading:
    """What a decoder made of some bytes: the messages, then perhaps a refusal."""

    messages: list[Message] = field(default_factory=list)
    error: ProxyError | None = None

    @property
    def reason(self) -> str:
        """Why it was refused; empty when it was not."""
        return self.error.reason if self.error is not None else ""

    @property
    def facts(self) -> tuple[object, ...]:
        """Everything that was read, as a value."""
        return (*(message.facts for message in self.messages), self.reason)

    @property
    def whole(self) -> bool:
        """Whether nothing was refused, and every message came to its end."""
        return self.error is None and all(message.complete for message in self.messages)


def read_requests(pieces: Iterable[bytes], limits: Limits = LIMITS, *, eof: bool = False) -> Reading:
    """Read requests from bytes that come in ``pieces``."""
    decoder = RequestDecoder(limits)
    reading = Reading()
    try:
        for piece in pieces:
            decoder.receive(piece)
            while (event := decoder.next_event()) is not None:
                _take(reading, event)
        if eof:
            decoder.receive_eof()
    except BadMessage as error:
        reading.error = error
    return reading


def read_responses(
    pieces: Iterable[bytes], method: bytes = b"GET", limits: Limits = LIMITS, *, eof: bool = False, many: bool = True
) -> Reading:
    """Read responses: each to a request of ``method``, which was sent when the response before was whole."""
    decoder = ResponseDecoder(limits)
    decoder.expect(method)
    reading = Reading()
    try:
        for piece in pieces:
            decoder.receive(piece)
            while (event := decoder.next_event()) is not None:
                _take(reading, event)
                last = reading.messages[-1]
                assert isinstance(last.head, ResponseHead)
                if last.head.status == 101:
                    decoder.release()
                    return reading
                if many and last.complete and last.head.status >= 200 and last.head.keep_alive:
                    decoder.expect(method)
        if eof and (end := decoder.receive_eof()) is not None:
            _take(reading, end)
    except UpstreamBadResponse as error:
        reading.error = error
    return reading


def _take(reading: Reading, event: RequestHead | ResponseHead | bytes | EndOfMessage) -> None:
    if isinstance(event, bytes):
        assert event, "an event never holds no data"
        reading.messages[-1].body += event
    elif isinstance(event, EndOfMessage):
        reading.messages[-1].trailers = event.trailers
        reading.messages[-1].complete = True
    else:
        reading.messages.append(Message(event, complete=event.length == 0))


def cut(wire: bytes, *places: int) -> Iterator[bytes]:
    """Give ``wire`` in pieces, cut at ``places``."""
    bounds = [0, *sorted({place for place in places if 0 < place < len(wire)}), len(wire)]
    return (wire[start:end] for start, end in pairwise(bounds))


def byte_by_byte(wire: bytes) -> Iterator[bytes]:
    """Give ``wire`` one byte at a time."""
    return (wire[at : at + 1] for at in range(len(wire)))


def write_request(message: Message) -> bytes:
    """Write a request anew, as the flow does: Host from the authority, and framing from ``length``."""
    head = message.head
    assert isinstance(head, RequestHead)
    lines = [b"Host: " + (head.authority or b"app.internal"), *head.lines]
    return _write(b"%b %b HTTP/1.1" % (head.method, head.target), lines, message)


def write_response(message: Message) -> bytes:
    """Write a response anew."""
    head = message.head
    assert isinstance(head, ResponseHead)
    return _write(b"HTTP/1.1 %d %b" % (head.status, write.reason_phrase(head.status)), head.lines, message)


def _write(first: bytes, lines: list[bytes], message: Message) -> bytes:
    if message.head.length is CHUNKED:
        head = write.head(first, [*lines, b"Transfer-Encoding: chunked"])
        body = write.chunk(message.body) if message.body else b""
        return head + body + write.last_chunk(message.trailers)
    if message.body:
        lines = [*lines, b"Content-Length: %d" % len(message.body)]
    return write.head(first, lines) + message.body

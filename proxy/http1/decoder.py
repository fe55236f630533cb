"""Both decoders: a head, then its body, then the next head. See the package's docstring for the contract."""

from typing import Final

from proxy.errors import BadFraming, BadMessage, BadRequest, HeadTooLarge, TargetTooLong, UpstreamBadResponse
from proxy.http1.body import Body, BodyUntilClose, CountedBody
from proxy.http1.chunked import ChunkedBody
from proxy.http1.framing import connection_options
from proxy.http1.grammar import TOKEN
from proxy.http1.head import METHOD_BYTES, parse_request_line, parse_response_head, read_request_head
from proxy.http1.limits import Limits
from proxy.http1.message import END, UNTIL_CLOSE, EndOfMessage, RequestEvent, RequestHead, ResponseEvent, ResponseHead

_SMALL_HEAD_BYTES: Final = 4096
"""Up to this a buffer is split before it is known to be one head: many small requests at once cost that, once each."""


class _Decoder:
    __slots__ = ("_body", "_buffer", "_limits", "_searched")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = b""
        self._searched = 0
        self._body: Body | None = None

    @property
    def buffered_bytes(self) -> int:
        """How many received bytes no event has given out yet."""
        return len(self._buffer)

    @property
    def wants_more(self) -> bool:
        """Whether a body is under way and nothing of it is buffered: the next event needs bytes."""
        return not self._buffer and self._body is not None and not self._body.is_whole

    def receive(self, data: bytes) -> None:
        """Take bytes that came."""
        self._buffer = self._buffer + data if self._buffer else data

    def release(self) -> bytes:
        """Give up what is buffered: the message has become a tunnel (101)."""
        rest, self._buffer = self._buffer, b""
        self._searched = 0
        return rest

    def _take_head(self) -> bytes | None:
        """Cut the head off the buffer; None while it is not whole."""
        buffer = self._buffer
        seen = self._searched
        end = buffer.find(b"\r\n\r\n", seen)
        limit = self._limits.head_bytes
        if end < 0:
            if len(buffer) > limit:
                raise HeadTooLarge(f"the head is larger than {limit} bytes")
            if buffer.count(b"\n", seen) != buffer.count(b"\r\n", max(0, seen - 1)):
                raise BadRequest("a LF alone in the head")
            self._searched = max(0, len(buffer) - 3)
            return None
        end += 4
        if end > limit:
            raise HeadTooLarge(f"the head is larger than {limit} bytes")
        self._searched = 0
        self._buffer = buffer[end:]
        return buffer[:end]

    def _begin_body(self, head: RequestHead | ResponseHead) -> None:
        length = head.length
        if length is None:  # CHUNKED
            named = connection_options(head.held) if b"connection" in head.held else frozenset()
            self._body = ChunkedBody(self._limits, named)
        elif length == UNTIL_CLOSE:
            self._body = BodyUntilClose()
        else:
            self._body = CountedBody(length)

    def _take_body(self, body: Body) -> bytes | EndOfMessage | None:
        event, consumed = body.take(self._buffer)
        if consumed:
            self._buffer = self._buffer[consumed:]
        if type(event) is EndOfMessage:
            self._body = None
        return event


class RequestDecoder(_Decoder):
    """Requests, one after the other, until one says that it is the last."""

    __slots__ = ("_blank", "_last")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._blank = False
        self._last = False

    @property
    def in_head(self) -> bool:
        """Whether a head has begun to come and is not whole."""
        return self._body is None and bool(self._buffer) and not self._last

    def next_event(self) -> RequestEvent | None:
        """Give the next event, or None when more bytes are needed.

        A head with ``length`` 0 is a whole message: no end follows it. What follows a message without ``keep_alive``
        is never read (RFC 9112 section 9.6).

        Raises:
            BadMessage: refused; the connection must end after the answer.

        """
        if self._body is not None:
            return self._take_body(self._body)
        buffer = self._buffer
        if not buffer or self._last:
            return None
        if buffer[0] in b"\r\n" and not self._blank and not self._skip_blank_line():
            return None
        rows = self._whole_head() if self._buffer.endswith(b"\r\n\r\n") else None
        if rows is None:
            raw = self._take_head()
            if raw is None:
                self._doubt()
                return None
            rows = raw[:-4].split(b"\r\n")
        self._blank = False
        head = read_request_head(rows, self._limits)
        if head.length != 0:
            self._begin_body(head)
        self._last = not head.keep_alive
        return head

    def _whole_head(self) -> list[bytes] | None:
        """Split the buffer if it is one head and nothing else, as most are: what is split need not be searched."""
        if len(self._buffer) > min(_SMALL_HEAD_BYTES, self._limits.head_bytes):
            return None
        rows = self._buffer[:-4].split(b"\r\n")
        if b"" in rows:  # a head, and more behind it
            return None
        self._buffer = b""
        self._searched = 0
        return rows

    def receive_eof(self) -> None:
        """Take the end of the stream.

        Raises:
            BadRequest, BadFraming: in the middle of a message.

        """
        if self._body is not None:
            raise BadFraming("the connection ended inside a body")
        if self.in_head:
            raise BadRequest("the connection ended inside a head")

    def _skip_blank_line(self) -> bool:
        """Skip the one CRLF that RFC 9112 section 2.2 lets come before a request line."""
        if not self._buffer.startswith(b"\r\n"):
            if self._buffer == b"\r":
                return False
            raise BadRequest("a CR or LF alone before the request line")
        self._blank = True
        self._buffer = self._buffer[2:]
        return bool(self._buffer)

    def _doubt(self) -> None:
        """Refuse a head that is not whole as soon as it cannot become good: garbage gets its answer at once."""
        longest = METHOD_BYTES + self._limits.target_bytes + len(b"  HTTP/1.1\r\n")
        begin = self._buffer[:longest]
        line, crlf, _ = begin.partition(b"\r\n")
        if crlf:
            parse_request_line(line, self._limits)
            return
        method, space, _ = begin.partition(b" ")
        if len(method) > METHOD_BYTES or not TOKEN.fullmatch(method):
            raise BadRequest("the request line does not begin with a method")
        if space and len(begin) > len(method) + self._limits.target_bytes + len(b"  HTTP/1.1\r"):
            raise TargetTooLong(f"the target is longer than {self._limits.target_bytes} bytes")


class ResponseDecoder(_Decoder):
    """Responses to requests that were sent one at a time: call ``expect`` before each."""

    __slots__ = ("_interims", "_method")

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._method: bytes | None = None
        self._interims = 0

    def expect(self, method: bytes) -> None:
        """Tell the method of the request that was sent: the framing of its response depends on it."""
        self._method = method
        self._interims = 0

    @property
    def idle(self) -> bool:
        """Whether no response is expected and nothing is buffered: the connection may be used again."""
        return self._method is None and not self._buffer

    def next_event(self) -> ResponseEvent | None:
        """Give the next event, or None when more bytes are needed.

        A final head with ``length`` 0 is a whole message: no end follows it.

        Raises:
            UpstreamBadResponse: refused; the connection must end.

        """
        try:
            if self._body is None:
                return self._next_head() if self._buffer else None
            event = self._take_body(self._body)
        except BadMessage as error:
            raise UpstreamBadResponse(error.detail) from error
        if type(event) is EndOfMessage:
            self._method = None
        return event

    def whole_body(self) -> bytes | None:
        """Give a counted body, and end the message, if all the rest of it has come: most answers are small."""
        body, buffer = self._body, self._buffer
        if not buffer or type(body) is not CountedBody or body.remaining != len(buffer):
            return None
        self._body = self._method = None
        self._buffer = b""
        return buffer

    def _next_head(self) -> ResponseHead | None:
        if self._method is None:
            raise BadRequest("bytes came that no request asked for")
        raw = self._take_head()
        if raw is None:
            if not self._buffer.startswith(b"HTTP/1."[: len(self._buffer)]):
                raise BadRequest("the answer does not begin with HTTP/1.")
            return None
        head = parse_response_head(raw, self._method, self._limits)
        self._follow(head)
        return head

    def _follow(self, head: ResponseHead) -> None:
        if head.status < 200 and head.status != 101:
            self._interims += 1
            if self._interims > self._limits.interim_responses:
                raise BadRequest(f"more than {self._limits.interim_responses} interim responses")
        elif head.length == 0:
            self._method = None
        else:
            self._begin_body(head)

    def receive_eof(self) -> EndOfMessage | None:
        """Take the end of the stream: END when it ends a body, None when nothing was expected.

        Raises:
            UpstreamBadResponse: in the middle of a message.

        """
        if isinstance(self._body, BodyUntilClose):
            self._body = None
            self._method = None
            return END
        if self._method is None and self._body is None and not self._buffer:
            return None
        raise UpstreamBadResponse("the connection ended inside the answer")


__all__ = ["RequestDecoder", "RequestHead", "ResponseDecoder", "ResponseHead"]

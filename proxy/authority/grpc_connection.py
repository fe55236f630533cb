"""One connection of a caller of the Workload API: HTTP/2 by ``h2``, bounded in everything that a caller could pile up.

What is bounded: streams, headers, a request, the time to send it, the time to read an answer, what waits to be sent
(one message for each stream: each is the full state, so a newer one takes its place), answers to control frames that
nobody reads, streams that are opened only to be reset.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from proxy.authority.attest import Caller
from proxy.authority.grpc import MAX_REQUEST_BYTES, Code, Refused, framed, path_of, trailers, unframed
from proxy.net.deadlines import NEVER

MAX_STREAMS = 32
"""At once on one connection: a sidecar has three streams and now and then a call."""

MAX_HEADER_BYTES = 8192

REQUEST_S = 10.0
"""From the head of a call to its end: it holds a few bytes, on one machine."""

READ_S = 30.0
"""For a caller to read on: what is sent would else wait in our memory."""

IDLE_S = 600.0
"""Without a call: a client that only asks for tokens now and then stays."""

MAX_UNREAD_BYTES = 256 * 1024
"""Of what the transport holds: answers to settings and pings of a caller who reads nothing."""

MAX_RESETS = 200
"""More streams reset than answered, by so many: opened only to make us work."""


class Service(Protocol):
    """What the calls mean."""

    def is_stream(self, path: str) -> bool:
        """Whether the call has further answers. Raises Refused."""
        ...

    def answer(self, caller: Caller, path: str, metadata: Sequence[tuple[str, str]], request: bytes) -> bytes:
        """Give the answer as of now. Raises Refused."""
        ...


@dataclass(slots=True, eq=False)
class _Call:
    path: str
    metadata: list[tuple[str, str]]
    until: float
    request: bytearray = field(default_factory=bytearray)
    is_stream: bool = False
    is_asked: bool = False
    is_answered: bool = False  # the head of the answer is out
    sent: bytes = b""  # the last message, so that no change is no message
    left: bytes = b""  # of what is being sent
    is_stale: bool = False  # there is something newer than what is being sent
    ends: list[tuple[str, str]] | None = None


class GrpcConnection(asyncio.Protocol):
    """See the module. ``refresh`` tells its streams that something may have changed."""

    def __init__(
        self, service: Service, caller: Caller, clock: Callable[[], float], on_lost: Callable[[], None]
    ) -> None:
        self.deadline = NEVER
        self.caller = caller
        self._service = service
        self._clock = clock
        self._on_lost = on_lost
        self._calls: dict[int, _Call] = {}
        self._balance = 0
        self._writable = True
        self._idle_since = clock() - IDLE_S + REQUEST_S  # who says nothing at all has less time
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        limits = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES}
        self._h2.local_settings = Settings(client=False, initial_values=limits)
        self._h2.decoder.max_header_list_size = MAX_HEADER_BYTES

    def __len__(self) -> int:
        return len(self._calls)

    # ---- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with our settings."""
        self._transport = cast("asyncio.Transport", transport)
        self._h2.initiate_connection()
        self._set_deadline()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the caller."""
        try:
            for event in self._h2.receive_data(data):
                self._on_event(event)
            self._pump()
        except (ProtocolError, UnicodeDecodeError):
            self._flush()  # the GOAWAY that says why
            self._transport.close()
            return
        self._flush()
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES or self._balance > MAX_RESETS:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Send no more until it was read."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._pump()
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let everything go."""
        self._calls.clear()
        self.deadline = NEVER
        self.caller.close()
        self._on_lost()

    def close(self) -> None:
        """End in good order."""
        if not self._transport.is_closing():
            self._h2.close_connection()
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    # ---- time

    def on_deadline(self) -> None:
        """End what has taken too long: a half request, an answer that nobody reads, a connection without a call."""
        now = self._clock()
        for stream_id, call in list(self._calls.items()):
            if call.until > now:
                continue
            if call.is_asked:
                self._reset(stream_id)
            else:
                self._end(call, Code.DEADLINE_EXCEEDED, "the request did not come in time")
        if not self._calls and now >= self._idle_since + IDLE_S:
            self.close()
            return
        self._pump()
        self._flush()

    def refresh(self) -> None:
        """Tell each stream what is true now, if it is not what was told last."""
        for call in list(self._calls.values()):
            if call.is_stream and call.is_asked and call.ends is None:
                self._renew(call)
        self._pump()
        self._flush()

    # ---- calls

    def _on_event(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event.stream_id or 0, cast("list[tuple[str, str]]", event.headers or []))
            case DataReceived():
                self._take(event)
            case StreamEnded():
                self._ask(event.stream_id or 0)
            case StreamReset():
                self._calls.pop(event.stream_id or 0, None)
                self._balance += 1
            case ConnectionTerminated():
                self._transport.close()
            case _:
                pass

    def _begin(self, stream_id: int, headers: Sequence[tuple[str, str]]) -> None:
        call = self._calls[stream_id] = _Call("", list(headers), self._clock() + REQUEST_S)
        try:
            call.path = path_of(headers)
            call.is_stream = self._service.is_stream(call.path)
        except Refused as refused:
            self._end(call, refused.code, refused.message)

    def _take(self, event: DataReceived) -> None:
        stream_id = event.stream_id or 0
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
        call = self._calls.get(stream_id)
        if call is None or call.ends is not None:
            return
        call.request += event.data or b""
        if len(call.request) > MAX_REQUEST_BYTES:
            call.request.clear()
            self._end(call, Code.RESOURCE_EXHAUSTED, f"a request has at most {MAX_REQUEST_BYTES} bytes")

    def _ask(self, stream_id: int) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        call.is_asked = True
        if call.ends is not None:
            return
        call.until = NEVER
        self._balance = max(self._balance - 1, 0)
        self._renew(call)
        if not call.is_stream and call.ends is None:
            call.ends = trailers(Code.OK)

    def _renew(self, call: _Call) -> None:
        if call.left:
            call.is_stale = True
            return
        try:
            answer = self._service.answer(self.caller, call.path, call.metadata, unframed(bytes(call.request)))
        except Refused as refused:
            self._end(call, refused.code, refused.message)
            return
        call.is_stale = False
        if answer != call.sent or not call.is_answered:
            call.sent, call.left = answer, framed(answer)

    def _end(self, call: _Call, code: Code, message: str) -> None:
        call.left, call.is_stale = b"", False
        call.ends = trailers(code, message)
        call.until = self._clock() + READ_S

    # ---- sending

    def _pump(self) -> None:
        """Send what flow control and the transport take."""
        for stream_id, call in list(self._calls.items()):
            if not self._writable:
                break
            while self._send(stream_id, call) and call.is_stale:
                self._renew(call)
        self._set_deadline()

    def _send(self, stream_id: int, call: _Call) -> bool:
        """Whether all of it is out."""
        if not call.is_answered and (call.left or call.ends is not None):
            head = [(":status", "200"), ("content-type", "application/grpc")]
            if call.ends is not None and not call.left:
                self._finish(stream_id, [*head, *call.ends])
                return True
            self._h2.send_headers(stream_id, head)
            call.is_answered = True
        while call.left:
            size = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if size <= 0:
                call.until = min(call.until, self._clock() + READ_S)
                return False
            self._h2.send_data(stream_id, call.left[:size])
            call.left = call.left[size:]
            call.until = NEVER
        if call.ends is not None:
            self._finish(stream_id, call.ends)
        return True

    def _finish(self, stream_id: int, fields: list[tuple[str, str]]) -> None:
        call = self._calls.pop(stream_id)
        self._idle_since = self._clock()
        self._h2.send_headers(stream_id, fields, end_stream=True)
        if not call.is_asked:
            self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)  # no more of the request is wanted (RFC 9113 8.1)

    def _reset(self, stream_id: int) -> None:
        del self._calls[stream_id]
        self._h2.reset_stream(stream_id, ErrorCodes.CANCEL)

    def _set_deadline(self) -> None:
        if self._calls:
            self._idle_since = self._clock()
            self.deadline = min(call.until for call in self._calls.values())
        else:
            self.deadline = self._idle_since + IDLE_S

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

"""The client's side of one connection: one request, one whole answer, then perhaps the next."""

import asyncio
import ssl
from typing import cast

from proxy.errors import UpstreamBadResponse, UpstreamFailure, UpstreamReset
from proxy.http1.decoder import ResponseDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import UNTIL_CLOSE, EndOfMessage, ResponseHead
from proxy.identity.peer import Peer
from proxy.net.deadlines import NEVER
from proxy.tls.handshake import dial_failure
from proxy.tokens.fetch import Answer

MAX_ANSWER_BYTES = 1 << 20
"""A JWK Set of thousands of keys is smaller; a server that sends more is not the one we meant."""


class Exchange(asyncio.Protocol):
    """A connection to one server. ``peer`` is who it proved to be, where an identity was expected."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.peer: Peer | None = None
        self.heard = False
        self.idle_until = NEVER
        self._decoder = ResponseDecoder(Limits())
        self._answer: asyncio.Future[Answer] | None = None
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True
        self._lost = False

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may be sent here."""
        open_still = self._keep_alive and not self._lost and not self.transport.is_closing()
        return open_still and self._decoder.idle and self.transport.get_write_buffer_size() == 0

    async def ask(self, method: str, request: bytes) -> Answer:
        """Send a whole request, and give the whole answer.

        Raises:
            UpstreamReset, UpstreamBadResponse, UpstreamRefusedUs: the connection is of no more use.

        """
        if self._lost:
            raise UpstreamReset("the connection has ended")
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._body, self._body_bytes, self.heard = None, [], 0, False
        self._decoder.expect(method.encode("ascii"))
        self.transport.write(request)
        return await self._answer

    def close(self) -> None:
        """End in good order."""
        self._keep_alive = False
        self.transport.close()

    def abort(self) -> None:
        """End now."""
        self._keep_alive = False
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        self.heard = True
        try:
            self._decoder.receive(data)
            while (event := self._decoder.next_event()) is not None:
                if isinstance(event, ResponseHead):
                    self._begin(event)
                elif isinstance(event, bytes):
                    self._keep(event)
                else:
                    self._finish()
        except UpstreamFailure as failure:
            self._fail(failure)

    def eof_received(self) -> bool:
        """Take the end of the stream, which is the end of some bodies."""
        try:
            if isinstance(self._decoder.receive_eof(), EndOfMessage):
                self._finish()
        except UpstreamBadResponse:
            self._fail(UpstreamReset("the connection ended before the answer was whole"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what still waits. After a TLS 1.3 handshake this is how we hear that the server refused our SVID."""
        self._lost = True
        if isinstance(exc, ssl.SSLError):
            self._fail(dial_failure(exc))
        self._fail(UpstreamReset("the connection ended before the answer was whole"))

    def _begin(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise UpstreamBadResponse("the answer changes the protocol, which nobody asked for")
        if head.status < 200:
            return
        if head.length is not None and head.length > MAX_ANSWER_BYTES:
            raise UpstreamBadResponse(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._head = head
        self._keep_alive = head.keep_alive and head.length != UNTIL_CLOSE
        if head.length == 0:
            self._finish()

    def _keep(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_ANSWER_BYTES:
            raise UpstreamBadResponse(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._body.append(data)

    def _finish(self) -> None:
        head, waiting = self._head, self._answer
        if head is not None and waiting is not None and not waiting.done():
            waiting.set_result(Answer(head.status, _fields(head), b"".join(self._body)))
        self._head, self._body, self._answer = None, [], None

    def _fail(self, failure: UpstreamFailure) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(failure)
        self._answer = None
        self.abort()


def _fields(head: ResponseHead) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in head.lines:
        raw_name, _, raw_value = line.partition(b": ")
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields

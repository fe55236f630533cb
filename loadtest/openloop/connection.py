"""One connection, one request at a time. It never blocks, and it says how a request ended."""

import contextlib
import errno
import socket

from loadtest.openloop.request import Target
from proxy.errors import ProxyError
from proxy.http1.decoder import ResponseDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import EndOfMessage, ResponseHead

PIECE_BYTES = 1 << 16
ERROR_STATUS = 400
GET = b"GET"
LIMITS = Limits()
GOOD = ""
"""How a request ended that was answered well; else the kind of its error."""

IDLE, CONNECTING, WAITING, CLOSED = range(4)


class Connection:
    """``state`` and, for whoever drives it: the request under way (-1: none), its instants, and what is watched."""

    __slots__ = (
        "_decoder",
        "_head",
        "_out",
        "_sock",
        "_target",
        "free_since_ns",
        "intended_ns",
        "mask",
        "number",
        "sent_ns",
        "state",
    )

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sock: socket.socket | None = None
        self._decoder = ResponseDecoder(LIMITS)
        self._head: ResponseHead | None = None
        self._out = b""
        self.state = CLOSED
        self.number = -1
        self.mask = 0
        self.intended_ns = self.sent_ns = self.free_since_ns = 0

    @property
    def fd(self) -> int:
        """Of the socket; -1 where there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether the kernel has not taken everything yet."""
        return bool(self._out)

    def open(self) -> None:
        """Begin to connect."""
        family = socket.AF_INET6 if ":" in self._target.host else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = ResponseDecoder(LIMITS)
        self.mask = 0
        code = self._sock.connect_ex((self._target.host, self._target.port))
        self.state = CONNECTING
        if code not in {0, errno.EINPROGRESS}:
            self.close()

    def ask(self, request: bytes) -> str | None:
        """Send a request, now or once connected. None while it is under way, or the kind of its error."""
        if self.state == CLOSED:
            self.open()
        self._head = None
        self._decoder.expect(GET)
        self._out = request
        if self.state == IDLE:
            self.state = WAITING
            return self.write()
        return self._end("connect") if self.state == CLOSED else None

    def write(self) -> str | None:
        """Write on: connected, or room in the kernel. As ``ask``."""
        if self._sock is None:
            return "connect"
        if self.state == CONNECTING:
            if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self._end("connect")
            self.state = WAITING if self._out else IDLE
        try:
            self._out = self._out[self._sock.send(self._out) :] if self._out else b""
        except BlockingIOError:
            return None
        except OSError as error:
            return self._end(_kind(error))
        return None

    def read(self) -> str | None:
        """Take what came. None while the answer is not whole; GOOD, or the kind of the error."""
        if self._sock is None:
            return None
        try:
            data = self._sock.recv(PIECE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return self._end(_kind(error))
        if not data:
            return self._end(self._ended())
        self._decoder.receive(data)
        try:
            return self._decoded()
        except ProxyError:
            return self._end("malformed")

    def _decoded(self) -> str | None:
        while (event := self._decoder.next_event()) is not None:
            if isinstance(event, ResponseHead):
                self._head = event if event.status >= 200 else None
                if self._head is not None and event.length == 0:
                    return self._answered(self._head)
            elif isinstance(event, EndOfMessage) and self._head is not None:
                return self._answered(self._head)
        return None

    def _answered(self, head: ResponseHead) -> str:
        if head.keep_alive and self._decoder.idle and not self._out:
            self.state = IDLE
        else:
            self.close()
        return GOOD if head.status < ERROR_STATUS else f"status {head.status}"

    def _ended(self) -> str:
        """Judge the end of the stream: it may be the end of the answer."""
        try:
            whole = self._decoder.receive_eof() is not None
        except ProxyError:
            whole = False
        if whole and self._head is not None:
            return self._answered(self._head)
        return "closed"

    def _end(self, kind: str) -> str:
        self.close()
        return kind

    def close(self) -> None:
        """Let the socket go; ``ask`` opens a new one."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
        self._sock, self._out, self.state = None, b"", CLOSED


def _kind(error: OSError) -> str:
    return "closed" if error.errno == errno.EPIPE else "reset"

"""Listening sockets, and the loop that accepts from them.

We accept ourselves, and not through ``create_server``: each connection then gets the newest TLS context, handshakes in
flight can be bounded (the rest waits in the kernel's queue, where it costs nothing), and a process that is out of file
descriptors waits a moment instead of spinning.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable

BACKLOG = 4096
"""What Linux allows by default (net.core.somaxconn): a burst of callers waits instead of being reset."""

BURST = 64
"""Sockets accepted in one turn of the loop: enough to empty a burst, few enough that other connections get theirs."""

MAX_PENDING = 256
"""Accepted sockets whose handshake has not ended. At 3 ms of CPU each, more than that would not end in time."""

GIVE_WAY_S = 1.0
"""A handshake that takes longer gives way when there are too many: ``MAX_PENDING`` good ones take less than that."""

FULL_S = 0.05
"""How often a full acceptor looks whether one of its handshakes must give way."""

BACK_OFF_MIN_S = 0.005
BACK_OFF_MAX_S = 1.0
"""Descriptors come free when connections end: soon at first, then look rarely."""

_GONE = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH"),
        *("EOPNOTSUPP", "ENETUNREACH", "EPERM"),
    )
    if hasattr(errno, name)
)
"""The fault of one connection that died in the queue (accept(2)): the next one is fine, and must not wait for it."""

_log = logging.getLogger(__name__)


class ListenFailed(OSError):
    """The address cannot be listened at; the message tells a person what to do."""


def listen(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """Listen at an IPv4 or IPv6 literal; port 0 takes a free one. ``::`` takes IPv4 too.

    Raises:
        ListenFailed: the address is not a literal, not ours, in use, or not allowed.

    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ListenFailed(errno.EINVAL, f"{where}: the host must be an IP address, as 127.0.0.1 or ::1") from None
    try:
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        raise _explained(where, error) from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not address.is_unspecified))
        sock.bind((host, port))
        sock.listen(backlog)
    except (OSError, OverflowError) as error:
        sock.close()
        raise _explained(where, error) from error
    return sock


def _explained(where: str, error: OSError | OverflowError) -> ListenFailed:
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
    match number:
        case errno.EADDRINUSE:
            advice = "the port is in use: end the other process, or choose another port (0 takes a free one)"
        case errno.EADDRNOTAVAIL:
            advice = "this machine has no such address: use one of its own, or 0.0.0.0 for all"
        case errno.EACCES:
            advice = "not permitted: a port below 1024 needs CAP_NET_BIND_SERVICE"
        case _:
            advice = str(error) if isinstance(error, OverflowError) else os.strerror(number)
    return ListenFailed(number, f"cannot listen at {where}: {advice}")


class Acceptor:
    """Accepts from one listening socket, and gives each connected socket (non-blocking, no delay) to ``on_socket``.

    A socket is *pending* from then until its owner calls ``settled``, when its handshake has ended well or badly. At
    ``max_pending``, whoever waits in the kernel's queue takes the place of the oldest, if that has been pending for
    ``GIVE_WAY_S``: connections that say nothing must not keep others out. Owns the listening socket.
    """

    __slots__ = (
        *("_back_off_s", "_closed", "_loop", "_max_pending", "_on_socket", "_paused", "_reading", "_sock", "_timer"),
        *("_arrivals", "_full"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_socket: Callable[[socket.socket], None],
        *,
        max_pending: int = MAX_PENDING,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_socket = on_socket
        self._max_pending = max_pending
        self._paused = True
        self._closed = False
        self._reading = False
        self._back_off_s = BACK_OFF_MIN_S
        self._timer: asyncio.TimerHandle | None = None
        self._full = False  # that is what the timer waits for
        self._arrivals: dict[socket.socket, float] = {}  # in the order in which they came

    @property
    def pending(self) -> int:
        """How many sockets are pending."""
        return len(self._arrivals)

    @property
    def port(self) -> int:
        """The port that is listened at."""
        port: int = self._sock.getsockname()[1]
        return port

    def resume(self) -> None:
        """Accept from now on; an acceptor begins paused."""
        self._paused = False
        self._adjust()

    def pause(self) -> None:
        """Leave new connections in the kernel's queue until ``resume``."""
        self._paused = True
        self._adjust()

    def settled(self, sock: socket.socket) -> None:
        """Take the end of one pending socket."""
        self._arrivals.pop(sock, None)
        if self._full and self._timer is not None:
            self._timer.cancel()
            self._again()
        self._adjust()

    def close(self) -> None:
        """Stop, and close the listening socket: whoever still waits in the queue is reset."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._adjust()
        self._sock.close()

    def _adjust(self) -> None:
        wanted = not (self._closed or self._paused or self._timer)
        if wanted and not self._reading:
            self._loop.add_reader(self._sock, self._on_readable)
        elif self._reading and not wanted:
            self._loop.remove_reader(self._sock)
        self._reading = wanted

    def _on_readable(self) -> None:
        if not self._has_room():
            return
        for _ in range(BURST):
            if not self._reading or self.pending >= self._max_pending:
                return  # the loop calls again where somebody still waits
            try:
                sock, _peer = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._back_off(error)
                return
            self._back_off_s = BACK_OFF_MIN_S
            self._give(sock)

    def _has_room(self) -> bool:
        """Look for room for whoever waits; where there is none, look again soon."""
        if self.pending < self._max_pending or self._make_way():
            return True
        self._full = True
        self._timer = self._loop.call_later(FULL_S, self._again)
        self._adjust()
        return False

    def _make_way(self) -> bool:
        """End the oldest handshake, if it has had its time. To its owner it is one that failed."""
        oldest = next(iter(self._arrivals), None)
        if oldest is None or self._loop.time() - self._arrivals[oldest] < GIVE_WAY_S:
            return False
        del self._arrivals[oldest]
        with contextlib.suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)
        return True

    def _give(self, sock: socket.socket) -> None:
        self._arrivals[sock] = self._loop.time()
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._on_socket(sock)
        except Exception:  # noqa: BLE001 - one connection must not end the loop that accepts all others
            _log.exception("an accepted connection could not be served")
            sock.close()
            self._arrivals.pop(sock, None)
        self._adjust()

    def _back_off(self, error: OSError) -> None:
        if self._back_off_s == BACK_OFF_MIN_S:
            _log.warning("cannot accept connections: %s; trying again (is the limit of open files too low?)", error)
        self._timer = self._loop.call_later(self._back_off_s, self._again)
        self._back_off_s = min(self._back_off_s * 2, BACK_OFF_MAX_S)
        self._adjust()

    def _again(self) -> None:
        self._timer = None
        self._full = False
        self._adjust()

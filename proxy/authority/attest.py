"""Who is at the other end of a Unix socket: user, group and program, by the kernel's word.

SO_PEERCRED names the process that *made* the connection, with its user and group of that moment, which nobody can
forge. Its number is only good while it lives: another process may get the same one. So a handle on the process itself
(a pidfd) is taken at once, by SO_PEERPIDFD where the kernel has it (Linux 6.5), and before it is answered, each time,
the process must still live: whoever was handed the connection by a parent that has ended is nobody.

What this cannot tell apart: processes of one user that may read each other's memory anyway. A program of an interpreter
is the interpreter. Who matters gets a user of his own.
"""

import contextlib
import logging
import os
import select
import socket
import struct
from pathlib import Path

_SO_PEERPIDFD = 77
"""asm-generic/socket.h; Python has no name for it. Where it means nothing, the kernel says so."""

_CREDENTIALS = struct.Struct("iII")

_log = logging.getLogger(__name__)


class NotAttested(Exception):
    """The kernel does not say who it is; the message tells a person why."""


class Caller:
    """The process that made a connection. ``close`` lets its handle go."""

    __slots__ = ("_handle", "gid", "pid", "uid")

    def __init__(self, pid: int, uid: int, gid: int, handle: int) -> None:
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self._handle = handle

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; a handle on a process becomes readable when it ends."""
        if self._handle < 0:
            return False
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return not poll.poll(0)

    def runs(self, path: str) -> bool:
        """Whether it executes the file at ``path``: that very file, not one of the same name in a place of its own.

        A process in a mount namespace of its own may have put anything under that name.
        """
        try:
            process = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            running = os.stat("exe", dir_fd=process)
            meant = Path(path).stat()
        except OSError as error:
            _log.info("the program of process %d cannot be compared with %s: %s", self.pid, path, error.strerror)
            return False
        finally:
            os.close(process)
        # Alive now: so the number was its own when /proc was opened, and that folder is of one process for ever.
        return self.is_alive and os.path.samestat(running, meant)

    def close(self) -> None:
        """Let go."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def attest(sock: socket.socket) -> Caller:
    """Say who made this connection. Raises NotAttested."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    if pid <= 0:
        raise NotAttested("the caller is in another pid namespace: let the authority share it")
    if uid == _overflow("uid") or gid == _overflow("gid"):
        # Whoever has no number here (another user namespace) shows as this one, and so would everybody else's nobody.
        raise NotAttested("the user or group of the caller has no number here")
    return Caller(pid, uid, gid, _handle(sock, pid))


def _handle(sock: socket.socket, pid: int) -> int:
    with contextlib.suppress(OSError):
        return sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise NotAttested("the caller has ended already") from error


def _overflow(name: str) -> int:
    try:
        return int(Path(f"/proc/sys/kernel/overflow{name}").read_text("ascii"))
    except (OSError, ValueError):
        return 65534

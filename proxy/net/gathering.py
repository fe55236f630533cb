"""A folder in which processes of one user find each other: each listens there at a Unix socket of its own.

The folder is ours and closed to all others (0700), and it is held open: what is done in it is done through its
descriptor, so nobody who can move or link what leads to it can put another one in its place. A socket appears under its
name (``<16 hex digits>.sock``, by chance) only when somebody listens there; so one that refuses is of a process that
has ended, and is removed. Whoever calls, or is called, must be of our user, by the kernel's word (SO_PEERCRED).
"""

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from proxy.net.accept import ListenFailed

MAX_MEMBERS: Final = 64
"""Other processes of one app. Each request that is asked about asks all of them."""

BACKLOG: Final = 128

_NAME: Final = re.compile(r"[0-9a-f]{16}\.sock")
_CREDENTIALS: Final = struct.Struct("iII")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Crowded(Exception):
    """More processes listen in the folder than the limit."""


class Gathering:
    """The folder, and our socket in it. ``close`` removes it."""

    __slots__ = ("_descriptor", "_path", "name")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.name = ""

    def open(self) -> None:
        """Open the folder, or make it; its parent must be there. Raises ListenFailed."""
        try:
            with contextlib.suppress(FileExistsError):
                self._path.mkdir(mode=0o700)
            found = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            advice = "it is a link or a file: name the folder itself" if _is_no_folder(error) else error.strerror
            raise self._failed(error.errno or errno.EINVAL, advice or "it cannot be opened") from error
        status = os.fstat(found)
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            os.close(found)
            raise self._failed(
                errno.EPERM, "tokens pass through it: it must belong to the user of the sidecar, with mode 0700"
            )
        self._descriptor = found

    def listen(self) -> socket.socket:
        """Listen under a new name. Raises ListenFailed."""
        name = f"{secrets.token_hex(8)}.sock"
        early = f".{name}"  # a name that nobody looks at, until somebody listens
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(self._at(early))
            os.chmod(early, 0o600, dir_fd=self._descriptor)
            sock.listen(BACKLOG)
            os.rename(early, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError as error:
            sock.close()
            with contextlib.suppress(OSError):
                os.unlink(early, dir_fd=self._descriptor)
            raise self._failed(error.errno or errno.EINVAL, error.strerror or "it cannot be written to") from error
        self.name = name
        return sock

    @property
    def is_found(self) -> bool:
        """Whether our socket still stands in the folder that has its name, so that others find it."""
        try:
            there = self._path.stat(follow_symlinks=False)
            return os.path.samestat(there, os.fstat(self._descriptor)) and self._is_socket(self.name)
        except OSError:
            return False

    def others(self) -> list[str]:
        """Name the sockets of others. Raises Crowded, OSError."""
        with os.scandir(self._descriptor) as there:
            found = [one.name for one in there if one.name != self.name and _NAME.fullmatch(one.name)]
        if len(found) > MAX_MEMBERS:
            raise Crowded
        return found

    def call(self, name: str) -> socket.socket | None:
        """Connect to one of them; None if it has ended: its socket is removed.

        Raises:
            OSError: it does not take connections now, or is of another user.

        """
        try:
            if not self._is_socket(name):
                raise OSError(errno.EPERM, "it is no socket")
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.connect(self._at(name))
                check_user(sock)
            except BaseException:
                sock.close()
                raise
        except FileNotFoundError:
            return None
        except ConnectionRefusedError:
            self._remove(name)
            return None
        return sock

    def _is_socket(self, name: str) -> bool:
        return stat.S_ISSOCK(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._descriptor)

    def _at(self, name: str) -> str:
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def close(self) -> None:
        """Remove our socket and let the folder go."""
        if self._descriptor >= 0:
            if self.name:
                self._remove(self.name)
            os.close(self._descriptor)
            self._descriptor = -1

    def _failed(self, number: int, advice: str) -> ListenFailed:
        return ListenFailed(number, f"cannot share transactions in {self._path} (transactions.share): {advice}")


def check_user(sock: socket.socket) -> None:
    """Refuse who is not of our user. Raises PermissionError."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(raw)[1] != os.geteuid():
        raise PermissionError(errno.EPERM, "the other end is of another user")


def _is_no_folder(error: OSError) -> bool:
    return error.errno in {errno.ENOTDIR, errno.ELOOP}

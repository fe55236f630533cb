"""A place for lines that never makes the loop wait: standard output, standard error, or a file.

A pipe whose reader stands still would stop the whole sidecar at its next write. Making standard output non-blocking
would change it for every process that shares it. So the descriptor is asked before each write, and a write is never
larger than ``PIPE_BUF``: what poll(2) calls writable takes that much at once, and whole.
"""

import os
import select
from typing import Final

PIPE_BUF: Final = select.PIPE_BUF
"""Bytes that a pipe takes in one piece (POSIX: at least 512; Linux: 4096)."""

_STANDARD: Final = {"stdout": 1, "stderr": 2}

_OPEN: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""Non-blocking, for the path may name a FIFO: without a reader it is refused at once."""

_MODE: Final = 0o640
"""Peers and transactions are not for everyone on the machine."""


class Sink:
    """One descriptor. ``path`` is ``stdout``, ``stderr``, or a file that is appended to."""

    __slots__ = ("_fd", "_path", "_poll")

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            OSError: the file cannot be opened.

        """
        self._path = path
        self._take(_STANDARD[path] if path in _STANDARD else os.open(path, _OPEN, _MODE))

    def _take(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def is_ready(self, wait_s: float = 0) -> bool:
        """Say if a write would be taken; ``wait_s`` only where nothing else is left to do."""
        return bool(self._poll.poll(wait_s * 1000))

    def write(self, data: bytes) -> int:
        """Write at most ``PIPE_BUF`` bytes and say how many were taken; 0 if it would have to wait.

        Raises:
            OSError: the reader is gone, the disk is full.

        """
        if not self.is_ready():
            return 0
        try:
            return os.write(self._fd, data[:PIPE_BUF])
        except BlockingIOError:
            return 0

    def reopen(self) -> None:
        """Open the path again, because something has moved the file away. Standard output and error stay.

        Raises:
            OSError: the file cannot be opened; the old one is kept.

        """
        if self._path in _STANDARD:
            return
        fd, old = os.open(self._path, _OPEN, _MODE), self._fd
        self._take(fd)
        os.close(old)

    def close(self) -> None:
        """Close the file. Standard output and error stay open, for they are not ours."""
        if self._path not in _STANDARD:
            os.close(self._fd)

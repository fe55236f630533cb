"""The file of the audit: appended to by one process alone, kept whole through crashes, moved aside when it is large.

What was moved aside is named for the time of it, so that names sort as the chain does.
"""

import errno
import fcntl
import os
import re
import stat
import time
from pathlib import Path
from typing import Final

from proxy.observe.audit.chain import MAX_LINE

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_MODE: Final = 0o640
"""People and transactions are not for everyone on the machine."""

_MOVED: Final = r"\.\d{8}T\d{6}\.\d{6}Z"


class Tail:
    """How a file ends: its last whole line, empty where there is none, and what a crash has left behind it."""

    __slots__ = ("line", "size", "torn")

    def __init__(self, line: bytes, torn: bytes, size: int) -> None:
        self.line = line
        self.torn = torn
        self.size = size


class AuditFile:
    """One open file. Every method may raise OSError; the file that is open stays so."""

    __slots__ = ("_fd", "path", "size")

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            OSError: it cannot be opened, is no plain file, or another process writes it.

        """
        self.path = path
        self._fd = _open(path)
        self.size = os.fstat(self._fd).st_size

    def tail(self) -> Tail:
        """Read its end."""
        start = max(0, self.size - 2 * MAX_LINE)
        data = os.pread(self._fd, self.size - start, start)
        whole, _, torn = data.rpartition(b"\n")
        return Tail(whole.rpartition(b"\n")[2], torn, self.size)

    def write(self, data: bytes) -> int:
        """Append, and say how many bytes were taken."""
        taken = os.write(self._fd, data)
        self.size += taken
        return taken

    def sync(self) -> None:
        """Bring it to the disk."""
        os.fdatasync(self._fd)

    @property
    def is_cut(self) -> bool:
        """Whether somebody has made it shorter."""
        return os.fstat(self._fd).st_size < self.size

    def recount(self) -> None:
        """Take it as long as it is now."""
        self.size = os.fstat(self._fd).st_size

    @property
    def is_moved(self) -> bool:
        """Whether another file stands under its name, or none."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._fd))

    def reopen(self) -> None:
        """Go on in a file under its name. On an error the one that is open stays."""
        fd, old = _open(self.path), self._fd
        self._fd = fd
        self.size = os.fstat(fd).st_size
        os.close(old)

    def move_aside(self, now: float) -> Path:
        """Give it the name of this time, or of one just after it."""
        while True:
            whole, part = divmod(now, 1)
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(whole)) + f".{int(part * 1e6):06d}Z"
            aside = self.path.with_name(f"{self.path.name}.{stamp}")
            if not aside.exists():
                break
            now += 1e-5
        self.path.rename(aside)
        return aside

    def moved_aside(self) -> list[Path]:
        """Give the files that we have moved aside, the oldest first."""
        ours = re.compile(re.escape(self.path.name) + _MOVED)
        return sorted(found for found in self.path.parent.iterdir() if ours.fullmatch(found.name))

    def prune(self, keep: int) -> int:
        """Remove the oldest of those that were moved aside; say how many."""
        old = self.moved_aside()
        gone = old[: max(0, len(old) - keep)]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    def close(self) -> None:
        """Close it; another process may have it then."""
        os.close(self._fd)


def _open(path: Path) -> int:
    fd = os.open(path, _FLAGS, _MODE)
    try:
        _claim(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _claim(fd: int) -> None:
    """Take it for us alone, as long as it is open."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file: a chain has to be read again")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(error.errno, "another process writes it: give each a file of its own") from error

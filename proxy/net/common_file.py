"""A file in which processes of one user keep records of one length: each reads on where it has stopped, and appends.

Whoever has taken it has its lock, and nobody else reads or appends until it is released; the lock of a process that is
killed ends with it. Nobody waits here: ``take`` says whether it is ours now. The file may be removed, moved or written
anew meanwhile, by us or by a cleaner: it is what stands under its name, and another one is read from its beginning.

What is appended is in the kernel: it outlives every process, and not the machine.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1024 * 1024 * 1024
"""More is no file of ours: ten million records of 32 bytes that count, and three times as many."""

_TRIES: Final = 3
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class CommonFile:
    """See the module. Records of a power of two never lie across a page, so that none is written in part."""

    __slots__ = ("_descriptor", "_left", "_offset", "_path", "_record_bytes", "is_taken")

    def __init__(self, path: Path, record_bytes: int) -> None:
        self._path = path
        self._record_bytes = record_bytes
        self._descriptor = -1
        self._offset = 0
        self._left = b""
        self.is_taken = False

    def take(self) -> bool:
        """Take it, if nobody else has it now. Raises OSError: it cannot be had, or is not ours alone."""
        if self.is_taken:
            return True
        for _ in range(_TRIES):
            if self._descriptor < 0:
                self._descriptor, self._offset = self._opened(), 0
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if self._is_found():
                self.is_taken = True
                return True
            try:
                self._left += self._tail()
            finally:
                self.close()
        raise OSError(errno.ESTALE, "it is replaced again and again")

    def release(self) -> None:
        """Let others take it."""
        if self.is_taken:
            self.is_taken = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def left(self) -> bytes:
        """Give the records that were new in files that stand under the name no more."""
        left, self._left = self._left, b""
        return left

    def read(self) -> tuple[bytes, bool]:
        """Give the records that are new, and whether they are all, from the beginning. Raises OSError."""
        begins = self._offset
        return self._tail(), begins == 0

    def _tail(self) -> bytes:
        size = os.fstat(self._descriptor).st_size
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_BYTES} bytes")
        whole = size - size % self._record_bytes
        if whole < size:  # of whoever ended while it wrote: nobody was told that it is kept
            os.ftruncate(self._descriptor, whole)
        if whole < self._offset:
            raise OSError(errno.EIO, "it was cut")
        found = b""
        while self._offset < whole:
            piece = os.pread(self._descriptor, whole - self._offset, self._offset)
            if not piece:
                raise OSError(errno.EIO, "it was cut")
            found += piece
            self._offset += len(piece)
        return found

    def append(self, records: bytes) -> None:
        """Append; call ``read`` before. Raises OSError: nothing of it is kept."""
        try:
            _write(self._descriptor, records)
        except OSError:
            os.ftruncate(self._descriptor, self._offset)
            raise
        self._offset += len(records)

    def rewrite(self, records: bytes) -> None:
        """Have these in the place of all. Raises OSError: all is as before."""
        aside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        fresh = os.open(aside, _FLAGS | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(fresh, records)
            aside.rename(self._path)
        except OSError:
            os.close(fresh)
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        os.close(self._descriptor)
        self._descriptor, self._offset = fresh, len(records)

    def close(self) -> None:
        """Let it go; ``take`` opens it again."""
        self.is_taken = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _opened(self) -> int:
        descriptor = os.open(self._path, _FLAGS | os.O_NONBLOCK, 0o600)
        try:
            _check_ours(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _is_found(self) -> bool:
        """Whether the file that we have open is the one that others find under its name."""
        try:
            return os.path.samestat(self._path.stat(follow_symlinks=False), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


def _check_ours(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise PermissionError(errno.EPERM, "it is not ours alone to write: chown it to us, and chmod 600")


def _write(descriptor: int, records: bytes) -> None:
    if os.write(descriptor, records) != len(records):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

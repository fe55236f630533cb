"""The last good keys on disk: so that a sidecar that starts while their server is down can verify all the same.

What is read back is believed as the server would be, so the file must be ours and nobody else's to write. Its time of
change is when the server last confirmed it: an old copy is as old as the keys in it.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from proxy.errors import KeysUnavailable
from proxy.tokens.keys import MAX_SET_BYTES

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KeysCopy:
    """One file."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[bytes, float]:
        """Give the keys, and when they were last confirmed.

        Raises:
            KeysUnavailable: there is no such file, or it may not be believed; the message says why.

        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise KeysUnavailable(f"{self._path} is not a regular file")
                if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
                    raise KeysUnavailable(f"{self._path} is not ours alone to write: chown it to us, and chmod 600")
                return file.read(MAX_SET_BYTES + 1), status.st_mtime
        except OSError as error:
            raise KeysUnavailable(f"{self._path} cannot be read: {error.strerror}") from error

    def write(self, jwks: bytes, now: float) -> None:
        """Keep these: aside, then renamed. Raises OSError."""
        aside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
                file.write(jwks)
            os.utime(aside, (now, now))
            aside.rename(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise

    def confirm(self, now: float) -> None:
        """Note that the server still says the same. Raises OSError."""
        os.utime(self._path, (now, now), follow_symlinks=False)

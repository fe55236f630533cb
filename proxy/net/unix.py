"""Listening at a Unix socket: nobody else may stand in its place, and everybody may call."""

import errno
import os
import socket
import stat
from pathlib import Path

from proxy.net.accept import ListenFailed

BACKLOG = 128

MAX_PATH_BYTES = 107
"""``sun_path`` of unix(7), without its last zero."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def listen_unix(path: Path, mode: int = 0o666) -> socket.socket:
    """Listen at ``path``; a socket there that nobody listens at any more is replaced.

    ``mode`` is of the socket; who reaches it, its folder decides too.

    Raises:
        ListenFailed: the path is too long, in use, or in a folder where others could put their own in its place.

    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise _failed(errno.ENAMETOOLONG, path, f"the path is longer than {MAX_PATH_BYTES} bytes: choose a shorter one")
    _check_folder(path)
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(os.fspath(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _failed(error.errno or errno.EINVAL, path, os.strerror(error.errno or errno.EINVAL)) from error
    return sock


def _check_folder(path: Path) -> None:
    try:
        folder = path.parent.stat()
    except OSError as error:
        raise _failed(error.errno or errno.ENOENT, path, "its folder is not there, or cannot be entered") from error
    if folder.st_uid not in {0, os.geteuid()}:
        raise _failed(errno.EPERM, path, "its folder belongs to somebody else, who could put his own in its place")
    if folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX:
        raise _failed(errno.EPERM, path, "others may write in its folder, and could put their own in its place")


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _failed(errno.EEXIST, path, "there is a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise _failed(error.errno or errno.EADDRINUSE, path, os.strerror(error.errno or 0)) from error
    raise _failed(errno.EADDRINUSE, path, "another process listens there: end it, or choose another path")


def _failed(number: int, path: Path, advice: str) -> ListenFailed:
    return ListenFailed(number, f"cannot listen at {path}: {advice}")

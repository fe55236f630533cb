"""A listening Unix socket: nobody else's in its place."""

import os
import socket
from pathlib import Path

import pytest

from proxy.net.accept import ListenFailed
from proxy.net.unix import MAX_PATH_BYTES, listen_unix


def test_it_is_there_for_all_who_reach_it(tmp_path: Path) -> None:
    """Whatever the umask; and a socket that nobody listens at any more is replaced."""
    path = tmp_path / "w.sock"
    before = os.umask(0o077)
    try:
        for _ in range(2):
            with listen_unix(path) as listening, socket.socket(socket.AF_UNIX) as client:
                assert path.stat().st_mode & 0o777 == 0o666
                client.connect(str(path))
                listening.accept()[0].close()
    finally:
        os.umask(before)


def test_what_stands_there_already(tmp_path: Path) -> None:
    """A socket in use, a file, a link to a socket: told, and left as it was."""
    path = tmp_path / "w.sock"
    with listen_unix(path), pytest.raises(ListenFailed, match="another process listens there"):
        listen_unix(path)
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "link").symlink_to(path)
    for taken in (file, tmp_path / "link"):
        with pytest.raises(ListenFailed, match="not a socket"):
            listen_unix(taken)
    assert file.read_text() == "mine"


def test_a_folder_in_which_others_write(tmp_path: Path) -> None:
    """They could put their own socket in its place, and give out identities; with the sticky bit they cannot."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ListenFailed, match="others may write"):
        listen_unix(folder / "w.sock")
    folder.chmod(0o1777)
    listen_unix(folder / "w.sock").close()
    with pytest.raises(ListenFailed, match="is not there"):
        listen_unix(tmp_path / "none" / "w.sock")


@pytest.mark.skipif(os.getuid() != 0, reason="a folder can be given away by root alone")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """He may do there what he likes."""
    folder = tmp_path / "his"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(ListenFailed, match="belongs to somebody else"):
        listen_unix(folder / "w.sock")


def test_the_longest_path_and_one_more(tmp_path: Path) -> None:
    """As the kernel has it."""
    name = "x" * (MAX_PATH_BYTES - len(os.fsencode(tmp_path)) - 1)
    listen_unix(tmp_path / name).close()
    with pytest.raises(ListenFailed, match="longer than 107 bytes"):
        listen_unix(tmp_path / f"{name}x")

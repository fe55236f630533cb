"""gathering.py: a folder of ours in which processes find each other, and nobody else."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.sidecar import wait_until

from proxy.net.accept import ListenFailed
from proxy.net.gathering import MAX_MEMBERS, Crowded, Gathering, check_user

NOBODY = 65534
ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where they meet; it is not there yet."""
    return tmp_path / "shared"


@pytest.fixture
def two(folder: Path) -> Iterator[tuple[Gathering, Gathering, list[socket.socket]]]:
    """Two that listen."""
    both = Gathering(folder), Gathering(folder)
    socks = []
    for one in both:
        one.open()
        socks.append(one.listen())
    yield (*both, socks)
    for sock in socks:
        sock.close()
    for one in both:
        one.close()


def test_they_find_each_other(folder: Path, two: tuple[Gathering, Gathering, list[socket.socket]]) -> None:
    """Not themselves; folder and sockets are closed to others whatever the umask; an end leaves nothing."""
    one, other, socks = two
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert one.others() == [other.name]
    assert other.others() == [one.name]
    assert one.is_found
    called = one.call(other.name)
    assert called is not None
    with called, socks[1].accept()[0] as taken:
        check_user(taken)
        taken.sendall(b"x")
        called.setblocking(True)
        assert called.recv(1) == b"x"
    one.close()
    assert other.others() == []


def test_a_socket_of_a_process_that_has_ended_is_removed(
    two: tuple[Gathering, Gathering, list[socket.socket]],
) -> None:
    """Only when it refuses; what is gone already is no fault."""
    one, other, socks = two
    socks[1].close()
    assert one.call(other.name) is None
    assert one.others() == []
    assert not other.is_found
    assert one.call(other.name) is None


def test_what_is_no_socket_is_not_called_and_not_removed(
    folder: Path, two: tuple[Gathering, Gathering, list[socket.socket]]
) -> None:
    """A file, and a link to a socket elsewhere, under names like ours; other names are not looked at."""
    one, other, _ = two
    (folder / f"{'0' * 16}.sock").write_text("mine")
    (folder / f"{'1' * 16}.sock").symlink_to(folder / other.name)
    (folder / ".early.sock").write_text("")
    (folder / "notes.txt").write_text("")
    assert set(one.others()) == {other.name, f"{'0' * 16}.sock", f"{'1' * 16}.sock"}
    for number in "01":
        with pytest.raises(OSError, match="it is no socket"):
            one.call(f"{number * 16}.sock")
    assert (folder / f"{'0' * 16}.sock").read_text() == "mine"


def test_the_folder_is_held_whatever_is_put_in_its_place(
    folder: Path, tmp_path: Path, two: tuple[Gathering, Gathering, list[socket.socket]]
) -> None:
    """Moved away and replaced by a trap: those who are in go on among themselves, and notice it."""
    one, other, _ = two
    folder.rename(tmp_path / "moved")
    trap = tmp_path / "trap"
    trap.mkdir(0o700)
    folder.symlink_to(trap)
    assert one.others() == [other.name]
    called = one.call(other.name)
    assert called is not None
    called.close()
    assert not one.is_found
    with pytest.raises(ListenFailed, match="name the folder itself"):
        Gathering(folder).open()
    assert list(trap.iterdir()) == []


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o770, 0o777, 0o1777, 0o740])
def test_a_folder_that_others_can_enter(folder: Path, mode: int) -> None:
    """Nobody but us, not even to look."""
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ListenFailed, match="with mode 0700"):
        Gathering(folder).open()


def test_places_that_are_no_folder(folder: Path) -> None:
    """A file, or nothing to make it in."""
    with pytest.raises(ListenFailed, match="No such file"):
        Gathering(folder / "below").open()
    folder.write_text("")
    with pytest.raises(ListenFailed, match="name the folder itself"):
        Gathering(folder).open()


@pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
def test_a_folder_of_somebody_else(folder: Path) -> None:
    """Also to root, who could enter it."""
    folder.mkdir(0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(ListenFailed, match="must belong to the user"):
        Gathering(folder).open()


@contextlib.contextmanager
def another(act: Callable[[], object]) -> Iterator[None]:
    """A process of another user that does this, and waits for its end."""
    if (child := os.fork()) == 0:  # pragma: no cover - another process
        try:
            os.setresuid(NOBODY, NOBODY, NOBODY)
            act()
            time.sleep(20)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.skipif(not ROOT, reason="only root can be somebody else")
def test_another_user_at_the_other_end() -> None:
    """Whether called or calling: refused by the kernel's word, which nobody writes himself."""
    name = f"\0gathering-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as foreign, socket.socket(socket.AF_UNIX) as client:
        foreign.bind(name)
        with another(foreign.listen):
            wait_until(lambda: client.connect_ex(name) == 0, "it listens")
            with pytest.raises(PermissionError, match="another user"):
                check_user(client)
    with socket.socket(socket.AF_UNIX) as ours, socket.socket(socket.AF_UNIX) as theirs:
        ours.bind(name)
        ours.listen()
        with (
            another(lambda: theirs.connect(name)),
            ours.accept()[0] as taken,
            pytest.raises(PermissionError, match="another user"),
        ):
            check_user(taken)


def test_the_bound_of_members(folder: Path, two: tuple[Gathering, Gathering, list[socket.socket]]) -> None:
    """As many others as the limit, and one more."""
    one, _, _ = two
    for number in range(MAX_MEMBERS - 1):
        (folder / f"{number:016x}.sock").write_text("")
    assert len(one.others()) == MAX_MEMBERS
    (folder / f"{'f' * 16}.sock").write_text("")
    with pytest.raises(Crowded):
        one.others()

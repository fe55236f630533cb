"""Attestation by the kernel, with real processes."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.authority import attest as room
from proxy.authority.attest import Caller, NotAttested, attest

SLEEP = shutil.which("sleep") or "/bin/sleep"

CONNECT = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
{then}
"""


@contextmanager
def connected(folder: Path, then: str) -> Iterator[tuple[Caller, subprocess.Popen[bytes]]]:
    """A process that connects, and then does this."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        process = subprocess.Popen([sys.executable, "-c", CONNECT.format(then=then), str(path)], stdin=subprocess.PIPE)
        sock, _ = listening.accept()
        caller = attest(sock)
        try:
            yield caller, process
        finally:
            caller.close()
            sock.close()
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def is_alive(caller: Caller) -> bool:
    """Whether it has not ended."""
    return caller.is_alive


def test_who_it_is(tmp_path: Path) -> None:
    """Process, user, group, program: through a symbolic link too, and no other of the same name."""
    with connected(tmp_path, "sys.stdin.read()") as (caller, process):
        assert (caller.pid, caller.uid, caller.gid) == (process.pid, os.geteuid(), os.getegid())
        assert caller.is_alive
        assert caller.runs(os.path.realpath(sys.executable))
        assert caller.runs(sys.executable)
        copy = tmp_path / Path(sys.executable).name
        shutil.copy2(os.path.realpath(sys.executable), copy)
        assert not caller.runs(str(copy))
        for other in (SLEEP, "/nonexistent", "/", str(tmp_path)):
            assert not caller.runs(other)


def test_who_has_ended_is_nobody(tmp_path: Path) -> None:
    """Even while its child holds the connection, and before its number is used again."""
    with connected(tmp_path, "sys.stdin.read(1)\nos._exit(0)") as (caller, process):
        assert is_alive(caller)
        process.communicate(b"x")
        assert not is_alive(caller)
        assert not caller.runs(os.path.realpath(sys.executable))


def test_who_becomes_another_program_is_that_one(tmp_path: Path) -> None:
    """What it runs is asked anew each time."""
    with connected(tmp_path, f"s.set_inheritable(True); sys.stdin.read(1); os.execv({SLEEP!r}, ['sleep', '60'])") as (
        caller,
        process,
    ):
        assert caller.runs(sys.executable)
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.close()
        for _ in range(500):
            if caller.runs(SLEEP):
                break
            os.sched_yield()
            subprocess.run([SLEEP, "0.01"], check=True)
        assert caller.runs(SLEEP)
        assert not caller.runs(sys.executable)


def test_without_a_handle_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.5 the handle is taken by the number, at once."""
    monkeypatch.setattr(room, "_SO_PEERPIDFD", 9999)
    with connected(tmp_path, "sys.stdin.read()") as (caller, _):
        assert caller.is_alive
        assert caller.runs(sys.executable)


def test_a_file_that_was_replaced_is_another(tmp_path: Path) -> None:
    """After an upgrade the old process no longer runs what stands at the path; it has to start again."""
    program = tmp_path / "program"
    shutil.copy2(SLEEP, program)
    process = subprocess.Popen([str(program), "60"])
    caller = Caller(process.pid, os.getuid(), os.getgid(), os.pidfd_open(process.pid))
    try:
        assert caller.runs(str(program))
        shutil.copy2(SLEEP, tmp_path / "new")
        (tmp_path / "new").rename(program)
        assert not caller.runs(str(program))
        assert not caller.runs(f"{program} (deleted)")
    finally:
        caller.close()
        process.kill()
        process.wait()
    assert not caller.is_alive


def test_nobody_stands_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no number here shows as the overflow user: he may be anybody, so he is nobody."""
    monkeypatch.setattr(room, "_overflow", lambda _: os.geteuid())
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs, pytest.raises(NotAttested, match="no number here"):
        attest(ours)


def test_no_descriptor_is_lost() -> None:
    """A thousand callers leave none."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        for _ in range(1000):
            caller = attest(ours)
            assert caller.runs(sys.executable)
            caller.close()
            caller.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_number_that_is_used_again_is_not_him() -> None:
    """The handle is of the process that connected; another one runs under its number now, and it is the right program."""
    process = subprocess.Popen([SLEEP, "60"])
    handle = os.pidfd_open(process.pid)
    process.kill()
    process.wait()
    again = Caller(os.getpid(), os.getuid(), os.getgid(), handle)
    assert not again.runs(sys.executable)
    again.close()


class FromElsewhere(socket.socket):
    """A connection from another pid namespace, as the kernel shows it: without a number."""

    def getsockopt(self, *_: object) -> bytes:  # type: ignore[override]
        """SO_PEERCRED."""
        return struct.pack("iII", 0, os.getuid(), os.getgid())


def test_a_caller_without_a_number() -> None:
    """Nothing can be asked of him."""
    with FromElsewhere() as sock, pytest.raises(NotAttested, match="another pid namespace"):
        attest(sock)

"""Real servers of Debian's packages, in a folder of their own, as a user who is not root."""

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port
from support.sidecar import wait_until

REQUIRED = "SVIDECAR_TCP_REQUIRED"
"""In the environment: a program that is missing is a failure, not a skip."""

_POSTGRES = "/usr/lib/postgresql/*/bin"


def program(name: str, package: str) -> str:
    """The path of a program; skips the test where its package is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *sorted(glob.glob(_POSTGRES))]))  # noqa: PTH207
    if found is None:
        said = f"{name} is not installed: apt-get install --no-install-recommends {package}"
        if os.environ.get(REQUIRED):
            pytest.fail(said)
        pytest.skip(said)
    return found


def answers(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def as_somebody(folder: Path) -> list[str]:
    """What to put before a command so that it is not root's; the folder is theirs then."""
    if os.geteuid() != 0:
        return []
    user = next(pwd.getpwnam(name) for name in ("postgres", "nobody") if _exists(name))
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [
        program("setpriv", "util-linux"),
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--",
    ]


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[int]:
    """Run a server until the block ends; give its port when it listens."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd="/")
    try:
        wait_until(lambda: process.poll() is not None or answers(port), f"{command[-1]} at {port}", 30)
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A folder of a server's own: pytest's are of whoever runs it alone."""
    with tempfile.TemporaryDirectory(prefix="svidecar-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """A PostgreSQL server with one user, ``app``, who needs a password; its log goes to ``folder``."""
    initdb, server = program("initdb", "postgresql"), program("postgres", "postgresql")
    with home() as own:
        before = as_somebody(own)
        (own / "password").write_text("secret\n")
        (own / "password").chmod(0o644)
        data, port = own / "data", free_port()
        how = [
            "-U",
            "app",
            "-A",
            "scram-sha-256",
            f"--pwfile={own / 'password'}",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        made = subprocess.run(
            [*before, initdb, "-D", str(data), *how], check=False, capture_output=True, cwd="/", timeout=50
        )
        assert made.returncode == 0, made.stderr
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={own}", "-c", "fsync=off"]
        with running([*before, server, "-D", str(data), "-p", str(port), *options], port, folder / "postgres.log"):
            yield port


@contextlib.contextmanager
def redis(folder: Path, *more: str, port: int = 0) -> Iterator[int]:
    """A Redis server without persistence, at this port or a free one; its log goes to ``folder``."""
    server, port = program("redis-server", "redis-server"), port or free_port()
    with home() as own:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(own), *more]
        with running([*as_somebody(own), server, *options], port, folder / "redis.log"):
            yield port

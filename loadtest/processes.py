"""Start, pin, wait for, and always end processes.

Each process leads a session of its own, so that whatever it starts ends with it, and the kernel sends it SIGTERM should
the harness die without a word (``setpriv --pdeathsig``).
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import kernel

_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

READY_S = 20.0  # Envoy needs one, a cold Python two
GRACE_S = 5.0
POLL_S = 0.05
LOG_LINES = 12
MORTAL = ("setpriv", "--pdeathsig", "TERM")
"""Before a command: it ends when the harness does."""


class ProcessFailed(Exception):
    """A process did not come up, or went away; the message holds its command and the end of its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments and what it needs from the environment."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def text(self) -> str:
        """As a person would type it."""
        return " ".join([*(f"{k}={v}" for k, v in self.environment.items()), *self.arguments])


class Process:
    """A running command."""

    def __init__(self, command: Command, log: Path, popen: subprocess.Popen[bytes]) -> None:
        self.command = command
        self._log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """The leader of the session."""
        return self._popen.pid

    def check(self) -> None:
        """Raises ProcessFailed where it has ended."""
        if self._popen.poll() is not None:
            raise ProcessFailed(self._story(f"ended with code {self._popen.returncode}"))

    def wait_for(self, ready: Callable[[], bool], what: str) -> None:
        """Poll ``ready`` until it is true. Raises ProcessFailed when the process ends or READY_S have passed."""
        end = time.monotonic() + READY_S
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise ProcessFailed(self._story(f"not ready after {READY_S:.0f} s ({what})"))
            time.sleep(POLL_S)

    def wait_for_port(self, port: int) -> None:
        """Until something accepts on the port."""
        self.wait_for(lambda: accepts(port), f"port {port} does not accept")

    def stop(self) -> None:
        """SIGTERM to all of the session, SIGKILL to what is left after the grace."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(GRACE_S)
        while left := kernel.session(self.pid):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        self._popen.wait(GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _story(self, what: str) -> str:
        tail = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n  ".join([f"{self.command.name} {what}", f"$ {self.command.text}", *tail])


@contextlib.contextmanager
def running(command: Command, *, on: Sequence[int], log: Path) -> Iterator[Process]:
    """Run ``command`` on the cores ``on`` for as long as the block lasts."""
    cores = ",".join(map(str, on))
    prefix = [*MORTAL, "taskset", "-c", cores]
    environment = {**os.environ, **command.environment}
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [*prefix, *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    process = Process(command, log, popen)
    try:
        yield process
    finally:
        process.stop()


def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, all different, for programs that cannot take port 0 and tell.

    None of those that the kernel hands out: such a port is any other process's a moment later, be it as the source of
    a connection; and a client that calls it again and again may end up connected to itself.

    Raises OSError where too few are free.
    """
    below = _first_ephemeral()
    found: list[int] = []
    for port in random.sample(range(max(1024, below - 16000), below), 500):
        if len(found) == count:
            return found
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
    message = f"fewer than {count} ports below {below} are free"
    raise OSError(message)


def _first_ephemeral() -> int:
    """The first port that the kernel gives to whoever asks for any."""
    with contextlib.suppress(OSError):
        return int(_LOCAL_PORTS.read_text().split()[0])
    return 32768

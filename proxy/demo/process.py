"""One process of the demo: started on a leash, its words in a file, each wait for it bounded."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import proxy

START_S = 20.0
"""For one step of one process. It takes under a second; a machine that is busy with other things takes longer."""

END_S = 2.0
"""From SIGTERM to SIGKILL: sidecars of the demo have no grace, and nothing here is worth waiting for."""

POLL_S = 0.01

LAST_LINES = 12
"""What is shown of a process that failed: an error and what led to it."""

_ROOT = Path(proxy.__file__).resolve().parents[1]
_LEASH = Path(__file__).with_name("leash.py")

Found = TypeVar("Found")


class ProcessFailed(Exception):
    """A process did not start, or ended; the message says which, what it said last, and what to do."""


class Process:
    """A module of this Python in a process of its own. Make it with ``start``; ``end`` ends several."""

    def __init__(self, name: str, log: Path, popen: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @classmethod
    def start(
        cls, name: str, log: Path, module: str, arguments: Iterable[str], *, descriptors: Iterable[int] = ()
    ) -> "Process":
        """Start it. ``descriptors`` are handed down by number."""
        command = [sys.executable, "-P", str(_LEASH), str(os.getpid()), str(_ROOT), module, *arguments]
        with log.open("ab") as out:
            popen = subprocess.Popen(  # noqa: S603 - our own modules
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(descriptors),
                process_group=0,  # Ctrl-C reaches the demo alone, which then ends them in order
            )
        return cls(name, log, popen)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    async def until(self, look: Callable[[], Awaitable[Found | None]], what: str, timeout_s: float = START_S) -> Found:
        """Wait until ``look`` gives something; ``what`` names it in the message of a failure.

        Raises:
            ProcessFailed: it ended before, or took too long.

        """
        deadline = time.monotonic() + timeout_s
        while (found := await look()) is None:
            self.check()
            if time.monotonic() >= deadline:
                advice = "Is this machine very busy? Try again when it is quieter."
                raise self._failed(f"had no {what} after {timeout_s:g} s", advice)
            await asyncio.sleep(POLL_S)
        return found

    def check(self) -> None:
        """Raise ProcessFailed if it has ended."""
        code = self._popen.poll()
        if code is None:
            return
        how = f"was ended by signal {-code}" if code < 0 else f"ended by itself with exit code {code}"
        advice = "Mend what its last lines tell of, then start the demo again."
        if code < 0:
            advice = "Somebody, or the kernel for want of memory, has killed it. Start the demo again."
        raise self._failed(how, advice)

    def _failed(self, how: str, advice: str) -> ProcessFailed:
        last = self.said.splitlines()[-LAST_LINES:] or ["(nothing)"]
        said = "\n".join(f"    {_printable(line)}" for line in last)
        return ProcessFailed(f"{self.name} {how}. The last that it said:\n{said}\n{advice}")

    def _signal(self, *, kill: bool) -> None:
        if self._popen.poll() is None:
            self._popen.kill() if kill else self._popen.terminate()


def end(processes: Iterable[Process], end_s: float = END_S) -> None:
    """End all of them, and come back when they are gone. It does not yield: nothing may come in between."""
    left = list(processes)
    for process in left:
        process._signal(kill=False)  # noqa: SLF001 - one file
    until = time.monotonic() + end_s
    while left and time.monotonic() < until:
        left = [process for process in left if process._popen.poll() is None]  # noqa: SLF001 - one file
        time.sleep(POLL_S)
    for process in left:
        process._signal(kill=True)  # noqa: SLF001 - one file
        process._popen.wait()  # noqa: SLF001 - one file


def _printable(line: str) -> str:
    """Keep a terminal from obeying what a process wrote."""
    return "".join(c if c.isprintable() else " " for c in line)

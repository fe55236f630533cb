"""One process of the demo: every wait is bounded, every failure says which process, what it said, and what to do."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.demo.process import LAST_LINES, Process, ProcessFailed, end

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a module with this text; all of them end with the test."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started: list[Process] = []

    def make(text: str, name: str = "thing") -> Process:
        (tmp_path / f"{name}.py").write_text(text)
        process = Process.start(name, tmp_path / f"{name}.log", name, ["argument"])
        started.append(process)
        return process

    yield make
    end(started, 0.0)


async def never() -> None:
    """What never comes."""


async def test_what_it_says_can_be_waited_for(start: Start) -> None:
    """Both of its streams go into its log."""
    process = start("import sys, time\nprint('one', sys.argv[1], flush=True)\nsys.stderr.write('two')\ntime.sleep(60)")

    async def look() -> str | None:
        return process.said if "two" in process.said else None

    assert await process.until(look, "words") == "one argument\ntwo"


async def test_one_that_ended_by_itself_is_told_at_once(start: Start) -> None:
    """With its exit code and its last lines, not after the whole time."""
    process = start("import sys\nfor n in range(30): print('line', n)\nsys.exit('the port is in use')")
    began = time.monotonic()
    with pytest.raises(ProcessFailed) as caught:
        await process.until(never, "port", 30)
    told = str(caught.value)
    assert told.startswith("thing ended by itself with exit code 1. The last that it said:\n")
    assert "    the port is in use\n" in told
    assert "    line 29\n" in told
    assert len(told.splitlines()) == LAST_LINES + 2
    assert told.endswith("then start the demo again.")
    assert time.monotonic() - began < 10


async def test_one_that_was_killed_is_told(start: Start) -> None:
    """By which signal; it had no time to say anything."""
    process = start("import time\ntime.sleep(60)")
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessFailed, match=r"thing was ended by signal 9\. The last that it said:\n    \(nothing\)\n"):
        await process.until(never, "port", 30)


async def test_one_that_hangs_is_told_after_its_time(start: Start) -> None:
    """What was waited for has a name."""
    process = start("import time\ntime.sleep(60)")
    with pytest.raises(ProcessFailed, match=r"thing had no port after 0\.2 s\."):
        await process.until(never, "port", 0.2)


async def test_its_words_cannot_command_the_terminal(start: Start) -> None:
    """A name that came from outside may stand in a log line."""
    process = start(r"raise SystemExit('\x1b]0;owned\x07\x9b31m')")
    with pytest.raises(ProcessFailed) as caught:
        await process.until(never, "port", 10)
    assert {c for c in str(caught.value) if not c.isprintable()} == {"\n"}


async def test_all_end_together_and_the_deaf_are_killed(start: Start) -> None:
    """SIGTERM first; SIGKILL for those who take no notice."""
    deaf = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)"
    )
    polite = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye', flush=True)))\n"
        "print('here', flush=True)\ntime.sleep(60)"
    )
    processes = [start(deaf, "deaf"), start(polite, "polite")]
    while not all(process.said for process in processes):
        await asyncio.sleep(0.01)
    began = time.monotonic()
    end(processes, 0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert processes[1].said == "here\nbye\n"
    with pytest.raises(ProcessFailed, match="deaf was ended by signal 9"):
        processes[0].check()


async def test_ctrl_c_of_the_terminal_does_not_reach_it(start: Start) -> None:
    """It is in a process group of its own: the demo ends it, in its order."""
    process = start("import time\ntime.sleep(60)")
    assert os.getpgid(process.pid) == process.pid

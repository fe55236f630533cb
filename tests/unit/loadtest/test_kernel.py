"""What is read from /proc."""

import subprocess
import sys

import pytest

from loadtest import kernel

STAT = "cpu  30 0 30 240 0 0 0 0 0 0\ncpu0 10 0 10 80 0 0 0 0 0 0\ncpu1 20 0 20 150 5 0 1 4 9 9\nintr 1\n"


def test_the_session_is_found_behind_any_name() -> None:
    """A process may call itself ``a) R (b``."""
    assert kernel.session_of("42 (a) R (b) S 1 42 77 0 -1 4194304") == 77


def test_a_zombie_is_gone() -> None:
    """It waits for its parent only, and holds nothing."""
    assert kernel.session_of("42 (a) Z 1 42 77 0 -1 4194304") == 0


def test_core_time_counts_only_the_cores_that_are_asked_for() -> None:
    """Waiting for a disk is idle; guest time is in user time already."""
    time_of_core = kernel.core_time([1], STAT)
    assert time_of_core == kernel.CoreTime(200, 155, 4)
    assert time_of_core.busy_since(kernel.CoreTime(100, 105, 0)) == pytest.approx(0.5)
    assert time_of_core.stolen_since(kernel.CoreTime(100, 105, 0)) == pytest.approx(0.04)
    assert time_of_core.busy_since(time_of_core) == 0.0


def test_core_1_is_not_core_10() -> None:
    """Names are compared whole."""
    assert kernel.core_time([1], "cpu10 1 1 1 1 1 1 1 1\n").total == 0


def test_memory_is_read_in_megabytes_by_its_whole_name() -> None:
    """A kB of the kernel is 1024 bytes, MB here are 10^6."""
    lines = ["VmRSSx:  1 kB", "VmRSS:\t   1000000 kB"]
    assert kernel.megabytes(lines, "VmRSS") == pytest.approx(1024.0)
    assert kernel.megabytes(lines, "VmHWM") == 0.0


WORK = """
import os, sys, time
print(0, flush=True)
sys.stdin.readline()
end = time.thread_time() + 0.1
while time.thread_time() < end:
    pass
print(1, flush=True)
sys.stdin.readline()
"""


def test_cpu_time_is_that_of_the_whole_session() -> None:
    """A session of its own: what ends meanwhile in ours would take its time with it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", WORK], start_new_session=True, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.readline()
        assert kernel.session(child.pid) == [child.pid]
        before = kernel.cpu_s(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 0.09 < kernel.cpu_s(child.pid) - before < 1
        child.communicate(b"\n")


HOLD = """
import sys, time
print(0, flush=True)
sys.stdin.readline()
held = bytearray(b"x" * 30_000_000)
time.sleep(0.5)
del held
print(1, flush=True)
sys.stdin.readline()
"""


def test_what_was_held_for_a_moment_is_seen() -> None:
    """Though it is gone when the block ends; what is in a file, as most of a Python is, counts nowhere."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], start_new_session=True, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.readline()
        rest = kernel.anonymous_mb(child.pid)
        assert rest == pytest.approx(kernel.memory(child.pid).anonymous, abs=0.5)
        assert rest < kernel.memory(child.pid).rss
        with kernel.anonymous_peaks({"it": child.pid}) as peaks:
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
        assert peaks["it"] - rest > 25
        assert kernel.anonymous_mb(child.pid) - rest < 5
        child.stdin.write(b"\n")

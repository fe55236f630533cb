"""A process on the leash ends with the one that started it, whatever ends that one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.sidecar import wait_until

from proxy.demo import process

LEASH = process._LEASH
SLEEPER = "import os, sys, time\nprint(os.getpid(), *sys.argv[1:], flush=True)\ntime.sleep(60)\n"

PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-P", sys.argv[1], str(os.getpid()), sys.argv[2], "sleeper", "one", "two"])
child.wait()
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs, and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Even by SIGKILL, which no parent can pass on. The module gets its arguments, and is found under the given root."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(LEASH), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, *arguments = parent.stdout.readline().split()
    assert arguments == ["one", "two"]
    assert is_alive(int(pid))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_alive(int(pid)), "the end of the child")


def test_it_does_not_begin_without_its_parent(tmp_path: Path) -> None:
    """Its parent ended before it was tied: nobody would ever end it."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-P", LEASH, str(os.getpid() + 1), tmp_path, "sleeper"],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert time.monotonic() - began < 5

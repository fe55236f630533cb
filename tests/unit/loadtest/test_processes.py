"""Processes are waited for, and always end."""

import sys
from pathlib import Path

import pytest

from loadtest import kernel, machine
from loadtest.processes import Command, ProcessFailed, free_ports, running

PARENT = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"


def python(code: str) -> Command:
    """A process that runs ``code``."""
    return Command("probe", (sys.executable, "-c", code), {})


def test_a_process_ends_with_all_that_it_started(tmp_path: Path) -> None:
    """Also where its child is not asked."""
    with running(python(PARENT + "time.sleep(60)"), on=machine.cores().load, log=tmp_path / "log") as process:
        process.wait_for(lambda: len(kernel.session(process.pid)) == 2, "no child")
    assert kernel.session(process.pid) == []


def test_a_process_that_ends_says_why(tmp_path: Path) -> None:
    """Its command, its code, the end of its log."""
    failing = python("import sys; print('port in use'); sys.exit(3)")
    with (
        running(failing, on=machine.cores().load, log=tmp_path / "log") as process,
        pytest.raises(ProcessFailed, match=r"(?s)ended with code 3.*port in use"),
    ):
        process.wait_for_port(free_ports(1)[0])


def test_free_ports_are_different_and_stay_free() -> None:
    """Six ports for six listeners, none of which the kernel gives to somebody else in the meantime."""
    ports = free_ports(6)
    assert len(set(ports)) == 6
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not set(ports) & set(range(first, last + 1))

"""One real ``svidecar authority`` process, and callers of its Workload API that are no part of the project."""

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.secrecy import listen_to
from support.sidecar import wait_until

ROOT = Path(__file__).resolve().parents[2]

CALLER = Path(__file__).with_name("workload_caller.py")
"""A workload: grpcio, the C core of gRPC, as a process of its own."""

_FAULTS = re.compile(r"Traceback|ResourceWarning|never awaited|never retrieved")


@dataclass
class RunningAuthority:
    """The process and its folder."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """Its state."""
        return self.folder / "state"

    @property
    def facts(self) -> dict[str, Any]:
        """Where it listens."""
        found: dict[str, Any] = json.loads((self.state / "authority.json").read_text())
        return found

    @property
    def socket(self) -> str:
        """Its Workload API."""
        return str(self.facts["workload_api"])

    @property
    def log(self) -> str:
        """What it has said."""
        return "".join(self.lines)

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until a line holds ``text``."""
        wait_until(lambda: text in self.log, f"no line with {text!r} in:\n{self.log}", timeout_s)


def environment(**more: str) -> dict[str, str]:
    """Ours, with the package found from the clone."""
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | more


@contextlib.contextmanager
def running_authority(
    folder: Path, config: str, trust_domain: str = "example.org", **environ: str
) -> Iterator[RunningAuthority]:
    """An authority that is ready; it may not have said a fault when it ends."""
    folder.mkdir(exist_ok=True)
    (folder / "authority.yaml").write_text(textwrap.dedent(config))
    command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "proxy", "authority"]
    options = [
        "--trust-domain",
        trust_domain,
        "--dir",
        str(folder / "state"),
        "--config",
        str(folder / "authority.yaml"),
    ]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(**environ)
    )
    made = RunningAuthority(process, folder)
    listen_to(f"authority in {folder.name}", lambda: made.log)
    assert process.stdout is not None
    stdout = process.stdout
    reader = threading.Thread(target=lambda: made.lines.extend(stdout), daemon=True)
    reader.start()
    try:
        wait_until(lambda: (made.state / "authority.json").exists() or process.poll() is not None, made.log)
        assert process.poll() is None, made.log
        yield made
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)
        reader.join(5)
        stdout.close()
    assert not _FAULTS.search(made.log), made.log


def call(socket: str, method: str, *arguments: str) -> list[dict[str, Any]]:
    """Let a workload make one call; give what it printed: answers, then perhaps the status that ended it."""
    done = subprocess.run(
        [sys.executable, str(CALLER), socket, method, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]

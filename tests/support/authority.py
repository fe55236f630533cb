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
from pathlib import Path
from typing import Any

from support.ports import free_port
from support.secrecy import listen_to
from support.sidecar import START_S, wait_until

ROOT = Path(__file__).resolve().parents[2]

CALLER = Path(__file__).with_name("workload_caller.py")
"""A workload: grpcio, the C core of gRPC, as a process of its own."""

_FAULTS = re.compile(r"Traceback|ResourceWarning|never awaited|never retrieved")


class RunningAuthority:
    """The process and its folder; it may be killed, and comes back with the same state at the same port."""

    def __init__(self, folder: Path, config: str, trust_domain: str = "example.org", **environ: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "authority.yaml").write_text(textwrap.dedent(config))
        options = ["--trust-domain", trust_domain, "--dir", str(folder / "state")]
        self._command = [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "proxy", "authority"]
        self._command += [*options, "--config", str(folder / "authority.yaml")]
        self._environ = environment(**environ)
        self.folder = folder
        self.lines: list[str] = []
        listen_to(f"authority in {folder.name}", lambda: self.log)
        self._begin("--listen", f"127.0.0.1:{free_port()}")

    def _begin(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*self._command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environ,
        )
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        self._reader = threading.Thread(target=self.lines.extend, args=(self._stdout,), daemon=True)
        self._reader.start()
        wait_until(lambda: self._is_ready() or self.process.poll() is not None, self.log, START_S)
        assert self.process.poll() is None, self.log

    def _is_ready(self) -> bool:
        path = self.state / "authority.json"  # one that was killed has left it behind
        return path.exists() and self.facts["pid"] == self.process.pid

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self._collect()

    def come_back(self) -> None:
        """Start it again where it was, at the same port."""
        self._begin("--listen", f"127.0.0.1:{self.facts['port']}")

    def end(self) -> None:
        """End it; it may not have said a fault."""
        if self.process.poll() is None:
            self.process.terminate()
        self._collect()
        assert not _FAULTS.search(self.log), self.log

    def _collect(self) -> None:
        self.process.wait(20)
        self._reader.join(5)
        self._stdout.close()

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

    def wait_for_log(self, text: str, timeout_s: float = 20.0) -> None:
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
    made = RunningAuthority(folder, config, trust_domain, **environ)
    try:
        yield made
    finally:
        made.end()


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

"""One real ``svidecar run`` process: its ports, its log, its metrics, and what the kernel says of it."""

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from support.secrecy import leaks, listen_to

START_S = 40.0
POLL_S = 0.02

SOON_S = 4.0
"""What happens at once, or within a second, has happened after this, also where the machine has much else to do. Nothing
else that ends a connection or opens a gate in the tests comes as early: without what is tested they fail."""

COMMAND = (sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "proxy", "run", "--config")
"""In development mode: what is not awaited, not closed or too slow is said."""

_FAULTS = re.compile(
    r"Traceback|ResourceWarning|never awaited|never retrieved|ERROR (?!svidecar: (identity:|federation:|reload|\S+ cannot start))"
)
"""Lines that a sidecar must never write, whatever is done to it."""


def wait_until(condition: Callable[[], object], what: str = "", timeout_s: float = 20.0) -> None:
    """Wait until ``condition`` holds."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"waited for {timeout_s:g} s: {what}"
        time.sleep(POLL_S)


class Sidecar:
    """One process; its ports are known when it is made."""

    def __init__(self, config: Path, **environ: str) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [*COMMAND, str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )
        self.lines: list[str] = []
        self.printed: list[str] = []
        self._last_metrics = ""
        listen_to(config.stem, lambda: self.log + "".join(self.printed) + self._last_metrics)
        self._seen: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._printer = threading.Thread(target=self._take, daemon=True)
        self._printer.start()
        self.ports = self._wait_for_ports()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._seen.put(line)
        self._seen.put("")

    def _take(self) -> None:
        assert self.process.stdout is not None
        self.printed.extend(self.process.stdout)

    def _wait_for_ports(self) -> dict[str, int]:
        until = time.monotonic() + START_S
        while True:
            try:
                line = self._seen.get(timeout=max(0.1, until - time.monotonic()))
            except queue.Empty:
                line = ""
            if not line:
                raise AssertionError("the sidecar did not start:\n" + "".join(self.lines))
            found = dict(re.findall(r"\b(health|metrics|admin|inbound|outbound|tcp\d+) (\d+)", line))
            if "health" in found:
                return {name: int(port) for name, port in found.items()}

    # ---- what it says

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    @property
    def faults(self) -> list[str]:
        """Lines that it must never write."""
        return [line for line in self.lines if _FAULTS.search(line)]

    def wait_for_log(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait until a line holds ``text``."""
        wait_until(lambda: text in self.log, f"no line with {text!r}", timeout_s)

    def get(self, port: str, path: str) -> tuple[int, str]:
        """GET from one of the operators' ports."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            assert not leaks(text), f"a token stands in {path}: {leaks(text)}"
            return answer.status, text
        finally:
            connection.close()

    def post(self, path: str, value: object, content_type: str = "application/json") -> tuple[int, str]:
        """POST to the admin port: bytes as they are, all else as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["admin"], timeout=20)
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        try:
            connection.request("POST", path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def ready(self) -> bool:
        """Whether every gate is open."""
        return self.get("health", "/healthz/ready")[0] == 200

    def wait_until_ready(self, timeout_s: float = START_S) -> "Sidecar":
        """Wait until every gate is open."""
        wait_until(lambda: self.ready, "ready", timeout_s)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of ``name`` that have these labels; 0 where there is none."""
        total = 0.0
        for line in self.get("metrics", "/metrics")[1].splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match is None or match[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if labels.items() <= have.items():
                total += float(match[3])
        return total

    def metrics(self) -> str:
        """All of them; nothing where the process has ended."""
        try:
            return self.get("metrics", "/metrics")[1]
        except (OSError, http.client.HTTPException):
            return ""

    def decisions(self, **labels: str) -> float:
        """Count of verdicts with these labels."""
        return self.metric("svidecar_decisions_total", **labels)

    def wait_for_decision(self, count: float = 1, **labels: str) -> None:
        """Wait until so many verdicts with these labels were given."""
        wait_until(lambda: self.decisions(**labels) >= count, f"{count} decisions {labels}")

    def open_connections(self, direction: str = "inbound") -> float:
        """Connections that may speak, and those that still shake hands."""
        return self.metric("svidecar_connections", direction=direction)

    # ---- what the kernel says of it

    @property
    def anonymous_bytes(self) -> int:
        """Its resident memory that is in no file: what it holds, and not which code it has run lately."""
        return self._memory_bytes("RssAnon")

    @property
    def file_bytes(self) -> int:
        """Its resident pages of files."""
        return self._memory_bytes("RssFile")

    def _memory_bytes(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def connections(self, port: str) -> int:
        """Connections to one of its ports that the kernel knows, open or ended within the last minute."""
        end = f":{self.ports[port]:04X}"
        with Path("/proc/net/tcp").open() as table:
            return sum(any(address.endswith(end) for address in line.split()[1:3]) for line in table)

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    # ---- ending

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait until it has ended by itself; give the exit code. One that hangs tells where, and fails the test."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
            self.process.send_signal(signal.SIGABRT)  # in development mode, faulthandler writes where it was
            self.process.wait(5)
        self._reader.join(5)
        self._printer.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        assert code is not None, f"it did not end in {timeout_s:g} s:\n{self.log}"
        return code

    def stop(self, timeout_s: float = 20.0) -> int:
        """End it at once and give the exit code; two signals leave no grace."""
        if self.process.poll() is None:
            self._last_metrics = self.metrics()
        while self.process.poll() is None and timeout_s > 0:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
            timeout_s -= 0.1
        return self.wait(1)

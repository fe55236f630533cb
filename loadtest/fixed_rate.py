"""Requests at a rate that does not wait for answers: ``python -m loadtest.openloop``, and the proxies' CPU meanwhile.

A closed loop sends less when a proxy is slow, and so hides it. Here each latency is counted from when the request was
meant to be sent.
"""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest import backend, client, kernel
from loadtest.processes import MORTAL, ProcessFailed
from loadtest.stage import Running

CLIENT = "loadtest.openloop"
CONNECTIONS = 32
WARMUP_S = 1.0
SPARE_S = 60.0
ABSENT = f"not measured: this tree has no {CLIENT}"
PERCENTILES = ("p50", "p75", "p90", "p99", "p99.9", "p99.99", "max")
MEASURED = (0, 1)
"""Exit codes with figures behind them: good ones, and ones that may not be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedRate:
    """What the client saw, and what both proxies used in the same time. Milliseconds; CPU in seconds."""

    rate: float
    connections: int
    requested: int
    completed: int
    errors: Mapping[str, int]
    seconds: float
    percentiles_ms: Mapping[str, float]
    service_percentiles_ms: Mapping[str, float]
    client: Mapping[str, Any]
    """What else the client says of itself: its own lag, its share of a core."""
    wall_s: float
    cpu_s: Mapping[str, float]
    rss_mb: Mapping[str, float]
    others_on_proxies_core: float

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of both proxies for a request; those of the warm-up are counted too, on both sides."""
        return sum(self.cpu_s.values()) / max(self.rate * (self.seconds + WARMUP_S), 1) * 1e6

    @property
    def broken(self) -> str:
        """Why not even the CPU may be used; empty where it may: a client that was late used it all the same."""
        if self.errors:
            return "errors: " + ", ".join(f"{count} {kind}" for kind, count in self.errors.items())
        if self.completed < self.requested:
            return f"{self.completed} of {self.requested} requests were answered"
        return ""

    @property
    def bad(self) -> str:
        """Why the latencies may not be used; empty where they may."""
        return self.broken or str(self.client.get("bad", ""))


def available() -> bool:
    """Whether the open-loop client is part of this tree."""
    return importlib.util.find_spec(CLIENT) is not None


def command(pair: Running, rate: float, seconds: float, token: str) -> list[str]:
    """As the client is called."""
    call = [sys.executable, "-m", CLIENT, "--url", f"http://{client.HOST}:{pair.ports.egress}{backend.SMALL}"]
    call += ["--rate", f"{rate:g}", "--connections", str(CONNECTIONS), "--seconds", f"{seconds:g}"]
    call += ["--warmup", f"{WARMUP_S:g}", "--jitter", "--json"]
    return call + [part for name, value in client.headers(token).items() for part in ("--header", f"{name}: {value}")]


def measure(pair: Running, rate: float, seconds: float) -> FixedRate:
    """One run against the egress. Raises ProcessFailed where the client says nothing."""
    cpu, core = _cpu(pair), kernel.core_time(pair.cores.proxies)
    began = time.monotonic()
    report = _run(command(pair, rate, seconds, pair.material.token), seconds)
    wall = time.monotonic() - began
    busy = kernel.core_time(pair.cores.proxies).busy_since(core)
    used = {side: after - cpu[side] for side, after in _cpu(pair).items()}
    told = {name: report.pop(name) for name in _FIGURES}
    return FixedRate(
        rate=rate,
        connections=CONNECTIONS,
        **told,
        client=report,
        wall_s=wall,
        cpu_s=used,
        rss_mb={side: kernel.memory(process.pid).rss for side, process in pair.sides.items()},
        others_on_proxies_core=max(busy - sum(used.values()) / wall, 0.0),
    )


_FIGURES = ("requested", "completed", "errors", "seconds", "percentiles_ms", "service_percentiles_ms")


def _cpu(pair: Running) -> dict[str, float]:
    return {side: kernel.cpu_s(process.pid) for side, process in pair.sides.items()}


def _run(call: list[str], seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run([*MORTAL, *call], capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise ProcessFailed(f"{CLIENT} did not end in {seconds + SPARE_S:.0f} s") from late
    if done.returncode not in MEASURED:
        raise ProcessFailed(f"{CLIENT} ended with code {done.returncode}: {(done.stdout + done.stderr).strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found

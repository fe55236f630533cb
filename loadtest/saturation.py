"""wrk at full speed, one thread, keep-alive: CPU microseconds per request of each proxy.

The latency is that of a closed loop at saturation: it shows queueing alike for all, and is not "added latency".
"""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import backend, client, kernel
from loadtest.processes import MORTAL, Process, ProcessFailed
from loadtest.stage import Running

SCRIPT = Path(__file__).with_name("saturation.lua")
SPARE_S = 20.0
ERRORS = ("connect", "read", "write", "status", "timeout")
HIDDEN = "$TXN_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """One run of wrk. CPU in microseconds per request; shares are of the time of the run, 0 to 1."""

    requests: int
    requests_per_s: float
    errors: dict[str, int]
    egress_us: float
    ingress_us: float
    p50_ms: float
    p99_ms: float
    proxies_core: float
    load_core: float
    backend_share: float
    others_on_proxies_core: float
    stolen: float

    @property
    def total_us(self) -> float:
        """Both proxies."""
        return self.egress_us + self.ingress_us

    @property
    def bad(self) -> str:
        """Why these figures may not be used; empty where they may."""
        if self.errors:
            return "errors: " + ", ".join(f"{count} {kind}" for kind, count in self.errors.items())
        return "" if self.requests else "no request was answered"


def command(wrk: str, port: int, token: str, *, seconds: int, connections: int) -> list[str]:
    """As wrk is called; also for the reader of the JSON, with the token hidden."""
    fields = [part for name, value in client.headers(token).items() for part in ("-H", f"{name}: {value}")]
    url = f"http://{client.HOST}:{port}{backend.SMALL}"
    return [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), *fields, url]


def saturate(wrk: str, pair: Running, app: Process, *, seconds: int, connections: int) -> Saturation:
    """Run wrk against the egress and divide what the proxies used by what wrk counted."""
    call = command(wrk, pair.ports.egress, pair.material.token, seconds=seconds, connections=connections)
    processes = [*pair.sides.values(), app]
    cores = (pair.cores.proxies, pair.cores.load)
    began, cpu, core = time.monotonic(), _cpu(processes), [kernel.core_time(each) for each in cores]
    report = _wrk(call, seconds)
    core_after = [kernel.core_time(each) for each in cores]
    egress, ingress, behind = (after - before for after, before in zip(_cpu(processes), cpu, strict=True))
    wall = time.monotonic() - began
    requests = max(report["requests"], 1)
    busy = core_after[0].busy_since(core[0])
    return Saturation(
        requests=report["requests"],
        requests_per_s=report["requests"] / report["duration_us"] * 1e6,
        errors={kind: report[kind] for kind in ERRORS if report[kind]},
        egress_us=egress / requests * 1e6,
        ingress_us=ingress / requests * 1e6,
        p50_ms=report["p50_us"] / 1e3,
        p99_ms=report["p99_us"] / 1e3,
        proxies_core=busy,
        load_core=core_after[1].busy_since(core[1]),
        backend_share=behind / wall,
        others_on_proxies_core=max(busy - (egress + ingress) / wall, 0.0),
        stolen=core_after[0].stolen_since(core[0]),
    )


def warm_up(wrk: str, pair: Running, connections: int) -> None:
    """One second, so that connections, caches and code are as they will stay."""
    _wrk(command(wrk, pair.ports.egress, pair.material.token, seconds=1, connections=connections), 1)


def _cpu(processes: Sequence[Process]) -> list[float]:
    return [kernel.cpu_s(process.pid) for process in processes]


def _wrk(call: list[str], seconds: int) -> dict[str, Any]:
    done = subprocess.run([*MORTAL, *call], capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    if done.returncode:
        raise ProcessFailed(f"wrk ended with code {done.returncode}: {(done.stdout + done.stderr).strip()}")
    return parse(done.stdout)


def parse(stdout: str) -> dict[str, Any]:
    """The line that ``saturation.lua`` wrote, from among wrk's own."""
    line = next(line for line in stdout.splitlines() if line.startswith("{"))
    report: dict[str, Any] = json.loads(line)
    return report

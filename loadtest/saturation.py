"""wrk at full speed, one thread, keep-alive: CPU microseconds per request of each proxy.

The latency is that of a closed loop at saturation: it shows queueing alike for all, and is not "added latency".
"""

import json
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import backend, client, kernel
from loadtest.processes import MORTAL, Process, ProcessFailed
from loadtest.stage import Running

SCRIPT = Path(__file__).with_name("saturation.lua")
SLICE_S = 1  # a machine's speed changes within seconds: neighbours must be closer than that
SPARE_S = 20.0
ERRORS = ("connect", "read", "write", "status", "timeout")
NOISY = 0.10  # of the proxies' core used by others: caches are shared, and ratios begin to move
HIDDEN = "$TXN_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One short run of wrk. Shares of cores are of the time of the run, 0 to 1; CPU is in seconds."""

    requests: int
    seconds: float
    errors: dict[str, int]
    p50_ms: float
    p99_ms: float
    wall_s: float
    egress_s: float
    ingress_s: float
    backend_s: float
    proxies_core: float
    load_core: float
    stolen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The slices of one contender in one round, taken together: sums over sums, and the mean of shares."""

    slices: tuple[Slice, ...]

    @property
    def requests(self) -> int:
        """As wrk counted them."""
        return sum(each.requests for each in self.slices)

    @property
    def requests_per_s(self) -> float:
        """At saturation."""
        return self.requests / sum(each.seconds for each in self.slices)

    @property
    def egress_us(self) -> float:
        """CPU microseconds per request."""
        return sum(each.egress_s for each in self.slices) / max(self.requests, 1) * 1e6

    @property
    def ingress_us(self) -> float:
        """CPU microseconds per request."""
        return sum(each.ingress_s for each in self.slices) / max(self.requests, 1) * 1e6

    @property
    def total_us(self) -> float:
        """Both proxies."""
        return self.egress_us + self.ingress_us

    @property
    def p50_ms(self) -> float:
        """The median of the slices' medians."""
        return statistics.median(each.p50_ms for each in self.slices)

    @property
    def p99_ms(self) -> float:
        """The median of the slices' 99th percentiles."""
        return statistics.median(each.p99_ms for each in self.slices)

    @property
    def proxies_core(self) -> float:
        """How busy it was."""
        return statistics.fmean(each.proxies_core for each in self.slices)

    @property
    def load_core(self) -> float:
        """How busy it was: the client is no bottleneck while it is not full."""
        return statistics.fmean(each.load_core for each in self.slices)

    @property
    def backend_share(self) -> float:
        """Of one core."""
        return statistics.fmean(each.backend_s / each.wall_s for each in self.slices)

    @property
    def others_on_proxies_core(self) -> float:
        """What ran there and was no proxy of this pair."""
        ours = (each.proxies_core - (each.egress_s + each.ingress_s) / each.wall_s for each in self.slices)
        return max(statistics.fmean(ours), 0.0)

    @property
    def stolen(self) -> float:
        """What the hypervisor took of the proxies' core."""
        return statistics.fmean(each.stolen for each in self.slices)

    @property
    def noisy(self) -> bool:
        """Whether something else ran on the proxies' core: the figures count, but should be taken again."""
        return self.others_on_proxies_core > NOISY

    @property
    def bad(self) -> str:
        """Why these figures may not be used; empty where they may."""
        errors = sum((Counter(each.errors) for each in self.slices), Counter[str]())
        if errors:
            return "errors: " + ", ".join(f"{count} {kind}" for kind, count in errors.items())
        return "" if self.requests else "no request was answered"


def command(wrk: str, port: int, token: str, *, connections: int) -> list[str]:
    """As wrk is called; also for the reader of the JSON, with the token hidden."""
    fields = [part for name, value in client.headers(token).items() for part in ("-H", f"{name}: {value}")]
    url = f"http://{client.HOST}:{port}{backend.SMALL}"
    return [wrk, "-t1", f"-c{connections}", f"-d{SLICE_S}s", "-s", str(SCRIPT), *fields, url]


def saturate(wrk: str, pair: Running, app: Process, connections: int) -> Slice:
    """Run wrk against the egress for one slice; what the proxies used belongs to what wrk counted."""
    call = command(wrk, pair.ports.egress, pair.material.token, connections=connections)
    processes = [*pair.sides.values(), app]
    cores = (pair.cores.proxies, pair.cores.load)
    began, cpu, core = time.monotonic(), _cpu(processes), [kernel.core_time(each) for each in cores]
    report = _wrk(call)
    core_after = [kernel.core_time(each) for each in cores]
    egress, ingress, behind = (after - before for after, before in zip(_cpu(processes), cpu, strict=True))
    return Slice(
        requests=report["requests"],
        seconds=report["duration_us"] / 1e6,
        errors={kind: report[kind] for kind in ERRORS if report[kind]},
        p50_ms=report["p50_us"] / 1e3,
        p99_ms=report["p99_us"] / 1e3,
        wall_s=time.monotonic() - began,
        egress_s=egress,
        ingress_s=ingress,
        backend_s=behind,
        proxies_core=core_after[0].busy_since(core[0]),
        load_core=core_after[1].busy_since(core[1]),
        stolen=core_after[0].stolen_since(core[0]),
    )


def _cpu(processes: Sequence[Process]) -> list[float]:
    return [kernel.cpu_s(process.pid) for process in processes]


def _wrk(call: list[str]) -> dict[str, Any]:
    done = subprocess.run([*MORTAL, *call], capture_output=True, text=True, timeout=SLICE_S + SPARE_S, check=False)
    if done.returncode:
        raise ProcessFailed(f"wrk ended with code {done.returncode}: {(done.stdout + done.stderr).strip()}")
    return parse(done.stdout)


def parse(stdout: str) -> dict[str, Any]:
    """The line that ``saturation.lua`` wrote, from among wrk's own."""
    line = next(line for line in stdout.splitlines() if line.startswith("{"))
    report: dict[str, Any] = json.loads(line)
    return report

"""wrk at full speed, one thread: CPU microseconds per request of each proxy.

The latency is that of a closed loop at saturation: it shows queueing alike for all, and is not "added latency".
"""

import json
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import client, kernel
from loadtest.contenders.pair import Duty
from loadtest.processes import MORTAL, Process, ProcessFailed
from loadtest.shape import Shape
from loadtest.stage import Running

SCRIPT = Path(__file__).with_name("saturation.lua")
SLICE_S = 1  # a machine's speed changes within seconds: neighbours must be closer than that
SPARE_S = 20.0
ERRORS = ("connect", "read", "write", "status", "timeout")
NOISY = 0.10  # of the proxies' core used by others: caches are shared, and ratios begin to move
BUSY = 0.95  # from here on a core is full: what is left is the start and the end of a slice
HIDDEN = "$TXN_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One short run of wrk. Shares of cores are of the time of the run, 0 to 1; CPU is in seconds."""

    requests: int
    seconds: float
    errors: dict[str, int]
    percentiles_ms: dict[str, float]
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
        return self.percentiles_ms["p50"]

    @property
    def p99_ms(self) -> float:
        """The median of the slices' 99th percentiles."""
        return self.percentiles_ms["p99"]

    @property
    def percentiles_ms(self) -> dict[str, float]:
        """Each the median of the slices'."""
        names = self.slices[0].percentiles_ms
        return {name: statistics.median(each.percentiles_ms[name] for each in self.slices) for name in names}

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


def command(wrk: str, port: int, token: str, shape: Shape, connections: int, tokens: Path | None = None) -> list[str]:
    """As wrk is called; also for the reader of the JSON, with the token hidden."""
    given = {**client.headers(token), **shape.fields}
    fields = [part for name, value in given.items() for part in ("-H", f"{name}: {value}")]
    url = f"http://{client.HOST}:{port}{shape.path}"
    call = [wrk, "-t1", f"-c{shape.connections or connections}", f"-d{SLICE_S}s", "-s", str(SCRIPT), *fields, url]
    return [*call, "--", shape.method, str(shape.body_bytes), *([] if tokens is None else [str(tokens)])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A shape with what it needs: the program, the app behind it, and a file of tokens where each request has one."""

    wrk: str
    app: Process
    shape: Shape
    connections: int
    tokens: Path | None = None
    token_count: int = 0

    def against(self, pair: Running) -> Slice:
        """Run wrk against the egress for one slice; what the proxies used belongs to what wrk counted."""
        watched = {**pair.sides, "app": self.app}
        call = command(self.wrk, pair.ports.egress, pair.material.token, self.shape, self.connections, self.tokens)
        cores = (pair.cores.proxies, pair.cores.load)
        began, cpu, core = time.monotonic(), _cpu(watched), [kernel.core_time(each) for each in cores]
        report = _wrk(call)
        core_after = [kernel.core_time(each) for each in cores]
        used = {name: after - cpu[name] for name, after in _cpu(watched).items()}
        return Slice(
            requests=report["requests"],
            seconds=report["duration_us"] / 1e6,
            errors=self._errors(pair, report),
            percentiles_ms=report["percentiles_ms"],
            wall_s=time.monotonic() - began,
            egress_s=used.get("egress", 0.0),
            ingress_s=used.get("ingress", 0.0),
            backend_s=used["app"],
            proxies_core=core_after[0].busy_since(core[0]),
            load_core=core_after[1].busy_since(core[1]),
            stolen=core_after[0].stolen_since(core[0]),
        )

    def _errors(self, pair: Running, report: Mapping[str, int]) -> dict[str, int]:
        """As wrk counted them; and tokens that came twice to one that could remember them."""
        errors = {kind: report[kind] for kind in ERRORS if report[kind]}
        again = report["requests"] - self.token_count
        if self.tokens is not None and again > 0 and Duty.TOKEN in pair.contender.duties:
            errors["token was not new"] = again
        return errors


def _cpu(processes: Mapping[str, Process]) -> dict[str, float]:
    return {name: kernel.cpu_s(process.pid) for name, process in processes.items()}


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

"""The direct way and the pair in turn, for each number of connections; what the pair adds, and what it costs."""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from loadtest import client, kernel
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.fortio import program
from loadtest.fortio.program import Round
from loadtest.processes import Command, free_ports, running
from loadtest.scenarios import ground
from loadtest.stage import Running, Stage, running_pair

CONNECTIONS = (2, 4, 8, 16, 32, 64)
RATE = 1000.0
ECHO, KIB = "/uploads/echo", "/files/kib"
"""Paths that the pair's policy knows: where fortio's server echoes, and what our own client fetches."""

Load = Callable[[str, Mapping[str, str], int], Round]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One number of connections, both ways. CPU is seconds in a second at ``RATE``, memory after the load."""

    connections: int
    direct: Round
    pair: Round
    vcpu: Mapping[str, float]
    mb: Mapping[str, float]

    def added_ms(self, percentile: str) -> float | None:
        """What the pair adds."""
        with contextlib.suppress(KeyError):
            return self.pair.ms[percentile] - self.direct.ms[percentile]
        return None

    @property
    def bad(self) -> list[str]:
        """Why it may not be used."""
        ways = (("direct", self.direct), ("pair", self.pair))
        errors = [f"{self.connections} connections, {way}: {each.errors}" for way, each in ways if each.errors]
        return errors + [f"{self.connections} connections, {way}: {each.bad}" for way, each in ways if each.bad]


def steps(stage: Stage, fortio: str | None, seconds: int, connections: Sequence[int], spread: str) -> Iterator[Step]:
    """Measure one after the other; ``spread`` is how fortio keeps its connections apart."""
    if fortio is None:
        (stage.directory / KIB[1:]).write_bytes(bytes(program.PAYLOAD_BYTES))
        with running_pair(stage, SVIDECAR) as pair:
            yield from _all(pair, KIB, lambda url, fields, many: _own(url, fields, many, seconds), connections)
        return
    (port,) = free_ports(1)
    echo = Command("fortio server", program.server(fortio, port), {})
    with running(echo, on=stage.cores.load, log=stage.directory / "fortio.log") as app:
        app.wait_for_port(port)
        with running_pair(replace(stage, backend_port=port, backend=app), SVIDECAR) as pair:
            load: Load = lambda url, fields, many: program.load(fortio, url, fields, many, RATE, seconds, spread)  # noqa: E731
            yield from _all(pair, ECHO, load, connections)


def _all(pair: Running, path: str, load: Load, connections: Sequence[int]) -> Iterator[Step]:
    fields = client.headers(pair.material.token)
    direct, through = (f"http://{client.HOST}:{port}{path}" for port in (pair.ports.backend, pair.ports.egress))
    load(through, fields, max(connections))  # so that connections, caches and code are as they will stay
    for many in connections:
        without = load(direct, fields, many)
        before = _cpu(pair)
        having = load(through, fields, many)
        each = RATE / max(having.requests, 1)
        vcpu = {side: (after - before[side]) * each for side, after in _cpu(pair).items()}
        mb = {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}
        yield Step(connections=many, direct=without, pair=having, vcpu=vcpu, mb=mb)


def _own(url: str, fields: Mapping[str, str], connections: int, seconds: int) -> Round:
    report = ground.open_loop(url, fields, rate=RATE, connections=connections, seconds=seconds)
    found = {name: ms for name, ms in report.figures["percentiles_ms"].items() if ms is not None}
    sent_per_s = report.figures["sent"] / report.figures["seconds"]
    return Round(sent_per_s=sent_per_s, requests=report.completed, errors=report.errors, ms=found, bad=report.bad)


def _cpu(pair: Running) -> dict[str, float]:
    return {side: kernel.cpu_s(process.pid) for side, process in pair.sides.items()}


def median(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None

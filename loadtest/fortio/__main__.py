"""``python -m loadtest.fortio``: what a svidecar pair costs on the rig that Istio and Dapr publish with."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.fortio import program
from loadtest.fortio.published import LINKERD, PUBLISHED
from loadtest.fortio.rig import CONNECTIONS, RATE, Step, median, steps
from loadtest.scenarios import ground

SECONDS = 20
BUILT = Path("fortio-bin")
PERCENTILES = ("p50", "p90", "p99")
SIDES = ("egress", "ingress")
Row = tuple[str, ...]


def main() -> int:
    """0: measured. 1: errors, or a rate that was not kept. 2: usage. 3: a program is missing. 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.fortio", description=__doc__)
    parser.add_argument("--seconds", type=ground.count, default=SECONDS, help=f"of each of the runs ({SECONDS})")
    parser.add_argument("--connections", type=_numbers, default=CONNECTIONS, metavar="A,B", help="(2,4,8,16,32,64)")
    parser.add_argument("--fortio", type=Path, metavar="DIR", help="where fortio is; default: the path, GOBIN")
    parser.add_argument("--install", action="store_true", help="build it into the DIR of --fortio first, with Go")
    parser.add_argument("--version", default="latest", help="of fortio, for --install (latest)")
    parser.add_argument("--uniform", action="store_true", help="spread fortio's connections evenly, not by its jitter")
    parser.add_argument("--own", action="store_true", help="our own open-loop client, whether fortio is there or not")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    if options.install:
        program.install(options.fortio or BUILT, options.version)
    found = None if options.own else program.find(options.fortio or (BUILT if options.install else None))
    spread = "uniform" if options.uniform else "jitter"
    tool = f"fortio -{spread}" if found else "our own open-loop client (--install builds fortio)"
    ground.say(f"load: {tool}")
    measured = []
    with ground.stage_alone(options.keep) as stage:
        for step in steps(stage, found, options.seconds, options.connections, spread):
            measured.append(step)
            ground.say(f"{step.connections} connections: done")
        pinning = stage.cores.said
    title = f"{RATE:g} requests a second, {'POST 1 KiB, echoed' if found else 'GET 1 KiB'}, {tool}"
    return ground.Outcome(
        tables=(
            (f"{title}\n{pinning}\nadded: the pair's latency less the direct one", rows(measured)),
            ("Beside what others publish, OF ANOTHER MACHINE: no comparison, only the same rig", beside(measured)),
        ),
        notes=[LINKERD],
        figures={"tool": tool, "rate": RATE, "seconds": options.seconds, "steps": [_data(step) for step in measured]},
        problems=[problem for step in measured for problem in step.bad],
    )


def rows(measured: Sequence[Step]) -> list[Row]:
    """One for each number of connections."""
    head = [f"{way} {name} ms" for way in ("direct", "added") for name in PERCENTILES]
    found: list[Row] = [("connections", *head, *(f"{side} vCPU" for side in SIDES), *(f"{side} MB" for side in SIDES))]
    for step in measured:
        latencies = [step.direct.ms.get(name) for name in PERCENTILES] + [step.added_ms(name) for name in PERCENTILES]
        costs = [f"{step.vcpu[side]:.3f}" for side in SIDES] + [f"{step.mb[side]:.0f}" for side in SIDES]
        found.append((str(step.connections), *(_shown(ms, 2) for ms in latencies), *costs))
    return found


def beside(measured: Sequence[Step]) -> list[Row]:
    """Our medians over the numbers of connections, then the others."""
    found: list[Row] = [("", "vCPU a proxy", "MB a proxy", "added p90 ms", "added p99 ms", "whose machine, which rig")]
    for side in SIDES:
        cpu, mb = median([step.vcpu[side] for step in measured]), median([step.mb[side] for step in measured])
        p90, p99 = (median([step.added_ms(name) for step in measured]) for name in ("p90", "p99"))
        found.append((f"svidecar {side}", _shown(cpu, 3), _shown(mb, 0), _shown(p90, 2), _shown(p99, 2), "this one"))
    for each in PUBLISHED:
        costs = (_shown(each.vcpu, 2), _shown(each.mb, 0), _shown(each.added_p90_ms, 2), _shown(each.added_p99_ms, 2))
        found.append((each.name, *costs, f"another's: {each.rig}"))
    return found


def _data(step: Step) -> dict[str, object]:
    return {**dataclasses.asdict(step), "added_ms": {name: step.added_ms(name) for name in PERCENTILES}}


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _numbers(raw: str) -> tuple[int, ...]:
    return tuple(ground.count(part) for part in raw.split(","))


if __name__ == "__main__":
    sys.exit(main())

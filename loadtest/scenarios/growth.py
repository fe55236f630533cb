"""``python -m loadtest.scenarios.growth``: does a sidecar grow with what it has done? Requests, then handshakes.

The requests go over kept connections. For the handshakes a second pair keeps none between its sides, so that every
request is a new mTLS connection: the egress as client, the ingress as server.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from loadtest.contenders.pair import Pair, Site
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.openloop.client import Client
from loadtest.openloop.schedule import Schedule
from loadtest.scenarios import ground
from loadtest.scenarios.watch import HEAD, Growth, Watch

REQUESTS, HANDSHAKES = 100_000, 15_000
SAMPLES = 50  # enough for a slope, few enough that each spans much work
WARM_UP = 0.2  # of the work, before the first sample: caches fill, and the allocator takes its arenas
AT_ONCE = 1e6  # a second: the warm-up keeps every connection busy, so that no later moment has more under way
CONNECTIONS = 32
REQUESTS_PER_S, HANDSHAKES_PER_S = 5000.0, 150.0  # below saturation, so that the load is steady
REQUEST_BYTES = 10.0
"""The smallest object of Python has 16 bytes: one that stays behind for each request is seen. 1 MB in 100 000."""
HANDSHAKE_BYTES = 500.0
"""The state of a TLS connection has 30 000 and more, its certificate 700. 7.5 MB in 15 000."""
REQUEST_DESCRIPTORS, HANDSHAKE_DESCRIPTORS = 0.001, 0.003
"""100 in all the requests, 45 in all the handshakes: more than the connections to the app, 32 at most, come and go."""
WAIT_S = 60.0  # for an answer, and for the warm-up to come to its end


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to a pair."""

    name: str
    total: int
    rate: float
    bytes_bound: float
    descriptors_bound: float


def main() -> int:
    """0: it is shown not to grow. 1: it grows, or that cannot be told. 2, 3, 130: as everywhere."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.growth", description=__doc__)
    parser.add_argument("--requests", type=ground.count, default=REQUESTS, help=f"({REQUESTS})")
    parser.add_argument("--handshakes", type=ground.count, default=HANDSHAKES, help=f"({HANDSHAKES})")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    works = (
        Work("requests", options.requests, REQUESTS_PER_S, REQUEST_BYTES, REQUEST_DESCRIPTORS),
        Work("handshakes", options.handshakes, HANDSHAKES_PER_S, HANDSHAKE_BYTES, HANDSHAKE_DESCRIPTORS),
    )
    tables, problems, figures = [], [], {}
    for work in works:
        watch, errors = _measure(work, options.keep)
        growths = watch.growth(bytes_bound=work.bytes_bound, descriptors_bound=work.descriptors_bound)
        tables.append((f"{work.total} {work.name}, and what each leaves behind", _rows(growths)))
        problems += [problem for growth in growths for problem in growth.problem(work.name)]
        problems += [f"{work.name} that failed: {errors}"] if errors else []
        figures[work.name] = {"total": work.total, "errors": errors, "samples": watch.data()}
        figures[work.name]["slopes"] = [
            {"side": g.side, "of": g.what, "each": g.slope.each, "low": g.slope.low, "high": g.slope.high}
            for g in growths
        ]
    return ground.Outcome(tables=tables, figures=figures, problems=problems)


def _rows(growths: list[Growth]) -> list[tuple[str, ...]]:
    return [HEAD, *(growth.row() for growth in growths)]


def _measure(work: Work, keep: Path | None) -> tuple[Watch, dict[str, int]]:
    """Do it in pieces over the same connections, and look after each."""
    contender = SVIDECAR if work.name == "requests" else replace(SVIDECAR, name="svidecar-unpooled", prepare=_unpooled)
    errors: dict[str, int] = {}
    with ground.standing(keep, contender) as pair:
        target, requests = ground.good_requests(pair)
        watch, done = Watch(pair), 0
        with Client(target, CONNECTIONS, timeout_s=WAIT_S) as client:
            pieces = [(work.total * WARM_UP, AT_ONCE), *([(work.total / SAMPLES, work.rate)] * SAMPLES)]
            for number, (piece, rate) in enumerate(pieces):
                report = client.run(Schedule(rate=rate, seconds=piece / rate), requests)
                done += report.completed if number else 0
                errors |= {kind: count + errors.get(kind, 0) for kind, count in report.errors.items()}
                watch.look(done)
                if number % 10 == 0:
                    ground.say(f"{work.name}: {done} of {work.total}")
    return watch, errors


def _unpooled(program: str, site: Site) -> Pair:
    """The egress keeps no connection to the ingress."""
    pair = SVIDECAR.prepare(program, site)
    path = site.directory / "svidecar-egress.yaml"
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(settings | {"limits": {"upstream_idle_connections": 0}}, sort_keys=False))
    return pair


if __name__ == "__main__":
    sys.exit(main())

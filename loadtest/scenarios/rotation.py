"""``python -m loadtest.scenarios.rotation``: SVIDs are renewed and configurations reloaded under load; nothing is lost.

A fixed rate passes both proxies over kept connections, counted to the last request; new mTLS connections come to the
ingress all the while. Each reload changes the policy: a rule for nobody joins it, or leaves.
"""

import argparse
import contextlib
import http.client
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from loadtest import backend, client, kernel
from loadtest.material import EDGE, ORDERS
from loadtest.openloop.account import Report
from loadtest.processes import Process, ProcessFailed
from loadtest.scenarios import ground
from loadtest.stage import Running

ROTATIONS = 10
STEP_S = 2.0  # between two of them: the files are looked at every second
TAKEN_S = 10.0
POLL_S = 0.25  # each look is a scrape, which costs the sidecar a millisecond or two
RATE, CONNECTIONS = 500.0, 32
NEWCOMER_S = 0.02  # between two new connections
NOBODY = {"name": "for nobody", "peers": ["spiffe://example.org/nobody"], "routes": []}
ROTATED, RELOADED = "svidecar_svid_rotations_total", "svidecar_reload_total"


class Load:
    """The fixed rate and the newcomers, each in a thread, until the block ends."""

    def __init__(self, pair: Running, seconds: float) -> None:
        self._pair, self._seconds = pair, seconds
        # of the SVID as it is now: while its files are written anew, certificate and key may not fit
        self._context = client.context(pair.material.bundle, pair.material.edge)
        self._done = threading.Event()
        self.newcomers: Counter[str] = Counter()
        self.report: Report | None = None
        self._threads = [threading.Thread(target=each) for each in (self._fixed_rate, self._newcomers)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """For the block, and until the fixed rate has come to its end."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._threads[0].join()
            self._done.set()
            self._threads[1].join()

    def _fixed_rate(self) -> None:
        self.report = ground.fixed_rate(self._pair, rate=RATE, connections=CONNECTIONS, seconds=self._seconds)

    def _newcomers(self) -> None:
        while not self._done.wait(NEWCOMER_S):
            try:
                with contextlib.closing(self._connect()) as own:
                    self.newcomers[client.ask(own, backend.SMALL, self._pair.material.token).status] += 1
            except (OSError, http.client.HTTPException) as error:
                self.newcomers[type(error).__name__] += 1

    def _connect(self) -> http.client.HTTPConnection:
        own = client.plain(self._pair.ports.ingress)
        if own.sock is not None:
            own.sock = self._context.wrap_socket(own.sock, server_hostname=client.AUTHORITY)
        return own


def main() -> int:
    """0: nothing was lost, and every rotation and reload was taken. 1: not so."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.rotation", description=__doc__)
    parser.add_argument("--rotations", type=ground.count, default=ROTATIONS, help=f"and as many reloads ({ROTATIONS})")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    with ground.standing(options.keep) as pair:
        before = {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}
        taken_before = {side: _taken(pair, side) for side in pair.sides}
        load, waits = Load(pair, options.rotations * STEP_S), list[float]()
        with load.running():
            for number in range(options.rotations):
                began = time.monotonic()
                waits.append(_rotate(pair))
                _reload(pair, joined=number % 2 == 0)
                ground.say(f"rotation and reload {number + 1} of {options.rotations}")
                time.sleep(max(STEP_S - (time.monotonic() - began), 0.0))
        if load.report is None:
            raise ProcessFailed("the load did not run to its end")
        taken = {side: _since(taken_before[side], _taken(pair, side)) for side in pair.sides}
        grown = {side: kernel.memory(process.pid).rss - before[side] for side, process in pair.sides.items()}
    return _outcome(options.rotations, load, load.report, taken, grown, max(waits))


Taken = dict[str, float]


def _outcome(
    rotations: int, load: Load, report: Report, taken: dict[str, Taken], grown: dict[str, float], slowest_s: float
) -> ground.Outcome:
    lost = sum(count for status, count in load.newcomers.items() if status != "200")
    problems = [f"requests at the fixed rate: {report.errors}"] if report.errors else []
    problems += [f"new connections: {dict(load.newcomers)}"] if lost else []
    for side, each in taken.items():
        problems += [f"{side}: {each['rotated']:g} rotations of {rotations}"] if each["rotated"] != rotations else []
        problems += [f"{side}: {each['failed']:g} reloads failed"] if each["failed"] else []
        problems += [f"{side}: {each['refused']:g} refusals"] if each["refused"] else []
    percentiles = report.figures["percentiles_ms"]
    fixed: list[tuple[str, ...]] = [("requested", "completed", "lost", "p50 ms", "p99 ms", "max ms", "client")]
    counts = [report.figures["requested"], report.completed, sum(report.errors.values())]
    cells = [f"{percentiles[name]:.2f}" if percentiles[name] else "-" for name in ("p50", "p99", "max")]
    fixed.append((*map(str, counts), *cells, report.bad or "kept its rate"))
    sides: list[tuple[str, ...]] = [
        ("", "rotations taken", "reloads taken", "failed", "refusals", "TLS contexts alive", "MB more")
    ]
    sides += [
        (
            side,
            *(f"{each[name]:g}" for name in ("rotated", "reloaded", "failed", "refused", "contexts")),
            f"{grown[side]:.1f}",
        )
        for side, each in taken.items()
    ]
    new = [
        ("served", "lost", "a rotation was taken within s"),
        (str(load.newcomers["200"]), str(lost), f"{slowest_s:.2f}"),
    ]
    return ground.Outcome(
        tables=((f"{RATE:g} requests a second through both", fixed), ("New mTLS connections", new), ("By side", sides)),
        figures={"fixed_rate": report.figures, "newcomers": dict(load.newcomers), "sides": taken, "grown_mb": grown},
        problems=problems,
    )


def _taken(pair: Running, side: str) -> Taken:
    def read(name: str, label: str = "") -> float:
        return ground.metric(pair, side, name, label)

    return {
        "rotated": read(ROTATED),
        "reloaded": read(RELOADED, 'result="ok"'),
        "failed": read(RELOADED, 'result="failed"'),
        "refused": read("svidecar_decisions_total", 'decision="deny"')
        + read("svidecar_decisions_total", 'decision="error"'),
        "contexts": read("svidecar_tls_context_generations"),
    }


def _since(before: Taken, after: Taken) -> Taken:
    """What was counted between the two; the contexts are those of now."""
    return {name: value - (before[name] if name != "contexts" else 0.0) for name, value in after.items()}


def _rotate(pair: Running) -> float:
    """Write new SVIDs for both. How long it took until both had them."""
    counts, began = {side: ground.metric(pair, side, ROTATED) for side in pair.sides}, time.monotonic()
    material = pair.material
    for name, spiffe_id in (("edge", EDGE), ("orders", ORDERS)):
        material.root.issue(material.directory, name, spiffe_id)
    for side, process in pair.sides.items():
        _until(process, lambda s=side: ground.metric(pair, s, ROTATED) > counts[s], "the new SVID is not taken")  # type: ignore[misc]
    return time.monotonic() - began


def _reload(pair: Running, *, joined: bool) -> None:
    """Change the policy of the ingress, and have both read their configuration again."""
    path = Path(pair.ingress.command.arguments[-1])
    settings = yaml.safe_load(path.read_text())
    settings["policy"] = settings["policy"][:1] + ([NOBODY] if joined else [])
    path.with_suffix(".new").write_text(yaml.safe_dump(settings, sort_keys=False))
    path.with_suffix(".new").replace(path)
    for side, process in pair.sides.items():
        before = ground.metric(pair, side, RELOADED)
        os.kill(process.pid, signal.SIGHUP)
        _until(process, lambda s=side, n=before: ground.metric(pair, s, RELOADED) > n, "no reload is counted")  # type: ignore[misc]


def _until(process: Process, ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + TAKEN_S
    while not ready():
        process.check()
        if time.monotonic() > end:
            raise ProcessFailed(f"{process.command.name}: {what} within {TAKEN_S:g} s")
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())

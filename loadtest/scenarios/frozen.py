"""``python -m loadtest.scenarios.frozen``: 10 MB bodies, while a sidecar or the app is frozen at random moments.

A container that is throttled or paused, a machine that moves: the buffers on both sides of it run full, and every pause
and resumption of reading happens at a moment that no test chose. Each body must arrive whole, however long that takes.
"""

import argparse
import contextlib
import hashlib
import http.client
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from loadtest import backend, client
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.scenarios import ground
from loadtest.stage import Running, running_pair

SECONDS = 60.0
CALLERS = 4
FREEZES_S = (0.002, 0.02, 0.2, 0.5)
"""For less and for more than it takes to fill every buffer on the way."""
BETWEEN_S = 0.1  # at most, from one freeze to the next
IDLE_S = 0.3  # between two turns of all callers, at times: then connections are lent that were idle
UP, DOWN = "upload", "download"
MIXES = ((UP,) * CALLERS, (DOWN,) * CALLERS, (UP, DOWN) * (CALLERS // 2))


@dataclass(slots=True)
class Tally:
    """What came of it. ``failures``: a line for each body that did not arrive whole."""

    whole: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    frozen: Counter[str] = field(default_factory=Counter)

    def tables(self) -> list[tuple[str, Sequence[Sequence[str]]]]:
        """For a person."""
        lost = Counter(line.partition(" ")[0] for line in self.failures)
        bodies = [("", "whole", "lost"), *((way, str(self.whole[way]), str(lost[way])) for way in (UP, DOWN))]
        frozen = [("process", "times"), *((name, str(count)) for name, count in sorted(self.frozen.items()))]
        return [("Bodies of 10 MB", bodies), *([("Frozen for 2 ms to 0.5 s", frozen)] if self.frozen else [])]


def main() -> int:
    """Print what arrived; fails where a body did not."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.frozen", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"({SECONDS:g})")
    parser.add_argument("--calm", action="store_true", help="freeze nobody: more bodies in the same time")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which things are done (1)")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    tally = Tally()
    with ground.stage_alone(options.keep) as stage, running_pair(stage, SVIDECAR) as pair:
        groups = {name: process.pid for name, process in pair.sides.items()} | {"app": stage.backend.pid}
        with freezing({} if options.calm else groups, random.Random(options.seed), tally):
            _stream(pair, options.seconds, random.Random(options.seed), tally)
    figures = {"whole": tally.whole, "failures": tally.failures, "frozen": tally.frozen}
    problems = tally.failures or ([] if tally.whole else ["nothing was carried"])
    return ground.Outcome(tables=tally.tables(), figures=figures, problems=problems)


@contextlib.contextmanager
def freezing(groups: Mapping[str, int], chance: random.Random, tally: Tally) -> Iterator[None]:
    """One of the process groups after the other stands still for a moment, until the block ends; then all go on."""
    over = threading.Event()

    def freeze() -> None:
        while groups and not over.wait(chance.random() * BETWEEN_S):
            name = chance.choice(list(groups))
            os.killpg(groups[name], signal.SIGSTOP)
            try:
                over.wait(chance.choice(FREEZES_S))
            finally:
                os.killpg(groups[name], signal.SIGCONT)
            tally.frozen[name] += 1

    freezer = threading.Thread(target=freeze)
    freezer.start()
    try:
        yield
    finally:
        over.set()
        freezer.join()


def _stream(pair: Running, seconds: float, chance: random.Random, tally: Tally) -> None:
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CALLERS) as callers:
        while time.monotonic() < until:
            mix = chance.choice(MIXES)
            for way, failure in zip(mix, callers.map(lambda way: _carried(pair, way), mix), strict=True):
                if failure:
                    tally.failures.append(failure)
                    ground.say(failure)
                else:
                    tally.whole[way] += 1
            time.sleep(chance.choice((0.0, 0.0, 0.0, IDLE_S)))


def _carried(pair: Running, way: str) -> str:
    """Carry one body over a new connection to the egress; empty, or how it failed."""
    began, body = time.monotonic(), backend.large_body()
    try:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            if way == UP:
                count = client.upload(connection, backend.UPLOAD, pair.material.token, body)
                whole = count == len(body)
            else:
                count, digest = client.download(connection, backend.LARGE, pair.material.token)
                whole = digest == hashlib.sha256(body).hexdigest()
        return "" if whole else f"{way} of {len(body)} bytes: {count} arrived, or others"
    except (OSError, http.client.HTTPException) as broken:
        return f"{way} after {time.monotonic() - began:.3f} s: {type(broken).__name__}: {broken}"


if __name__ == "__main__":
    sys.exit(main())

"""What every scenario stands on: a pair that is up, and a command with a table, a JSON file and an exit code."""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from loadtest import backend, client, machine
from loadtest.contenders import Contender
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.openloop.account import Report
from loadtest.openloop.client import CannotConnect
from loadtest.openloop.request import Target, requests
from loadtest.processes import MORTAL, ProcessFailed
from loadtest.report import table
from loadtest.rounds import staged
from loadtest.stage import Running, Stage, running_pair

OPEN_FILES = 8192
EXIT_FAILED, EXIT_MISSING, EXIT_INTERRUPTED = 1, 3, 130  # 2 is argparse's
METRICS_S = 5.0
SPARE_S = 40.0  # a client waits so long at most for what does not answer, and then some


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Tables for a person, figures for a program; ``problems`` make the command fail."""

    tables: Sequence[tuple[str, Sequence[Sequence[str]]]]
    figures: dict[str, Any]
    problems: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())


def command(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Outcome]) -> int:
    """Run it. 0: all is well. 1: it is not. 2: usage. 3: a program is missing. 130: interrupted."""
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every figure there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep configurations, keys and logs there")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminated)
    try:
        outcome = run(options)
    except machine.MissingProgram as missing:
        return _say(missing, EXIT_MISSING)
    except (ProcessFailed, CannotConnect) as failed:
        return _say(failed, EXIT_FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; every process has been ended", EXIT_INTERRUPTED)
    print("\n\n".join([*(f"{title}\n{table(rows)}" for title, rows in outcome.tables), *outcome.notes]))
    if options.json is not None:
        whole = {"machine": machine.describe(), "problems": outcome.problems, **outcome.figures}
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    for problem in outcome.problems:
        _say(problem, EXIT_FAILED)
    return EXIT_FAILED if outcome.problems else 0


@contextlib.contextmanager
def stage_alone(keep: Path | None, *programs: str) -> Iterator[Stage]:
    """The backend and the trust domain; this process off the proxies' core, with room for many sockets."""
    found = machine.require("nginx", "taskset", "setpriv", SVIDECAR.program, *programs)
    allowed, cores = os.sched_getaffinity(0), machine.cores()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard) if hard > 0 else OPEN_FILES, hard))
    os.sched_setaffinity(0, cores.load)
    try:
        with staged(found, cores, keep) as stage:
            yield stage
    finally:
        os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def standing(keep: Path | None, contender: Contender = SVIDECAR) -> Iterator[Running]:
    """A svidecar pair that answers."""
    with stage_alone(keep) as stage, running_pair(stage, contender) as pair:
        say(f"up: {pair.cores.said}")
        yield pair


def good_requests(pair: Running) -> tuple[Target, Iterator[bytes]]:
    """Where the egress listens, and the request that passes both proxies."""
    target = Target.parse(f"http://{client.HOST}:{pair.ports.egress}{backend.SMALL}")
    fields = [f"{name}: {value}" for name, value in client.headers(pair.material.token).items()]
    return target, requests(target, fields)


def fixed_rate(pair: Running, *, rate: float, connections: int, seconds: float) -> Report:
    """``good_requests`` at a fixed rate, from a process of its own: what else we do must not delay it."""
    url = f"http://{client.HOST}:{pair.ports.egress}{backend.SMALL}"
    return open_loop(url, client.headers(pair.material.token), rate=rate, connections=connections, seconds=seconds)


def open_loop(url: str, fields: Mapping[str, str], *, rate: float, connections: int, seconds: float) -> Report:
    """Run ``loadtest.openloop`` on the cores that are ours. Raises ProcessFailed where it measured nothing."""
    call = [*MORTAL, sys.executable, "-m", "loadtest.openloop", "--json", "--jitter", "--url", url]
    call += ["--rate", str(rate), "--connections", str(connections), "--seconds", str(seconds), "--warmup", "1"]
    for name, value in fields.items():
        call += ["--header", f"{name}: {value}"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    if done.returncode > EXIT_FAILED or not done.stdout:
        raise ProcessFailed(f"loadtest.openloop ended with code {done.returncode}: {done.stderr.strip()}")
    return Report(json.loads(done.stdout))


def metric(pair: Running, side: str, name: str, label: str = "") -> float:
    """The sum of the samples of ``name`` whose labels hold ``label``."""
    port = pair.ports.spare[0 if side == "egress" else 3]  # as contenders/svidecar.py gives them out
    with urllib.request.urlopen(f"http://{client.HOST}:{port}/metrics", timeout=METRICS_S) as answer:
        lines = answer.read().decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if line.partition("{")[0].partition(" ")[0] == name]
    return sum(float(value) for labels, _, value in samples if label in labels)


def count(raw: str) -> int:
    """An option that is a number of things."""
    if (number := int(raw)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def say(line: str) -> None:
    """Progress, beside the table."""
    print(line, file=sys.stderr, flush=True)


def _say(what: object, code: int) -> int:
    say(f"loadtest: {what}")
    return code


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt

"""``python -m loadtest.spine``: one table that says what a request costs in each contender, on this machine, now."""

import argparse
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from loadtest import checks, machine, report, saturation
from loadtest.contenders import CONTENDERS, DEFAULT
from loadtest.processes import ProcessFailed
from loadtest.results import Results, Turn
from loadtest.rounds import PHASES, Plan, staged, turns
from loadtest.stage import Stage

OPEN_FILES = 8192
CONFIGURATIONS = frozenset({".yaml", ".json", ".conf", ".cnf"})
EXIT_FAILED, EXIT_MISSING, EXIT_INTERRUPTED = 1, 3, 130  # 2 is argparse's


def main() -> int:
    """0: measured. 1: a contender does not do its work, or no round was good. 3: a program is not installed."""
    options = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell starts its background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    try:
        return _run(options)
    except machine.MissingProgram as missing:
        return _say(missing, EXIT_MISSING)
    except ProcessFailed as failed:
        return _say(failed, EXIT_FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; every process has been ended", EXIT_INTERRUPTED)


def _run(options: argparse.Namespace) -> int:
    names: tuple[str, ...] = options.only
    plan = Plan(rounds=options.rounds, seconds=options.seconds, connections=options.connections, phases=options.phases)
    cores = machine.cores()
    wanted = dict.fromkeys(CONTENDERS[name].program for name in names)
    programs = machine.require("nginx", "wrk", "taskset", "setpriv", *wanted)
    about = _about(programs, cores, plan)
    _prepare_ourselves(cores)
    with staged(programs, cores, options.keep) as stage:
        found = _checked(stage, names)
        passed = not any(_failures(each) for each in found.values())
        measured = [_shown(turn, plan.rounds) for turn in turns(stage, names, plan, _progress)] if passed else []
        about["contenders"] = {name: _contender(stage, name) for name in names}
    results = Results(contenders=names, checks=found, turns=measured)
    print(f"{report.checks(results)}\n\n{cores.said}\n{report.text(results)}")
    if options.json is not None:
        report.write_json(options.json, results, about)
        _progress(f"written: {options.json}")
    return _verdict(results)


def _about(programs: dict[str, str], cores: machine.Cores, plan: Plan) -> dict[str, Any]:
    """What the JSON says beside the figures. The token's place is marked, not filled."""
    found = machine.describe()
    _progress(f"{found['cpu']}, {found['cores']} cores, kernel {found['kernel']}, load average {found['load_average']}")
    _progress(f"pinning: {cores.said}")
    call = saturation.command("wrk", 0, saturation.HIDDEN, connections=plan.connections)
    versions = {name: machine.version_of(name, path) for name, path in programs.items()}
    return {"machine": found, "versions": versions, "pinning": cores.said, "plan": plan, "load": " ".join(call)}


def _checked(stage: Stage, names: Sequence[str]) -> dict[str, list[checks.Check]]:
    found = {}
    for name in names:
        _progress(f"checking {name}")
        found[name] = checks.verify(stage, CONTENDERS[name])
        for check in _failures(found[name]):
            _progress(f"  fails '{check.case}': expected {' or '.join(check.expected)}, saw {check.seen}")
    return found


def _failures(found: Iterable[checks.Check]) -> list[checks.Check]:
    return [check for check in found if check.verdict is checks.Verdict.FAILED]


def _contender(stage: Stage, name: str) -> dict[str, Any]:
    """Its program and its configuration, as the last turn left it."""
    here = sorted((stage.directory / name).iterdir())
    files = [file for file in here if file.is_file() and file.suffix in CONFIGURATIONS]
    return {"program": stage.programs[CONTENDERS[name].program], "configs": {f.name: f.read_text() for f in files}}


def _shown(turn: Turn, rounds: int) -> Turn:
    parts = [f"round {turn.round}/{rounds}  {turn.contender:14}"]
    if (load := turn.saturation) is not None:
        parts.append(f"egress {load.egress_us:6.1f} us  ingress {load.ingress_us:6.1f} us")
        parts.append(f"{load.requests_per_s:7.0f} req/s  others on the proxies' core {load.others_on_proxies_core:.0%}")
        parts += ["NOISY"] if load.noisy else []
    _progress("  ".join([*parts, *(f"BAD: {why}" for why in turn.bad)]))
    return turn


def _verdict(results: Results) -> int:
    if not results.turns:
        return _say("nothing was measured: a contender that does not do the work must not be timed on it", EXIT_FAILED)
    if noisy := sum(turn.saturation is not None and turn.saturation.noisy for turn in results.turns):
        _progress(f"{noisy} of {len(results.turns)} turns were noisy: run it again when the machine is quiet")
    lost = [name for name in results.contenders if all(t.bad for t in results.turns if t.contender == name)]
    return _say(f"no good round: {', '.join(lost)}", EXIT_FAILED) if lost else 0


def _prepare_ourselves(cores: machine.Cores) -> None:
    """Off the proxies' core; and enough open files for the connections that we hold, and our children theirs."""
    os.sched_setaffinity(0, cores.load)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.spine", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=5, help="each with fresh processes (5)")
    parser.add_argument("--seconds", type=_positive, default=5, help="of load in each round, one at a time (5)")
    parser.add_argument("--connections", type=_positive, default=32, help="connections of wrk (32)")
    parser.add_argument("--only", type=_some_of(CONTENDERS), default=DEFAULT, metavar="A,B", help=_all(CONTENDERS))
    parser.add_argument("--phases", type=_some_of(PHASES), default=PHASES, metavar="A,B", help=_all(PHASES))
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every raw figure there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep configurations, keys and logs there")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _some_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return names

    return parse


def _all(known: Iterable[str]) -> str:
    return "of: " + ",".join(known)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say(what: object, code: int) -> int:
    _progress(f"loadtest: {what}")
    return code


if __name__ == "__main__":
    sys.exit(main())

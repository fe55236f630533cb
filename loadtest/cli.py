"""``python -m loadtest [run | compare | gate | profile]``: what a request costs, on this machine, now."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from loadtest import compare, gate, machine, page, profile, report
from loadtest.contenders import COMPARED, CONTENDERS
from loadtest.plan import Plan
from loadtest.processes import ProcessFailed
from loadtest.results import Results
from loadtest.scenario import ALONE, SCENARIOS, USUAL
from loadtest.shape import CONNECTIONS

EXIT_FAILED, EXIT_MISSING, EXIT_INTERRUPTED = 1, 3, 130  # 2 is argparse's
VERBS = ("run", "compare", "gate", "profile")
RATE_S = 5  # at a fixed rate: 5000 requests at the slow one, so that the 99.9th percentile has five behind it

EPILOG = f"""\
verbs:
  run       svidecar against no proxy at all: a few minutes (this is what no verb means)
  compare   beside {", ".join(name for name in COMPARED if name not in {"svidecar", "direct"})}
  gate      a short comparison that fails if a figure leaves the budget
  profile   a flame graph of a sidecar under load

scenarios:
{chr(10).join(f"  {name:18} {said}" for name, said in SCENARIOS.items())}
  ("all" is every one of them; unless named, those of the last lines are left out: {", ".join(ALONE)})

exit codes:
  0  measured; gate: every figure is inside the budget
  1  a contender fails a check, or has no good round of a scenario; gate: also a figure over the budget, or missing
  2  usage
  3  a program is missing: the message says how to install it
  130  interrupted; every process has been ended
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit code."""
    options = parse(sys.argv[1:] if argv is None else argv)
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell starts its background jobs with SIGINT ignored
        signal.signal(number, _terminated)
    try:
        verb: Callable[[argparse.Namespace], int] = options.does
        return verb(options)
    except machine.MissingProgram as missing:
        return _say(missing, EXIT_MISSING)
    except (ProcessFailed, profile.CannotProfile) as failed:
        return _say(failed, EXIT_FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; every process has been ended", EXIT_INTERRUPTED)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; no verb, or options alone, is the first verb. Ends with code 2 where they make no sense."""
    words = list(argv)
    if not words or (words[0] not in VERBS and words[0] not in {"-h", "--help"}):
        words.insert(0, VERBS[0])
    return _parser().parse_args(words)


def _compare(options: argparse.Namespace) -> int:
    found = compare.run(_wanted(options))
    return _show(found, options) or _verdict(found.results)


def _gate(options: argparse.Namespace) -> int:
    found = compare.run(_wanted(options))
    code = _show(found, options) or _verdict(found.results)
    held, said = gate.verdict(found.results)
    print(said)
    return code if held else EXIT_FAILED


def _profile(options: argparse.Namespace) -> int:
    for line in profile.run(options.side, options.tool, options.seconds, options.out, options.scenario):
        print(line)
    return 0


def _wanted(options: argparse.Namespace) -> compare.Wanted:
    contenders, named = options.only or options.contenders, options.only is not None
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        rate_seconds=options.rate_seconds,
        scenarios=options.scenarios,
        connections=options.connections,
    )
    return compare.Wanted(
        contenders=contenders, named=named, plan=plan, interpreted=options.interpreted, keep=options.keep
    )


def _show(found: compare.Run, options: argparse.Namespace) -> int:
    """Print, and write what was asked for. The code of a directory that is not there."""
    results, about = found.results, found.about
    print(f"{report.checks(results)}\n\n{about['pinning']}\nsvidecar: {about['svidecar']}\n{report.text(results)}")
    try:
        if options.json is not None:
            report.write_json(options.json, results, about)
            compare.progress(f"written: {options.json}")
        if results.turns:
            options.report.write_text(page.html(results, about))
            compare.progress(f"written: {options.report}")
    except OSError as error:
        return _say(error, EXIT_FAILED)
    return 0


def _verdict(results: Results) -> int:
    if not results.turns:
        return _say("nothing was measured: a contender that does not do the work must not be timed on it", EXIT_FAILED)
    loads = [load for turn in results.turns if turn.rest for load in turn.loads.values()]
    if noisy := sum(load.noisy for load in loads):
        compare.progress(f"{noisy} of {len(loads)} loads were noisy: run it again when the machine is quiet")
    lost = results.lost()
    return _say(f"no good round: {', '.join(lost)}", EXIT_FAILED) if lost else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    alone = verbs.add_parser("run", help="svidecar against no proxy (the default)")
    _measuring(alone, _compare, ("svidecar", "direct"), Plan(rounds=3, seconds=3, rate_seconds=RATE_S, scenarios=USUAL))
    beside = verbs.add_parser("compare", help="beside the others")
    _measuring(beside, _compare, COMPARED, Plan(rounds=5, seconds=5, rate_seconds=RATE_S, scenarios=USUAL))
    gated = verbs.add_parser("gate", help="fails if a figure leaves the budget")
    _measuring(gated, _gate, gate.CONTENDERS, gate.PLAN)
    flame = verbs.add_parser("profile", help="a flame graph of a sidecar under load")
    flame.set_defaults(does=_profile)
    flame.add_argument("--side", choices=("ingress", "egress"), default="ingress", help="which sidecar (ingress)")
    flame.add_argument("--tool", choices=profile.TOOLS, help="the first of them that is here")
    flame.add_argument("--scenario", choices=profile.SCENARIOS, default="one-token", help="the load (one-token)")
    flame.add_argument("--seconds", type=_positive, default=10, help="of samples (10)")
    flame.add_argument("--out", type=_file, default=Path("flame.svg"), help="where to (flame.svg)")
    return parser


def _measuring(
    parser: argparse.ArgumentParser,
    does: Callable[[argparse.Namespace], int],
    contenders: tuple[str, ...],
    plan: Plan,
) -> None:
    parser.set_defaults(does=does, contenders=contenders)
    add = parser.add_argument
    add("--rounds", type=_positive, default=plan.rounds, help=f"each with fresh processes ({plan.rounds})")
    add("--seconds", type=_positive, default=plan.seconds, help=f"of each main load in a round ({plan.seconds})")
    add("--rate-seconds", type=_positive, default=plan.rate_seconds, help=f"at a fixed rate ({plan.rate_seconds})")
    add("--connections", type=_positive, default=CONNECTIONS, help=f"unless a scenario says ({CONNECTIONS})")
    add("--only", type=_some_of(CONTENDERS), metavar="A,B", help=f"of: {','.join(CONTENDERS)}")
    add("--scenarios", type=_some_of(SCENARIOS), default=plan.scenarios, metavar="A,B", help="of those below, or all")
    add("--interpreted", action="store_true", help="svidecar as plain Python even where it can be compiled")
    add("--json", type=_file, metavar="OUT", help="write every raw figure there")
    add("--report", type=_file, metavar="OUT", default=Path("report.html"), help="where to (report.html)")
    add("--keep", type=Path, metavar="DIR", help="keep configurations, keys and logs there")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _file(text: str) -> Path:
    """One that can be written: known before half an hour of measuring, not after."""
    path = Path(text)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written")
    return path


def _some_of(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    names = tuple(known)

    def parse(text: str) -> tuple[str, ...]:
        if text == "all":
            return names
        wanted = tuple(dict.fromkeys(text.split(",")))
        if unknown := [name for name in wanted if name not in names]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: not one of {', '.join(names)}")
        return wanted

    return parse


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(what: object, code: int) -> int:
    compare.progress(f"loadtest: {what}")
    return code

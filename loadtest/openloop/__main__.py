"""``python -m loadtest.openloop``: latency at a fixed rate, counted from when each request was meant to be sent."""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

from loadtest.openloop.account import Report
from loadtest.openloop.client import CannotConnect, Client
from loadtest.openloop.request import BadRequestLine, Target, requests
from loadtest.openloop.schedule import Schedule
from loadtest.report import table

EXIT_BAD, EXIT_UNREACHABLE = 1, 3  # 2 is argparse's
HEADS = ("", "p50", "p75", "p90", "p99", "p99.9", "p99.99", "max")
ROWS = (("latency ms", "percentiles_ms"), ("service ms", "service_percentiles_ms"), ("own lag ms", "lag_ms"))


def main() -> int:
    """0: measured. 1: measured, but the figures may not be used (``bad`` says why). 2: usage. 3: cannot connect."""
    parser = _parser()
    options = parser.parse_args()
    try:
        report = measure(options)
    except (BadRequestLine, OSError, UnicodeDecodeError) as wrong:
        parser.error(str(wrong))
    except CannotConnect as failed:
        print(f"openloop: {failed}", file=sys.stderr)
        return EXIT_UNREACHABLE
    print(json.dumps(report.figures) if options.json else text(report.figures))
    return EXIT_BAD if report.bad else 0


def measure(options: argparse.Namespace) -> Report:
    """One run, as the options say."""
    target = Target.parse(options.url)
    tokens = options.tokens.read_text().split() if options.tokens is not None else ()
    if options.tokens is not None and not tokens:
        raise BadRequestLine("there is no token in the file")
    asked = requests(target, options.header, tokens)
    schedule = Schedule(rate=options.rate, seconds=options.seconds, warmup=options.warmup)
    with Client(target, options.connections, timeout_s=options.timeout) as client:
        return client.run(schedule, asked, random.random if options.jitter else None)


def text(figures: dict[str, Any]) -> str:
    """For a person."""
    rows = [HEADS, *((name, *(_ms(figures[key][head]) for head in HEADS[1:])) for name, key in ROWS)]
    counts = ("requested", "sent", "completed", "waited_for_a_connection", "seconds", "cpu_share")
    told = ", ".join(f"{name.replace('_', ' ')} {figures[name]}" for name in counts)
    errors = ", ".join(f"{count} {kind}" for kind, count in figures["errors"].items()) or "none"
    verdict = f"BAD: {figures['bad']}" if figures["bad"] else "the client kept its rate"
    return f"{table(rows)}\n{told}\nerrors: {errors}\n{verdict}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.openloop", description=__doc__)
    parser.add_argument("--url", required=True, help="http://host:port/path; a Host field may be given by --header")
    parser.add_argument("--rate", type=_positive, required=True, help="requests a second, over all connections")
    parser.add_argument("--connections", type=_count, required=True, help="opened before the clock starts, and kept")
    parser.add_argument("--seconds", type=_positive, required=True, help="that count")
    parser.add_argument("--warmup", type=_not_negative, default=0.0, help="seconds before, which do not (0)")
    parser.add_argument("--header", action="append", default=[], metavar="'K: V'", help="a field of every request")
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="one a line: each request has the next as Txn-Token"
    )
    parser.add_argument("--jitter", action="store_true", help="move each request within its slot of the schedule")
    parser.add_argument("--timeout", type=_positive, default=10.0, help="seconds for an answer (10)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser


def _positive(raw: str) -> float:
    if not 0 < (number := float(raw)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def _not_negative(raw: str) -> float:
    return 0.0 if float(raw) == 0 else _positive(raw)


def _count(raw: str) -> int:
    if (number := int(raw)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())

"""``svidecar tap``: watch what a sidecar on this machine decides, as it decides it.

A line for each request, connection and tunnel that ends, as the access log would have it; or, with ``--json``, exactly
the lines of the access log.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult

from proxy.admin.ask import Answer, NoAnswer, ask, clean

ENDED: Final = 0
FAILED: Final = 1
"""Exit codes; 2 is a command line that cannot be understood."""

_ATTEMPT_S: Final = 20.0
"""Of one question: the sidecar answers within ten seconds, if only that nothing came."""

_MAX_ANSWER: Final = 8 << 20
_FULL: Final = 503
_FILTERS: Final = ("direction", "decision", "reason", "rule", "peer", "txn")


class NotATap(Exception):
    """What answers there is no sidecar, or none that can be watched."""


def main(options: argparse.Namespace) -> int:
    """Watch until ``--count`` lines were shown, the sidecar ends, or somebody interrupts; give the exit code."""
    wanted = {name: value for name in _FILTERS if (value := getattr(options, name)) is not None}
    shown, after = 0, None
    try:
        while options.count is None or shown < options.count:
            number, missed, records = _look(options.url, after)
            if missed is None:
                sys.stderr.write("we were away for long, and what came meanwhile was missed\n")
            elif missed:
                sys.stderr.write(f"{missed} came too fast and were missed\n")
            for record in records:
                if all(record.get(name) == value for name, value in wanted.items()) and shown != options.count:
                    sys.stdout.write(f"{json.dumps(record) if options.json else told(record)}\n")
                    shown += 1
            sys.stdout.flush()
            after = number
    except NoAnswer as error:
        return _fail(f"{error}; is a sidecar running, and is this its admin.listen?" if after is None else str(error))
    except NotATap as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        pass
    return ENDED


def _look(url: SplitResult, after: int | None) -> tuple[int, int | None, list[dict[str, Any]]]:
    """Ask what came since. Raises NoAnswer, NotATap."""
    answer = ask(url._replace(query="" if after is None else f"after={after}"), _ATTEMPT_S, max_bytes=_MAX_ANSWER)
    if answer.status == _FULL:
        raise NotATap(f"{url.netloc} answers {answer.status}: as many look on as may; come again in ten seconds")
    try:
        return _read(answer)
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        said = f"{url.netloc} answers {answer.status}, and nothing to watch: is this the admin.listen of a sidecar?"
        raise NotATap(said) from error


def _read(answer: Answer) -> tuple[int, int | None, list[dict[str, Any]]]:
    data = json.loads(answer.body)
    number, missed, records = data["next"], data["missed"], data["records"]
    if answer.status != 200 or not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise ValueError("no records")
    return int(number), None if missed is None else int(missed), records


def told(record: Mapping[str, Any]) -> str:
    """Write a record for a person: when, which way, what was decided and why, who called what, how long it took."""
    what = " ".join(str(record[name]) for name in ("method", "route", "destination") if name in record)
    parts = [
        str(record.get("time", ""))[11:23],
        f"{record.get('direction', '')!s:8}",
        f"{record.get('decision', '')!s:5}",
        str(record.get("status", "-")),
        str(record.get("reason") or "-"),
        str(record.get("peer") or "the app"),
        what or str(record.get("kind", "")),
    ]
    if (whole := _ms(record, "duration_s")) is not None:
        own = _ms(record, "overhead_s")
        parts.append(f"{whole:.2f} ms" if own is None else f"{whole:.2f} ms ({own:.2f} ours)")
    parts += [f"{name} {record[name]}" for name in ("rule", "txn", "actor") if record.get(name)]
    return clean("  ".join(parts))


def _ms(record: Mapping[str, Any], name: str) -> float | None:
    """Read a time; whoever answers at that port may have written anything."""
    value = record.get(name)
    return value * 1e3 if isinstance(value, float) else None


def _fail(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return FAILED

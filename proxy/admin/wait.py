"""``svidecar wait``: come back when the sidecar is ready, or say which gate is not.

It is also the health check of the container (``--timeout 0`` looks once), so it needs nothing but the standard library.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult

from proxy.admin.ask import NoAnswer, ask, clean, http_url, seconds

READY: Final = 0
NOT_READY: Final = 1
"""Exit codes; 2 is a command line that cannot be understood."""

DEFAULT_URL: Final = "http://127.0.0.1:15021/healthz/ready"
_PERIOD_S: Final = 0.2
_ATTEMPT_S: Final = 2.0
"""Of one question: an answer from loopback takes milliseconds."""


def main(args: Sequence[str]) -> int:
    """Wait as the arguments say and give the exit code."""
    parser = argparse.ArgumentParser(prog="svidecar wait", description="Wait until the sidecar is ready.")
    parser.add_argument("--url", type=http_url, default=DEFAULT_URL, help="what to ask (default: %(default)s)")
    parser.add_argument("--timeout", type=seconds, default=60.0, help="seconds; 0 looks once (default: %(default)g)")
    options = parser.parse_args(args)
    until = time.monotonic() + options.timeout
    while True:
        why = _why_not(options.url)
        if why is None:
            return READY
        if time.monotonic() + _PERIOD_S > until:
            sys.stderr.write("".join(f"not ready: {line}\n" for line in why))
            return NOT_READY
        time.sleep(_PERIOD_S)


def _why_not(url: SplitResult) -> list[str] | None:
    """Ask once; None when ready."""
    try:
        answer = ask(url, _ATTEMPT_S)
    except NoAnswer as error:
        return [str(error)]
    return None if answer.status == 200 else _closed(answer.status, answer.body)


def _closed(status: int, body: bytes) -> list[str]:
    """Name the gates that the answer names; another program on that port may answer anything."""
    try:
        gates = json.loads(body)["gates"]
        closed = [f"{name}: {gate['detail']}" for name, gate in gates.items() if not gate["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        closed = []
    return [clean(line) for line in closed] or [f"the answer is {status}, without the name of a gate"]

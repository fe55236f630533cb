"""``svidecar wait``: come back when the sidecar is ready, or say which gate is not.

It is also the health check of the container (``--timeout 0`` looks once), so it needs nothing but the standard library.
"""

import argparse
import http.client
import json
import sys
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

READY: Final = 0
NOT_READY: Final = 1
"""Exit codes; 2 is a command line that cannot be understood."""

DEFAULT_URL: Final = "http://127.0.0.1:15021/healthz/ready"
_URL_FORM: Final = "must be http://host:port/path"
_PERIOD_S: Final = 0.2
_ATTEMPT_S: Final = 2.0
"""Of one question: an answer from loopback takes milliseconds."""
_MAX_ANSWER: Final = 65536
_MAX_TIMEOUT_S: Final = 86400


def main(args: Sequence[str]) -> int:
    """Wait as the arguments say and give the exit code."""
    parser = argparse.ArgumentParser(prog="svidecar wait", description="Wait until the sidecar is ready.")
    parser.add_argument("--url", type=_http_url, default=DEFAULT_URL, help="what to ask (default: %(default)s)")
    parser.add_argument("--timeout", type=_seconds, default=60.0, help="seconds; 0 looks once (default: %(default)g)")
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


def _http_url(raw: str) -> SplitResult:
    try:
        url = urlsplit(raw)
        port = url.port  # raises where it is no port
    except ValueError as error:
        raise argparse.ArgumentTypeError(_URL_FORM) from error
    if url.scheme != "http" or not url.hostname or port == 0:
        raise argparse.ArgumentTypeError(_URL_FORM)
    return url


def _seconds(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = -1
    if not 0 <= value <= _MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to {_MAX_TIMEOUT_S}")
    return value


def _why_not(url: SplitResult) -> list[str] | None:
    """Ask once; None when ready."""
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=_ATTEMPT_S)
    try:
        connection.request(
            "GET", urlunsplit(("", "", url.path or "/", url.query, "")), headers={"Accept": "application/json"}
        )
        answer = connection.getresponse()
        body = answer.read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        return [f"no answer from {url.netloc}: {_clean(str(error) or type(error).__name__)}"]
    finally:
        connection.close()
    return None if answer.status == 200 else _closed(answer.status, body)


def _closed(status: int, body: bytes) -> list[str]:
    """Name the gates that the answer names; another program on that port may answer anything."""
    try:
        gates = json.loads(body)["gates"]
        closed = [f"{name}: {gate['detail']}" for name, gate in gates.items() if not gate["ok"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        closed = []
    return [_clean(line) for line in closed] or [f"the answer is {status}, without the name of a gate"]


def _clean(text: str) -> str:
    """Keep a terminal from obeying what the other side wrote."""
    return "".join(c if c.isprintable() else "?" for c in text)[:500]

"""``svidecar drain``: let the sidecar on this machine end in good order, as SIGTERM does; wait for it if asked to.

For whoever may not send a signal: a hook that runs before a pod ends, a script, another user. What ending means stands
in ``supervisor/worker.py``.
"""

import argparse
import sys
import time
from typing import Final

from proxy.admin.ask import NoAnswer, NobodyThere, ask

DONE: Final = 0
FAILED: Final = 1
"""Exit codes; 2 is a command line that cannot be understood."""

_ATTEMPT_S: Final = 2.0
_PERIOD_S: Final = 0.1


def main(options: argparse.Namespace) -> int:
    """Begin it, and wait as long as the options say; give the exit code."""
    url = options.url
    try:
        answer = ask(url, _ATTEMPT_S, method="POST")
    except NoAnswer as error:
        return _fail(f"{error}; is a sidecar running, and is this its admin.listen?")
    if answer.status != 202:
        return _fail(f"{url.netloc} does not drain, it answers {answer.status}: is this the admin.listen of a sidecar?")
    until = time.monotonic() + options.timeout
    while (left_s := until - time.monotonic()) > 0:
        try:
            ask(url._replace(path="/healthz/live"), min(_ATTEMPT_S, left_s))
        except NobodyThere:
            return DONE
        except NoAnswer:  # it is busy, or has no room: it has not ended
            pass
        time.sleep(_PERIOD_S)
    return _fail(f"it has not ended within {options.timeout:g} s, and goes on ending") if options.timeout else DONE


def _fail(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return FAILED

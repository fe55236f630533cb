"""The command line of ``svidecar``: ``options.py`` reads it, ``verbs.py`` does it."""

import os
import sys
from collections.abc import Sequence

from proxy.cli.options import parser
from proxy.cli.verbs import FAILED, OK, USAGE

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit code."""
    options = parser().parse_args(argv)
    try:
        code: int = options.verb(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python flushes once more at its end: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code

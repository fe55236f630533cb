"""The command line of ``svidecar``: ``options.py`` reads it, ``verbs.py`` does it."""

import errno
import os
import sys
from collections.abc import Sequence

from proxy.cli.options import parser
from proxy.cli.parser import read
from proxy.cli.verbs import FAILED, OK, USAGE

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "main"]

INTERRUPTED = 130

_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO}


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit code."""
    whole, words = parser(), sys.argv[1:] if argv is None else argv
    if not words:
        whole.print_help(sys.stderr)
        return USAGE
    options = read(whole, words)
    try:
        code: int = options.verb(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        # The reader (head, less) has seen enough, or the disk is full. Python flushes once more at its end: give it
        # somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return OK
        sys.stderr.write(f"svidecar: the output cannot be written: {error.strerror}\n")
        return FAILED
    return code

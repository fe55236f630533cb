"""The command line, as argparse reads it, but for one thing: no token is taken as a word, and none is repeated.

A new user gives the token as a word. There it stands in the list of processes for all to see; and a message about a
mistake, argparse's or of a file with that name, would print it whole, signature and all, into a terminal or a log.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_.-]{10,}")
_WORD: Final = re.compile(
    r"(?:--[a-z-]+=)?(?:txn-token: *|bearer +)?eyJ[\w-]*\.[\w-]*\.[\w.-]*", re.ASCII | re.IGNORECASE
)


class Parser(argparse.ArgumentParser):
    """See the module. Those of the verbs are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with the exit code of usage."""
        super().error(_TOKEN.sub("[token]", message))


def read(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the words; None are those of this process."""
    words = sys.argv[1:] if argv is None else argv
    if any(_WORD.fullmatch(word) for word in words):
        parser.error("a token is no word of a command, where all can see it: it comes on standard input")
    return parser.parse_args(words)

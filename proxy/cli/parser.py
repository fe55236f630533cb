"""The command line, as argparse reads it, but for one thing: what it says about a mistake repeats no token.

A new user gives the token as a word, and argparse would print it whole, signature and all, into a terminal or a log.
"""

import argparse
import re
from typing import Final, NoReturn

_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_.-]{10,}")


class Parser(argparse.ArgumentParser):
    """See the module. Those of the verbs are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with the exit code of usage."""
        said = _TOKEN.sub("[token]", message)
        super().error(
            said if said == message else f"{said}\na token is no word of a command: it comes on standard input"
        )

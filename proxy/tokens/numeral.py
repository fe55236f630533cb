"""Numbers as they are written in JSON: two numerals may have one value, and one numeral may have two readers.

Without ``decimal``: its module costs a process 350 KB, and all that is asked here is whether two are equal.
"""

import re
from typing import Final

_NUMERAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")


class Inexact(float):
    """A number that was written with more than a double holds."""

    __slots__ = ()


def same_number(one: str, other: str) -> bool:
    """Whether two numerals of JSON (RFC 8259 section 6) have the same value. Raises ValueError for anything else."""
    return _value(one) == _value(other)


def _value(numeral: str) -> tuple[str, str, int]:
    found = _NUMERAL.fullmatch(numeral)
    if found is None:
        raise ValueError("not a number of JSON")
    sign, whole, part, power = found.groups(default="")
    digits = (whole + part).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "", "", 0
    return sign, significant, int(power or 0) - len(part) + len(digits) - len(significant)

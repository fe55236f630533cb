"""What is wrong with a configuration, where, and what would be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from proxy import errors

MAX_PROBLEMS = 100
"""More than a person reads; a file of another kind would otherwise fill the terminal."""
MAX_LOGGED = 10
"""Problems in the one line of log that a refused reload is told in."""

MAX_KEY = 80
"""Characters of a key that a path repeats: three times our longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend. ``line`` counts from 1; it is None where there is no file to point into."""

    path: str
    line: int | None
    message: str

    def told(self, file: str, *, degree: str = "") -> str:
        """One line, as compilers write it: ``file:17: path: message``, which editors jump to."""
        where = file if self.line is None else f"{file}:{self.line}"
        return ": ".join(part for part in (where, degree, self.path, self.message) if part)


class ConfigInvalid(errors.ConfigInvalid, group=True):
    """The configuration is refused, with every reason at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.told("the file") for problem in problems[:MAX_LOGGED]))
        self.problems = tuple(problems)


class ConfigUnreadable(ConfigInvalid, group=True):
    """There is no such file, or it cannot be read: a mistake of the call, not of the content."""


class Bad(Enum):
    """Stands where a value should be; the problem has been told already."""

    BAD = "bad"
    LATER = "later"  # well meant, but of a later release: what else is missing beside it need not be told


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader is, and where it puts what it finds wrong."""

    path: str
    problems: list[Problem]
    homes: Mapping[str, str] = field(default_factory=dict)  # key -> where in the file it belongs

    def key(self, name: str) -> "Place":
        """The place of one key of the mapping here."""
        printable = name if name.isprintable() else ascii(name)
        word = printable if len(printable) <= MAX_KEY else printable[:MAX_KEY] + "..."
        return replace(self, path=f"{self.path}.{word}" if self.path else word)

    def item(self, index: int) -> "Place":
        """The place of one item of the list here."""
        return replace(self, path=f"{self.path}[{index}]")

    def refuse(self, line: int | None, message: str) -> Bad:
        """Note a problem; its answer stands for the value."""
        self.problems.append(Problem(path=self.path, line=line, message=message))
        return Bad.BAD


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """From the top of the file to its end, each once, and not more than a person reads."""
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)
    if len(ordered) <= MAX_PROBLEMS:
        return tuple(ordered)
    rest = Problem(path="", line=None, message=f"and {len(ordered) - MAX_PROBLEMS} more problems")
    return (*ordered[:MAX_PROBLEMS], rest)

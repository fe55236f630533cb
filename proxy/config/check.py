"""``svidecar check``: is it valid, what is surprising about it, and what would it do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxy.config.advice import advise
from proxy.config.load import load_with_lines
from proxy.config.problem import ConfigInvalid, Problem
from proxy.config.summary import summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found. Without problems the configuration is valid; warnings do not change that."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    summary: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {"valid": not self.problems, **asdict(self)}


def check(path: Path, environ: Mapping[str, str], now: float) -> Report:
    """Read the file, and the files that it names.

    Raises:
        ConfigUnreadable: there is no such file, or it cannot be read.
        ConfigInvalid: its content is refused, for every reason in ``.problems``.

    """
    loaded = load_with_lines(path, environ)
    warnings = (
        Problem(path=where, line=_line(where, loaded.lines), message=message)
        for where, message in advise(loaded.settings, now)
    )
    return Report(warnings=tuple(warnings), summary=tuple(summarise(loaded.settings)))


def refusal(invalid: ConfigInvalid) -> Report:
    """The report of a configuration that was refused."""
    return Report(problems=invalid.problems)


def _line(path: str, lines: Mapping[str, int]) -> int | None:
    """The line of what is written there, or around it; a default stands nowhere."""
    while path not in lines and "." in path:
        path = path.rpartition(".")[0]
    return lines.get(path)

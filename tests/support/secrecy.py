"""What no log line, metric or record may hold: a token, or what could be one.

Whoever starts a process of ours says here where its words are; what is logged in the process of the tests is heard as
well. After each file of tests all of it is read (``tests/conftest.py``).
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

_JWS = re.compile(r"eyJ[A-Za-z0-9_-]{10,}")
"""The beginning of a JOSE header, or of claims: base64url of an object. No hash and no name of ours looks like it."""

_RECORDS = ("*.log*", "*.jsonl*", "*audit*")
"""Files that a process of ours writes for people and machines to read later."""

_OURS = ("proxy", "svidecar")

_witnesses: list[tuple[str, Callable[[], str]]] = []


def leaks(text: str) -> list[str]:
    """Return the lines in which something like a token stands, cut short before it."""
    return [line[: match.start()][-200:] for line in text.splitlines() if (match := _JWS.search(line))]


def listen_to(name: str, words: Callable[[], str]) -> None:
    """Read ``words`` when the file of tests is done."""
    _witnesses.append((name, words))


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Hear every log line of this process, as it would be written."""
    ear = _Ear()
    logging.getLogger().addHandler(ear)
    before = {logger: logger.level for logger in map(logging.getLogger, _OURS)}
    for logger in before:
        logger.setLevel(logging.DEBUG)
    listen_to("the tests' own process", lambda: "\n".join(ear.heard))
    try:
        yield
    finally:
        logging.getLogger().removeHandler(ear)
        for logger, level in before.items():
            logger.setLevel(level)


def records_in(folder: Path) -> str:
    """Give what stands in the records below a folder."""
    files = {path for pattern in _RECORDS for path in folder.rglob(pattern) if path.is_file()}
    return "\n".join(path.read_text(errors="replace") for path in sorted(files))


def overheard() -> dict[str, list[str]]:
    """Give what was said since the last time and should not have been, by who said it."""
    told = [(name, leaks(words())) for name, words in _witnesses]
    _witnesses.clear()
    return {name: found for name, found in told if found}


class _Ear(logging.Handler):
    """Keeps the lines in which a token stands, and no others."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if leaks(line):
            self.heard.append(line)

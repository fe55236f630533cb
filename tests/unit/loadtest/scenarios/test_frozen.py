"""Who freezes others must let all of them go again."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.scenarios.frozen import Tally, freezing


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process group of its own."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


def _stopped(pid: int) -> bool:
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_frozen_again_and_again_and_let_go_of_at_the_end(sleeper: int) -> None:
    """Whenever the block ends, also in the middle of a freeze."""
    tally, seen = Tally(), False
    with freezing({"app": sleeper}, random.Random(1), tally):
        until = time.monotonic() + 20
        while tally.frozen["app"] < 3 and time.monotonic() < until:
            seen = seen or _stopped(sleeper)
        while not _stopped(sleeper) and time.monotonic() < until:
            pass
    assert seen
    assert tally.frozen["app"] >= 4
    assert not _stopped(sleeper)


def test_nobody_is_frozen_where_nobody_is_named() -> None:
    """``--calm``."""
    tally = Tally()
    with freezing({}, random.Random(1), tally):
        pass
    assert not tally.frozen
    assert [title for title, _ in tally.tables()] == ["Bodies of 10 MB"]


def test_what_was_lost_stands_in_its_own_row() -> None:
    """And is counted by its way."""
    tally = Tally(failures=["upload after 0.100 s: Refused: 502", "upload of 9 bytes: 8 arrived, or others"])
    tally.whole["download"] = 3
    assert tally.tables()[0][1] == [("", "whole", "lost"), ("upload", "0", "2"), ("download", "3", "0")]

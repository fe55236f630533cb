"""The table is for people: it fits, it is aligned, and what is wrong cannot be overlooked."""

import re
from dataclasses import replace

import pytest

from proxy.demo.cases import CASES
from proxy.demo.outcome import Hop, Outcome
from proxy.demo.table import EXPLANATION, table

SLOW_US = 99_999


def outcomes(overhead_us: int = 50) -> list[Outcome]:
    """All cases as they should be."""
    return [
        Outcome(
            case=case,
            verdict=case.verdict,
            reason=case.reason,
            status=case.status,
            txn="0123456789abcdef",
            hops=tuple(Hop(way, overhead_us if case.status else None) for way in case.ways),
            wrong=(),
        )
        for case in CASES
    ]


@pytest.mark.parametrize("overhead_us", [0, 50, SLOW_US // 2])
def test_it_fits_a_terminal(overhead_us: int) -> None:
    """120 columns of ASCII; nothing that a plain terminal would show as dirt."""
    shown = table(outcomes(overhead_us), colours=False)
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 120
    assert not re.search(r"[^\x20-\x7e\n]", shown)


def test_columns_stand_below_each_other() -> None:
    """Each row has a cell, or a hyphen, below the rule of every column."""
    lines = table(outcomes(), colours=False).splitlines()
    rule = next(line for line in lines if line.startswith("---"))
    gaps = [at for at, c in enumerate(rule) if c == " "]
    rows = [line.ljust(len(rule)) for line in lines[lines.index(rule) + 1 :] if line.startswith("  ")]
    assert len(rows) == len(CASES)
    assert all(row[at] == " " for row in rows for at in gaps)


def test_each_hop_has_its_caller_and_its_time() -> None:
    """Two passes through one sidecar are added up."""
    shown = table(outcomes(), colours=False)
    assert re.search(r"edge places an order.* allow 201 +- +01234567 +50 +/edge +100 +/orders +50\n", shown)
    assert re.search(r"no token.* deny  401 +token_missing .* - +/edge +50 +- +-\n", shown)
    assert re.search(r"plaintext.* deny  - +plaintext .* - +- +- +- +-\n", shown)


def test_it_explains_itself_in_two_lines() -> None:
    """Then a heading of two lines."""
    assert tuple(table(outcomes(), colours=False).splitlines()[:2]) == EXPLANATION


def test_all_well_is_said() -> None:
    """In one line at its end."""
    assert table(outcomes(), colours=False).endswith(f"\nAll {len(CASES)} cases ended as they should.\n")


@pytest.mark.parametrize("colours", [False, True])
def test_what_is_wrong_is_loud(*, colours: bool) -> None:
    """Below its row and at the end, also without colours."""
    some = outcomes()
    some[4] = replace(some[4], verdict="allow", wrong=("expected deny token_missing", "and more"))
    shown = table(some, colours=colours)
    assert "!! NOT AS IT SHOULD BE: expected deny token_missing" in shown
    assert "!! NOT AS IT SHOULD BE: and more" in shown
    assert f"1 of {len(CASES)} cases are NOT as they should be." in shown
    assert ("\x1b[1;31m" in shown) is colours


def test_colours_change_no_width() -> None:
    """Without them it is the same text."""
    plain, coloured = (table(outcomes(), colours=colours) for colours in (False, True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "\x1b" not in plain

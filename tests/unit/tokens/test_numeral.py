"""numeral.py: whether two numerals have one value; ``decimal`` is the judge."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.numeral import same_number

NUMERALS = st.from_regex(r"-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMERALS, NUMERALS)
def test_any_two(one: str, other: str) -> None:
    """It is what exact arithmetic says."""
    assert same_number(one, other) == (Decimal(one) == Decimal(other))


@given(NUMERALS, st.integers(-5, 5))
def test_one_value_in_another_spelling(one: str, moved: int) -> None:
    """A point that is moved and an exponent that makes up for it change nothing."""
    assert same_number(one, f"{Decimal(one).scaleb(moved):f}e{-moved}")


@pytest.mark.parametrize(
    ("one", "other"), [("0", "-0"), ("0.0", "0e9"), ("1", "1.0"), ("100", "1e2"), ("1E-2", "0.01"), ("-1.50", "-15e-1")]
)
def test_equal(one: str, other: str) -> None:
    """Zero has no sign, and no zero at an end counts."""
    assert same_number(one, other)


@pytest.mark.parametrize(("one", "other"), [("1", "-1"), ("10", "1"), ("0.1", "0.10000000000000001"), ("1e1", "1e2")])
def test_not_equal(one: str, other: str) -> None:
    """Not even where a double would hold both."""
    assert not same_number(one, other)


@pytest.mark.parametrize("other", ["", "+1", "inf", "nan", "1_0", "\u0661", ".5", "1.", " 1", "0x1"])
def test_what_is_no_number(other: str) -> None:
    """It is refused, not compared."""
    with pytest.raises(ValueError, match="not a number"):
        same_number("1", other)

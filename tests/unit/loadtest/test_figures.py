"""Medians and ratios."""

from loadtest.figures import Figure, figure, ratio


def test_a_figure_is_the_median_and_the_spread() -> None:
    """Of an odd and of an even number of rounds."""
    assert figure([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0, 3)
    assert figure([1.0, 2.0]) == Figure(1.5, 1.0, 2.0, 2)


def test_no_good_round_is_no_figure() -> None:
    """Not a zero, which would look like a very good one."""
    assert figure([]) is None
    assert ratio({1: 2.0}, {2: 1.0}) is None


def test_a_ratio_is_taken_inside_each_round() -> None:
    """A machine that turned twice as slow in the second round changes nothing; a round that one lacks is left out."""
    assert ratio({1: 10.0, 2: 20.0, 3: 5.0}, {1: 40.0, 2: 80.0}) == Figure(0.25, 0.25, 0.25, 2)

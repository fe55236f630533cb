"""Medians, spreads and ratios. Pure.

A machine is not equally fast from minute to minute, so a ratio is taken between neighbours in one round, and only
then over the rounds.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some rounds, and the least and the greatest of them."""

    median: float
    low: float
    high: float
    rounds: int


def figure(values: Sequence[float]) -> Figure | None:
    """None where every round was bad."""
    return Figure(statistics.median(values), min(values), max(values), len(values)) if values else None


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Figure | None:
    """The ratio in each round that has both, by round number."""
    return figure([over[number] / under[number] for number in sorted(over.keys() & under.keys()) if under[number]])

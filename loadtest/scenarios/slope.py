"""Growth as a fitted line with its confidence, not as a glance at the first value and the last. Pure."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TWO_SIDED = 0.975
"""Of 95 %."""
MOST_ALIKE = 0.6  # of a walk of 50 steps nearly every fit finds more
LEAST_FREEDOM = 3.0  # fewer, and nothing can be said


class Verdict(StrEnum):
    """What the interval says about a bound."""

    STEADY = "steady"
    GROWS = "GROWS"
    UNSURE = "UNSURE"


@dataclass(frozen=True, slots=True)
class Slope:
    """``each`` of y for one of x; the true one is between ``low`` and ``high`` with 95 % confidence."""

    each: float
    low: float
    high: float
    samples: int

    def verdict(self, bound: float) -> Verdict:
        """Steady only if it is shown: the whole interval is at most ``bound``."""
        if self.high <= bound:
            return Verdict.STEADY
        return Verdict.GROWS if self.low > bound else Verdict.UNSURE


def fit(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """Least squares, from samples in the order of time; no two have the same x.

    Neighbours in time resemble each other, so that n samples are worth n (1 - r) / (1 + r) independent ones only, where
    r is the correlation of each deviation with the next (AR(1)). Where they resemble each other too much, the values
    walk rather than scatter around a line, as memory does that is taken in steps: then the steps are independent.
    """
    line = statistics.linear_regression(xs, ys)
    deviations = [y - (line.intercept + line.slope * x) for x, y in zip(xs, ys, strict=True)]
    squares = math.fsum(d * d for d in deviations)
    if squares == 0.0:
        return Slope(line.slope, line.slope, line.slope, len(xs))
    alike = max(math.fsum(a * b for a, b in itertools.pairwise(deviations)) / squares, 0.0)
    freedom = len(xs) * (1 - alike) / (1 + alike) - 2
    if alike > MOST_ALIKE or freedom < LEAST_FREEDOM:
        return _walk(xs, ys)
    mean = statistics.fmean(xs)
    spread = math.fsum((x - mean) ** 2 for x in xs)
    around = student(freedom) * math.sqrt(squares / freedom / spread)
    return Slope(line.slope, line.slope - around, line.slope + around, len(xs))


def _walk(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """The mean step, and how sure it is; steps are weighed by their length."""
    lengths = [after - before for before, after in itertools.pairwise(xs)]
    steps = [after - before for before, after in itertools.pairwise(ys)]
    each, whole = (ys[-1] - ys[0]) / (xs[-1] - xs[0]), xs[-1] - xs[0]
    freedom = len(steps) - 1
    squares = math.fsum((step - each * length) ** 2 / length for step, length in zip(steps, lengths, strict=True))
    around = student(freedom) * math.sqrt(squares / freedom / whole) if freedom >= LEAST_FREEDOM else math.inf
    return Slope(each, each - around, each + around, len(xs))


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, to 1 % from 3 degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z = statistics.NormalDist().inv_cdf(TWO_SIDED)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))

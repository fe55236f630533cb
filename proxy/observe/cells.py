"""The numbers behind the metrics, as small as Python lets them be.

One loop owns them: it counts, and it renders them when a scrape comes, so there is no lock. A cell knows nothing of
names and labels; who counts holds the cell itself (``catalog`` hands it out), so that counting is one call.
"""

from bisect import bisect_left
from collections.abc import Callable


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, n: int = 1) -> None:
        """Count ``n`` more; never less than 0."""
        self.value += n


class Gauge:
    """A number that goes both ways."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """It is this now."""
        self.value = value

    def inc(self, n: float = 1) -> None:
        """It is ``n`` more now."""
        self.value += n

    def dec(self, n: float = 1) -> None:
        """It is ``n`` less now."""
        self.value -= n


class Age:
    """Seconds since something last went well, computed when it is asked for; no value before the first time."""

    __slots__ = ("_now", "since")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.since: float | None = None

    @property
    def value(self) -> float | None:
        """Never negative: a clock that was set back makes an age of 0."""
        return None if self.since is None else max(0.0, self._now() - self.since)


class Reading:
    """A number that another room keeps, read when it is asked for; no value until that room has named its reader."""

    __slots__ = ("read",)

    def __init__(self) -> None:
        self.read: Callable[[], float] | None = None

    @property
    def value(self) -> float | None:
        """What the reader says."""
        return None if self.read is None else self.read()


class Histogram:
    """Counts by upper bound, and the sum. ``counts`` are not cumulative, and its last one has no bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count it under the first bound that is not below it."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


Cell = Counter | Gauge | Age | Reading | Histogram

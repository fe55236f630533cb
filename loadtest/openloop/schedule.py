"""When each request is meant to be sent. Pure: from the rate, never from what came before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """``rate`` requests a second: first ``warmup`` seconds that do not count, then ``seconds`` that do."""

    rate: float
    seconds: float
    warmup: float = 0.0

    @property
    def before(self) -> int:
        """Requests that do not count."""
        return round(self.rate * self.warmup)

    @property
    def counted(self) -> int:
        """Requests that do."""
        return max(round(self.rate * self.seconds), 1)

    @property
    def total(self) -> int:
        """All."""
        return self.before + self.counted

    def offsets_ns(self, jitter: Callable[[], float] | None = None) -> Iterator[int]:
        """Nanoseconds from the start at which each is meant to be sent, in order.

        ``jitter`` (0 to 1, 1 not included) moves each within its own slot, so that nothing beats in time with a timer
        of the other side, and the rate stays what it is to the last request.
        """
        slot = SECOND_NS / self.rate
        for number in range(self.total):
            yield int((number + jitter()) * slot) if jitter is not None else int(number * slot)

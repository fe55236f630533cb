"""Memory and descriptors of both sides while something is done to them, and what that says about growth."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest import kernel
from loadtest.processes import Process
from loadtest.scenarios.slope import Slope, Verdict, fit
from loadtest.stage import Running

MB = 1e6
SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One side, after so many of what is done."""

    done: float
    rss_mb: float
    descriptors: int


class Watch:
    """Samples of each side, by its name."""

    def __init__(self, pair: Running, sides: Iterable[str] = ("egress", "ingress")) -> None:
        self._processes: Mapping[str, Process] = {side: getattr(pair, side) for side in sides}
        self.samples: dict[str, list[Sample]] = {side: [] for side in self._processes}

    def look(self, done: float) -> None:
        """Take a sample of each, once what has just ended is closed."""
        time.sleep(SETTLE_S)
        for side, process in self._processes.items():
            sample = Sample(done, kernel.memory(process.pid).rss, descriptors(process.pid))
            self.samples[side].append(sample)

    def growth(self, *, bytes_bound: float, descriptors_bound: float | None = None) -> list["Growth"]:
        """Memory of each side as a fitted line, and its descriptors, where there is a bound for them."""
        found = []
        for side, samples in self.samples.items():
            found.append(Growth.of(side, "bytes", samples, [s.rss_mb * MB for s in samples], bytes_bound))
            if descriptors_bound is not None:
                counts = [float(s.descriptors) for s in samples]
                found.append(Growth.of(side, "descriptors", samples, counts, descriptors_bound))
        return found

    def data(self) -> dict[str, Any]:
        """Every sample, for the JSON."""
        return {side: [asdict(sample) for sample in samples] for side, samples in self.samples.items()}


@dataclass(frozen=True, slots=True)
class Growth:
    """One figure of one side as a line, and the slope that it may have."""

    side: str
    what: str
    slope: Slope
    bound: float
    first: float
    last: float

    @classmethod
    def of(cls, side: str, what: str, samples: Sequence[Sample], values: Sequence[float], bound: float) -> "Growth":
        """Fit it."""
        return cls(side, what, fit([float(s.done) for s in samples], values), bound, values[0], values[-1])

    @property
    def verdict(self) -> Verdict:
        """Whether it is shown not to grow."""
        return self.slope.verdict(self.bound)

    def row(self) -> tuple[str, ...]:
        """For the table."""
        slope, unit = self.slope, MB if self.what == "bytes" else 1
        name = "resident MB" if self.what == "bytes" else self.what
        return (
            self.side,
            name,
            f"{self.first / unit:.1f}",
            f"{self.last / unit:.1f}",
            f"{slope.each:+.4f} ({slope.low:+.4f} to {slope.high:+.4f})",
            f"{self.bound:g}",
            str(self.verdict),
        )

    def problem(self, of: str) -> Iterator[str]:
        """Why it fails, where it does."""
        slope = f"{self.slope.each:.4g} {self.what} for each of the {of}, 95 % between {self.slope.low:.4g} and"
        told = f"{self.side}: {slope} {self.slope.high:.4g}; at most {self.bound:g} is allowed"
        if self.verdict is Verdict.GROWS:
            yield f"grows: {told}"
        elif self.verdict is Verdict.UNSURE:
            yield f"cannot be told from growth, run it longer or on a quieter machine: {told}"


HEAD = ("", "", "first", "last", "slope for each (95 %)", "bound", "")
"""Above the rows of ``Growth``."""


def descriptors(leader: int) -> int:
    """Open file descriptors of the session of ``leader``."""
    total = 0
    for pid in kernel.session(leader):
        with contextlib.suppress(OSError):
            total += sum(1 for _ in (kernel.PROC / str(pid) / "fd").iterdir())
    return total

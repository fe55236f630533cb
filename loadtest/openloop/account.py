"""What became of each request: the other side's delay, our own, and the errors by kind. Pure."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from loadtest.openloop.histogram import Histogram
from loadtest.openloop.schedule import SECOND_NS, Schedule

PERCENTS = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)
MS = 1e6
LAG_P99_MS = 1.0
"""Our own delay above which latencies would be ours as much as the other side's."""
CPU_SHARE = 0.9
"""Of one core: above it the client has no reserve, and its answers wait to be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run in figures; ``bad`` says why they may not be used, and is empty where they may."""

    figures: dict[str, Any]

    @property
    def bad(self) -> str:
        """Why not."""
        return str(self.figures["bad"])

    @property
    def completed(self) -> int:
        """Good answers."""
        return int(self.figures["completed"])

    @property
    def errors(self) -> dict[str, int]:
        """By kind."""
        return dict(self.figures["errors"])


class Account:
    """Of the requests that count.

    A latency is counted from the intended instant; a service time from when the request was sent. Our own ``lag`` is
    the time from when a request could have been sent (it was due, and a connection free) until it was, and the time
    for which it waited because we were not awake; ``reading``, for how long an answer that was there waited for us.
    """

    __slots__ = ("_blind_ns", "_latency", "_service", "errors", "lag", "reading", "sent", "waited")

    def __init__(self) -> None:
        self._latency, self._service = Histogram(), Histogram()
        self.lag, self.reading = Histogram(), Histogram()
        self._blind_ns = (0, 0)
        self.errors: Counter[str] = Counter()
        self.sent = 0
        self.waited = 0

    def was_blind(self, from_ns: int, until_ns: int) -> None:
        """Note that we should have been awake then and were not: what fell due meanwhile waited for us."""
        self._blind_ns = (from_ns, until_ns)

    def was_sent(self, intended_ns: int, free_since_ns: int, now_ns: int) -> None:
        """Count a request that goes out now, over a connection that was free since then."""
        self.sent += 1
        blind_from_ns, blind_until_ns = self._blind_ns
        if free_since_ns > intended_ns:
            self.waited += 1
            blind_ns = blind_until_ns - max(intended_ns, blind_from_ns)
            self.lag.record(max(now_ns - free_since_ns, blind_ns, 0))
            return
        self.lag.record(now_ns - intended_ns)
        self.was_blind(intended_ns, now_ns)

    def was_answered(self, intended_ns: int, sent_ns: int, now_ns: int) -> None:
        """Count a good answer."""
        self._latency.record(now_ns - intended_ns)
        self._service.record(now_ns - sent_ns)

    def failed(self, kind: str, count: int = 1) -> None:
        """Count what got no good answer."""
        self.errors[kind] += count

    @property
    def completed(self) -> int:
        """Good answers."""
        return self._latency.count

    def report(self, schedule: Schedule, *, connections: int, elapsed_ns: int, cpu_ns: int) -> Report:
        """Sum up. Whoever was never sent is an error too: every request that was due is in the sum."""
        unsent = schedule.counted - self.completed - self.errors.total()
        if unsent:
            self.failed("unsent", unsent)
        seconds, cpu_share = elapsed_ns / SECOND_NS, cpu_ns / max(elapsed_ns, 1)
        return Report(
            {
                "rate": schedule.rate,
                "connections": connections,
                "requested": schedule.counted,
                "sent": self.sent,
                "completed": self.completed,
                "errors": dict(sorted(self.errors.items())),
                "seconds": round(seconds, 3),
                "percentiles_ms": percentiles_ms(self._latency),
                "service_percentiles_ms": percentiles_ms(self._service),
                "lag_ms": percentiles_ms(self.lag),
                "reading_lag_ms": percentiles_ms(self.reading),
                "waited_for_a_connection": self.waited,
                "cpu_share": round(cpu_share, 3),
                "bad": self._bad(cpu_share),
            }
        )

    def _bad(self, cpu_share: float) -> str:
        reasons = []
        if (lag := max(self.lag.percentile(99), self.reading.percentile(99)) / MS) > LAG_P99_MS:
            reasons.append(f"the client was late: p99 of its own lag {lag:.2f} ms, more than {LAG_P99_MS:g} ms")
        if cpu_share > CPU_SHARE:
            reasons.append(f"the client was full: {cpu_share:.0%} of a core, more than {CPU_SHARE:.0%}")
        if missing := self.errors["timeout"] + self.errors["unsent"]:
            reasons.append(f"{missing} requests have no answer, so the percentiles leave out the worst")
        if not self.completed:
            reasons.append("no request was answered well")
        return "; ".join(reasons)


def percentiles_ms(histogram: Histogram) -> dict[str, float | None]:
    """As they are usually named: p50 to p99.99, and the greatest; None for what was never seen."""
    if not histogram.count:
        return dict.fromkeys([*(f"p{percent:g}" for percent in PERCENTS), "max"])
    found = {f"p{percent:g}": histogram.percentile(percent) / MS for percent in PERCENTS}
    return {**found, "max": histogram.greatest / MS}

"""The budget of a request, as ratios inside one run, and what a run says to it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """At most this, and in words what it is of."""

    name: str
    most: float
    says: str


BUDGET: tuple[Limit, ...] = (
    Limit("cpu_vs_envoy_cached", 0.40, "CPU per request, one token reused, against Envoy with its JWT cache"),
    Limit("cpu_vs_envoy_uncached", 0.60, "CPU per request, a new token each time, against Envoy without the cache"),
    Limit("cpu_vs_nginx", 1.7, "CPU per request against nginx doing TLS alone"),
    Limit("cpu_vs_envoy_at_1000rps", 0.75, "CPU at 1000 requests/s against Envoy"),
    Limit("p99_vs_envoy", 1.0, "p99 added at half of Envoy's saturation against what Envoy adds"),
    Limit("stream_cpu_vs_envoy", 1.0, "CPU of 10 MB streams against Envoy"),
    Limit("rss_mb_at_rest", 60.0, "MB of the ingress at rest"),
    Limit("rss_mb_at_1000_connections", 90.0, "MB of the ingress with 1000 open TLS connections"),
    Limit("rss_vs_envoy", 1.0, "memory with 1000 open TLS connections against Envoy's"),
)
"""DESIGN, section 4, and what was added to it since. Names are those of the summary."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A limit, and what was found; ``found`` is None where nothing was measured."""

    limit: Limit
    found: float | None

    @property
    def held(self) -> bool:
        """A figure that is missing, or is not a number, holds nothing."""
        return self.found is not None and self.found <= self.limit.most

    @property
    def word(self) -> str:
        """For the table."""
        if self.found is None:
            return "not measured"
        return "ok" if self.held else "OVER"


def judge(summary: Mapping[str, float | None]) -> list[Verdict]:
    """Every limit, in the order of the budget."""
    return [Verdict(limit, summary.get(limit.name)) for limit in BUDGET]


def rows(verdicts: list[Verdict]) -> list[tuple[str, ...]]:
    """A table of them."""
    head = ("", "found", "at most", "", "what")
    return [head, *((v.limit.name, _shown(v.found), f"{v.limit.most:g}", v.word, v.limit.says) for v in verdicts)]


def _shown(found: float | None) -> str:
    return "-" if found is None else f"{found:.2f}"

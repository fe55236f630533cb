"""svidecar's own histograms, read from its metrics page: what happened between two looks, and its quantiles. Pure.

It is our own account of our time; the kernel's, beside which it stands in the report, is that of all contenders.
"""

import bisect
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

PHASES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "overhead, outbound": ("svidecar_overhead_seconds", {"direction": "outbound"}),
    "overhead, inbound": ("svidecar_overhead_seconds", {"direction": "inbound"}),
    "token verified (not from the cache)": ("svidecar_token_verify_seconds", {}),
    "TLS handshake, as client": ("svidecar_tls_handshake_seconds", {"role": "client"}),
    "TLS handshake, as server": ("svidecar_tls_handshake_seconds", {"role": "server"}),
    "whole request, outbound": ("http_client_request_duration_seconds", {}),
    "whole request, inbound": ("http_server_request_duration_seconds", {}),
}
"""By the name that a person reads: the metric, and the labels that are meant."""
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Histogram:
    """Upper bounds in seconds, the last one infinite, and how many fell at or below each."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def total(self) -> float:
        """How many there are."""
        return self.counts[-1] if self.counts else 0.0

    def since(self, before: "Histogram | None") -> "Histogram":
        """What came after ``before``."""
        if before is None:
            return self
        return Histogram(self.bounds, tuple(now - then for now, then in zip(self.counts, before.counts, strict=True)))

    def plus(self, other: "Histogram") -> "Histogram":
        """Both together; they have the same bounds."""
        return Histogram(self.bounds, tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))

    def quantile(self, part: float) -> float | None:
        """In seconds, straight between two bounds, as Prometheus does; the last finite bound for what is above it."""
        if not self.total:
            return None
        rank = part * self.total
        at = bisect.bisect_left(self.counts, rank)
        if math.isinf(self.bounds[at]):
            return self.bounds[at - 1]
        low, below = (self.bounds[at - 1], self.counts[at - 1]) if at else (0.0, 0.0)
        inside = self.counts[at] - below
        return low + (self.bounds[at] - low) * ((rank - below) / inside if inside else 1.0)


def read(page: str) -> dict[str, Histogram]:
    """Every phase of PHASES that the page has; histograms with further labels are summed up."""
    buckets: dict[str, dict[float, float]] = {}
    for line in page.splitlines():
        sample = SAMPLE.match(line)
        if sample is None or not sample[1].endswith("_bucket"):
            continue
        labels = dict(LABEL.findall(sample[2]))
        for phase, (metric, wanted) in PHASES.items():
            if sample[1] == f"{metric}_bucket" and wanted.items() <= labels.items():
                counts = buckets.setdefault(phase, {})
                bound = float(labels["le"])
                counts[bound] = counts.get(bound, 0.0) + float(sample[3])
    return {phase: _histogram(counts) for phase, counts in buckets.items()}


def _histogram(counts: Mapping[float, float]) -> Histogram:
    bounds = tuple(sorted(counts))
    return Histogram(bounds, tuple(counts[bound] for bound in bounds))


def between(before: Mapping[str, Histogram], after: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """What each phase has gained; those that gained nothing are left out."""
    gained = {phase: found.since(before.get(phase)) for phase, found in after.items()}
    return {phase: found for phase, found in gained.items() if found.total}


def steps(found: Histogram) -> list[float]:
    """How many fell into each bucket alone."""
    return [b - a for a, b in itertools.pairwise((0.0, *found.counts))]

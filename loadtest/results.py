"""What one run found: every turn of every contender, and the figures that are drawn from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loadtest.checks import Check
from loadtest.figures import Figure, figure, ratio
from loadtest.fixed_rate import FixedRate
from loadtest.handshakes import Handshakes
from loadtest.histograms import Histogram
from loadtest.idle import Idle
from loadtest.saturation import Saturation
from loadtest.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One contender in one round; memory is resident megabytes. A part that was not asked for is absent.

    ``phases`` are our own histograms, by scenario; ``skipped`` says which scenarios this contender was spared, and why.
    """

    contender: str
    round: int
    commands: Mapping[str, str]
    rest: Mapping[str, float]
    loads: Mapping[str, Saturation] = field(default_factory=dict)
    rates: Mapping[str, FixedRate] = field(default_factory=dict)
    loaded: Mapping[str, float] = field(default_factory=dict)
    streams: Mapping[str, Stream] = field(default_factory=dict)
    handshakes: Handshakes | None = None
    idle: Idle | None = None
    phases: Mapping[str, Mapping[str, Histogram]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def bad(self) -> tuple[str, ...]:
        """Why some of its parts do not count: one error is enough, since a proxy that refuses is fast."""
        return tuple(f"{name}: {part.bad}" for name, part in self.parts.items() if part.bad)

    @property
    def parts(self) -> "dict[str, Part]":
        """All that was measured, by scenario; of streams, by kind."""
        single = {"handshakes": self.handshakes, "idle-1000": self.idle}
        alone = {name: part for name, part in single.items() if part is not None}
        return {**self.loads, **self.rates, **self.streams, **alone}


class Part(Protocol):
    """Something that was measured, and may have gone wrong."""

    @property
    def bad(self) -> str:
        """Why it does not count; empty where it does."""


Measure = Callable[[Turn], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole run. ``absent`` says of contenders and scenarios that were wanted why they are not in it."""

    contenders: tuple[str, ...]
    checks: Mapping[str, Sequence[Check]]
    turns: Sequence[Turn]
    scenarios: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    alone: Mapping[str, Any] = field(default_factory=dict)

    def by_round(self, contender: str, measure: Measure) -> dict[int, float]:
        """The measure in every round where the contender has a good one."""
        values = {turn.round: measure(turn) for turn in self.turns if turn.contender == contender}
        return {number: value for number, value in values.items() if value is not None}

    def figure(self, contender: str, measure: Measure) -> Figure | None:
        """Over the rounds."""
        return figure(list(self.by_round(contender, measure).values()))

    def ratio(self, over: str, under: str, measure: Measure) -> Figure | None:
        """Between two contenders, inside each round."""
        return ratio(self.by_round(over, measure), self.by_round(under, measure))

    def added(self, contender: str, scenario: str, percentile: str) -> dict[int, float]:
        """What the pair adds to the latency of no pair at all, in milliseconds, inside each round."""
        with_pair = self.by_round(contender, at_rate(scenario, percentile))
        without = self.by_round("direct", at_rate(scenario, percentile))
        return {number: with_pair[number] - without[number] for number in sorted(with_pair.keys() & without.keys())}

    def lost(self) -> list[str]:
        """Where a contender was measured and has not one good round, and what ran alone and failed."""
        good: dict[str, bool] = {}
        for turn in self.turns:
            for scenario, part in turn.parts.items():
                name = f"{turn.contender} ({scenario})"
                good[name] = good.get(name, False) or not part.bad
        broken = [f"{scenario} (exit code {found['exit_code']})" for scenario, found in self.alone.items()]
        passed = [found["exit_code"] == 0 for found in self.alone.values()]
        return [name for name, found in [*good.items(), *zip(broken, passed, strict=True)] if not found]

    def summary(self) -> dict[str, float | None]:
        """The medians that the budget speaks of; None where a run did not measure one."""
        cached, fresh, slow = cpu_us("one-token"), cpu_us("new-token"), rate_cpu_us("rate-1000")
        ours, envoys = (self.added(name, "rate-half", "p99") for name in ("svidecar", "envoy"))
        figures = {
            "cpu_vs_envoy_cached": self.ratio("svidecar", "envoy", cached),
            "cpu_vs_envoy_uncached": self.ratio("svidecar", "envoy-uncached", fresh),
            "cpu_vs_nginx": self.ratio("svidecar", "nginx", cached),
            "cpu_vs_envoy_at_1000rps": self.ratio("svidecar", "envoy", slow),
            "p99_vs_envoy": ratio(ours, {number: value for number, value in envoys.items() if value > 0}),
            "stream_cpu_vs_envoy": self.ratio("svidecar", "envoy", stream_cpu),
            "rss_mb_at_rest": self.figure("svidecar", rest_mb),
            "rss_mb_at_1000_connections": self.figure("svidecar", idle_mb),
            "rss_vs_envoy": self.ratio("svidecar", "envoy", idle_mb),
        }
        return {name: None if found is None else round(found.median, 3) for name, found in figures.items()}


def cpu_us(scenario: str) -> Measure:
    """CPU of both proxies for a request at full speed, in microseconds."""
    return of_load(scenario, "total_us")


def of_load(scenario: str, what: str, scale: float = 1.0) -> Measure:
    """A number of ``Saturation``, by name."""

    def measure(turn: Turn) -> float | None:
        load = turn.loads.get(scenario)
        return None if load is None or load.bad else float(getattr(load, what)) * scale

    return measure


def load_ms(scenario: str, percentile: str) -> Measure:
    """A latency of the closed loop at saturation."""

    def measure(turn: Turn) -> float | None:
        load = turn.loads.get(scenario)
        return None if load is None or load.bad else load.percentiles_ms[percentile]

    return measure


def at_rate(scenario: str, percentile: str) -> Measure:
    """A latency at a fixed rate, in milliseconds."""

    def measure(turn: Turn) -> float | None:
        found = turn.rates.get(scenario)
        return None if found is None or found.bad else float(found.percentiles_ms[percentile])

    return measure


def rate_cpu_us(scenario: str) -> Measure:
    """CPU of both proxies for a request at a fixed rate, in microseconds."""

    def measure(turn: Turn) -> float | None:
        found = turn.rates.get(scenario)
        return None if found is None or found.broken else found.cpu_us

    return measure


def rest_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress once it has answered its first request."""
    return turn.rest.get("ingress")


def loaded_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress after the load."""
    return turn.loaded.get("ingress")


def idle_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress with 1000 TLS connections."""
    return None if turn.idle is None or turn.idle.bad else turn.idle.rss_mb


def idle_anonymous_mb(turn: Turn) -> float | None:
    """The part of it that is in no file."""
    return None if turn.idle is None or turn.idle.bad else turn.idle.anonymous_mb


def handshake_ms(turn: Turn) -> float | None:
    """CPU of the ingress for a new connection and its only request, in milliseconds."""
    return None if turn.handshakes is None or turn.handshakes.bad else turn.handshakes.ingress_ms_each


def stream_cpu(turn: Turn) -> float | None:
    """CPU of both proxies, seconds for a gigabyte down and one up."""
    both = [turn.streams[kind] for kind in ("download", "upload") if kind in turn.streams]
    if len(both) < 2 or any(stream.bad for stream in both):
        return None
    return sum(sum(stream.cpu_s_per_gb.values()) for stream in both)


def of_stream(kind: str, side: str, what: str) -> Measure:
    """``cpu_s_per_gb`` or ``above_rest_mb`` of one side in one kind of stream."""

    def measure(turn: Turn) -> float | None:
        stream: Any = turn.streams.get(kind)
        return None if stream is None or stream.bad else float(getattr(stream, what)[side])

    return measure

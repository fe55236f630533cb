"""What one run found: every turn of every contender, and the figures that are drawn from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.checks import Check
from loadtest.figures import Figure, figure, ratio
from loadtest.idle import Idle
from loadtest.saturation import Saturation
from loadtest.streams import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One contender in one round; memory is resident megabytes.

    ``bad`` says why its figures do not count. A part that was not asked for is absent.
    """

    contender: str
    round: int
    commands: Mapping[str, str]
    bad: tuple[str, ...]
    rest: Mapping[str, float]
    saturation: Saturation | None = None
    loaded: Mapping[str, float] | None = None
    streams: Mapping[str, Stream] | None = None
    idle: Idle | None = None


Measure = Callable[[Turn], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A whole run."""

    contenders: tuple[str, ...]
    checks: Mapping[str, Sequence[Check]]
    turns: Sequence[Turn]

    def by_round(self, contender: str, measure: Measure) -> dict[int, float]:
        """The measure in every good round of the contender that has it."""
        mine = [turn for turn in self.turns if turn.contender == contender and not turn.bad]
        values = {turn.round: measure(turn) for turn in mine}
        return {number: value for number, value in values.items() if value is not None}

    def figure(self, contender: str, measure: Measure) -> Figure | None:
        """Over the rounds."""
        return figure(list(self.by_round(contender, measure).values()))

    def ratio(self, over: str, under: str, measure: Measure) -> Figure | None:
        """Between two contenders, inside each round."""
        return ratio(self.by_round(over, measure), self.by_round(under, measure))

    def summary(self) -> dict[str, float | None]:
        """The medians that the budget speaks of; None where a run did not measure one."""
        figures = {
            "cpu_vs_envoy_cached": self.ratio("svidecar", "envoy", cpu_us),
            "cpu_vs_envoy_uncached": self.ratio("svidecar", "envoy-uncached", cpu_us),
            "cpu_vs_nginx": self.ratio("svidecar", "nginx", cpu_us),
            "stream_cpu_vs_envoy": self.ratio("svidecar", "envoy", stream_cpu),
            "rss_mb_at_rest": self.figure("svidecar", rest_mb),
            "rss_mb_at_1000_connections": self.figure("svidecar", idle_mb),
            "rss_vs_envoy": self.ratio("svidecar", "envoy", idle_mb),
        }
        return {name: None if found is None else round(found.median, 3) for name, found in figures.items()}


def cpu_us(turn: Turn) -> float | None:
    """CPU of both proxies for a request, in microseconds."""
    return None if turn.saturation is None else turn.saturation.total_us


def of_load(what: str, scale: float = 1.0) -> Measure:
    """A number of ``Saturation``, by name."""

    def measure(turn: Turn) -> float | None:
        return None if turn.saturation is None else float(getattr(turn.saturation, what)) * scale

    return measure


def rest_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress once it has answered its first request."""
    return turn.rest["ingress"]


def loaded_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress after the load."""
    return None if turn.loaded is None else turn.loaded["ingress"]


def idle_mb(turn: Turn) -> float | None:
    """Resident memory of the ingress with 1000 TLS connections."""
    return None if turn.idle is None else turn.idle.rss_mb


def handshake_ms(turn: Turn) -> float | None:
    """CPU of the ingress for a new connection and its first request, in milliseconds."""
    return None if turn.idle is None else turn.idle.ingress_ms_each


def stream_cpu(turn: Turn) -> float | None:
    """CPU of both proxies, seconds for a gigabyte down and one up."""
    if turn.streams is None or not {"download", "upload"} <= turn.streams.keys():
        return None
    return sum(sum(turn.streams[kind].cpu_s_per_gb.values()) for kind in ("download", "upload"))


def of_stream(kind: str, side: str, what: str) -> Measure:
    """``cpu_s_per_gb`` or ``above_rest_mb`` of one side in one kind of stream."""

    def measure(turn: Turn) -> float | None:
        stream: Any = (turn.streams or {}).get(kind)
        return None if stream is None else float(getattr(stream, what)[side])

    return measure

"""Rounds, and in each round A B C A B C: neighbours in time are neighbours in the ratios.

Every round starts fresh processes, so that the luck of one start (addresses, hash seeds) is not the result. Within a
round all pairs are up and the load visits them in turn, a second each: the same machine can be twice as fast ten
seconds later. A pair that is not visited costs next to nothing; what it does cost is seen as "others" on its core.
"""

import contextlib
import functools
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest import backend, client, fixed_rate, handshakes, histograms, idle, kernel, machine, material, streams
from loadtest.contenders import CONTENDERS
from loadtest.histograms import Histogram
from loadtest.plan import Plan
from loadtest.results import Turn
from loadtest.saturation import Load, Saturation, Slice
from loadtest.scenario import RATES, SCENARIOS
from loadtest.shape import LOADS
from loadtest.stage import Running, Stage, running_pair
from loadtest.tokens import TokenFiles

APART = frozenset({"streams", "stall", "idle-1000"})
"""Scenarios with processes of their own: what other loads left in memory would be counted, or would hide something."""
STREAM_TIMES = 5  # large bodies on each connection: 0.2 GB each way, a round
SETTLE_S = 4.0  # svidecar lets go of what only its start needed a second or two after it is ready
ROOM = 0.8  # of what a contender can do: at a higher fixed rate its queue, not its work, would be measured
SLOW_RATE = 1000.0
STEP = 100.0  # what half of saturation is rounded to

Say = Callable[[str], None]


@contextlib.contextmanager
def staged(
    programs: dict[str, str], cores: machine.Cores, keep: Path | None, trees: Mapping[str, Path] | None = None
) -> Iterator[Stage]:
    """The backend up and the trust domain written, in ``keep`` or in a directory that goes away."""
    with contextlib.ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="svidecar-loadtest-")))
        directory = keep.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        app = stack.enter_context(backend.serving(directory, programs["nginx"], cores.load))
        yield Stage(
            directory=directory,
            material=material.make(directory),
            backend_port=app.port,
            backend=app.process,
            cores=cores,
            programs=programs,
            trees=trees or {},
        )


def turns(stage: Stage, names: Sequence[str], plan: Plan, tokens: TokenFiles | None, say: Say) -> Iterator[Turn]:
    """Every contender once in each round, always from fresh processes. ``say`` hears what is under way."""
    for number in range(1, plan.rounds + 1):
        found = {name: _Found() for name in names}
        wanted = plan.of_round(number)
        with _all_up(stage, names) as pairs:
            _Round(stage, pairs, plan, tokens, found, functools.partial(_numbered, say, number, plan.rounds)).run(
                wanted
            )
        if wanted & APART:
            _numbered(say, number, plan.rounds, ", ".join(sorted(wanted & APART)))
            real = [name for name in names if CONTENDERS[name].program]
            if wanted & {"streams", "stall"}:
                _streams(stage, real, wanted, found)
            if "idle-1000" in wanted:
                _idle(stage, real, plan, found)
        for name in names:
            yield Turn(contender=name, round=number, **found[name].parts)


def _numbered(say: Say, number: int, rounds: int, text: str) -> None:
    say(f"round {number}/{rounds}  {text}")


@dataclass(slots=True)
class _Found:
    """What is known of one contender in the round that runs, under the names of ``Turn``."""

    parts: dict[str, Any] = field(
        default_factory=lambda: {"commands": {}, "rest": {}, "loads": {}, "rates": {}, "phases": {}, "skipped": {}}
    )


class _Round:
    """All pairs are up; the load goes from one to the next every second. Then rates, handshakes, memory."""

    def __init__(
        self,
        stage: Stage,
        pairs: Mapping[str, Running],
        plan: Plan,
        tokens: TokenFiles | None,
        found: Mapping[str, _Found],
        say: Say,
    ) -> None:
        self._stage, self._pairs, self._plan, self._tokens = stage, pairs, plan, tokens
        self._found, self._say = found, say
        self._real = {name: pair for name, pair in pairs.items() if pair.sides}

    def run(self, wanted: frozenset[str]) -> None:
        """What is wanted, in the order of SCENARIOS."""
        for name, pair in self._pairs.items():
            self._found[name].parts |= {"commands": pair.commands, "rest": _rss(pair)}
            self._load("one-token").against(pair)  # so that connections, caches and code are as they will stay
        for scenario in (each for each in SCENARIOS if each in wanted - APART):
            self._say(f"{scenario}: {SCENARIOS[scenario]}")
            if scenario in LOADS:
                self._saturate(scenario)
            elif scenario in RATES:
                self._at_rate(scenario)
            elif scenario == "handshakes":
                self._each(scenario, "handshakes", handshakes.measure)
            if scenario == "one-token":
                self._note("loaded", _rss)

    def _load(self, scenario: str, number: int = 0) -> Load:
        shape, files = LOADS[scenario], self._tokens
        return Load(
            wrk=self._stage.programs["wrk"],
            app=self._stage.backend,
            shape=shape,
            connections=self._plan.connections,
            tokens=files.paths[number] if shape.new_tokens and files is not None else None,
            token_count=files.each if files is not None else 0,
        )

    def _saturate(self, scenario: str) -> None:
        if LOADS[scenario].connections is not None:
            for pair in self._pairs.values():
                self._load(scenario).against(pair)  # the handshakes behind so many connections take a second
        before = {name: _phases(pair) for name, pair in self._pairs.items()}
        slices: dict[str, list[Slice]] = {name: [] for name in self._pairs}
        for number in range(self._plan.seconds_of(scenario)):
            load = self._load(scenario, number)
            for name, pair in self._pairs.items():
                slices[name].append(load.against(pair))
        for name, pair in self._pairs.items():
            self._found[name].parts["loads"][scenario] = Saturation(slices=tuple(slices[name]))
            self._phases_of(scenario, name, pair, before[name])

    def _at_rate(self, scenario: str) -> None:
        full = {name: self._full_speed(name) for name in self._pairs}
        rate = SLOW_RATE if scenario == "rate-1000" else half_of(full)
        for name, pair in self._pairs.items():
            if rate > ROOM * full[name]:
                why = f"{rate:.0f} requests/s would be {rate / max(full[name], 1):.0%} of what it can do"
                self._found[name].parts["skipped"][scenario] = why
                continue
            before = _phases(pair)
            self._found[name].parts["rates"][scenario] = fixed_rate.measure(pair, rate, self._plan.rate_seconds)
            self._phases_of(scenario, name, pair, before)

    def _full_speed(self, name: str) -> float:
        load = self._found[name].parts["loads"].get("one-token")
        if load is None:
            load = Saturation(slices=(self._load("one-token").against(self._pairs[name]),))
        return float(load.requests_per_s)

    def _each(self, scenario: str, part: str, measure: Callable[[Running], Any]) -> None:
        for name, pair in self._real.items():
            before = _phases(pair)
            self._found[name].parts[part] = measure(pair)
            self._phases_of(scenario, name, pair, before)

    def _note(self, part: str, measure: Callable[[Running], Any]) -> None:
        for name, pair in self._pairs.items():
            self._found[name].parts[part] = measure(pair)

    def _phases_of(self, scenario: str, name: str, pair: Running, before: Mapping[str, Histogram]) -> None:
        if gained := histograms.between(before, _phases(pair)):
            self._found[name].parts["phases"][scenario] = gained


def half_of(full: Mapping[str, float]) -> float:
    """One rate for all: half of what Envoy can do; where it is not compared, of what svidecar can."""
    by = next((name for name in ("envoy", "svidecar") if name in full), None)
    base = full[by] if by is not None else min(full.values())
    return max(round(base / 2 / STEP) * STEP, STEP)


def _streams(stage: Stage, names: Sequence[str], wanted: frozenset[str], found: Mapping[str, _Found]) -> None:
    """What is measured from fresh processes."""
    both = (streams.download, streams.upload) if "streams" in wanted else ()
    kinds = [*both * STREAM_TIMES]
    kinds += [streams.stalled_reader, streams.stalled_app] if "stall" in wanted else []
    with _all_up(stage, names) as pairs:
        rest = {name: _anonymous(pair) for name, pair in pairs.items()}
        for kind in both:  # so that connections, caches and code are as they will stay
            for name, pair in pairs.items():
                kind(pair, rest[name])
        for kind in kinds:
            for name, pair in pairs.items():
                moved = found[name].parts.setdefault("streams", {})
                stream = kind(pair, rest[name])
                moved[stream.kind] = streams.joined(moved.get(stream.kind), stream)


def _idle(stage: Stage, names: Sequence[str], plan: Plan, found: Mapping[str, _Found]) -> None:
    """Connections that stay open, at processes that have seen a second of load and nothing else."""
    load = Load(wrk=stage.programs["wrk"], app=stage.backend, shape=LOADS["one-token"], connections=plan.connections)
    with _all_up(stage, names) as pairs:
        for name, pair in pairs.items():
            load.against(pair)
            found[name].parts["idle"] = idle.hold(pair)


@contextlib.contextmanager
def _all_up(stage: Stage, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    with contextlib.ExitStack() as stack:
        pairs = {name: stack.enter_context(running_pair(stage, CONTENDERS[name])) for name in names}
        time.sleep(SETTLE_S)
        yield pairs


def _rss(pair: Running) -> dict[str, float]:
    return {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}


def _anonymous(pair: Running) -> dict[str, float]:
    return {side: kernel.anonymous_mb(process.pid) for side, process in pair.sides.items()}


def _phases(pair: Running) -> dict[str, Histogram]:
    """Svidecar's own histograms of both sides; of the others nothing is asked."""
    if not pair.contender.name.startswith("svidecar"):
        return {}
    found: dict[str, Histogram] = {}
    for url in pair.metrics.values():
        with urllib.request.urlopen(url, timeout=client.TIMEOUT_S) as page:  # noqa: S310 - our own http URL
            for phase, one in histograms.read(page.read().decode()).items():
                found[phase] = found[phase].plus(one) if phase in found else one
    return found

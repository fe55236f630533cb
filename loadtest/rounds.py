"""Rounds: A B C A B C. Neighbours in time are neighbours in the ratios."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import backend, idle, kernel, machine, material, saturation, streams
from loadtest.contenders import CONTENDERS, Contender
from loadtest.results import Turn
from loadtest.stage import Running, Stage, running_pair

PHASES = ("load", "memory", "stream", "stall")
ONCE = frozenset({"memory", "stall"})
"""Phases of the last round alone: they are steady, and slow."""
STREAM_TIMES = 5  # large bodies on each connection: 0.2 GB each way
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often, how long, with how many connections, and which phases."""

    rounds: int
    seconds: int
    connections: int
    phases: tuple[str, ...]

    def phases_of(self, number: int) -> frozenset[str]:
        """What is measured in round ``number``, from 1."""
        return frozenset(self.phases) - (frozenset() if number == self.rounds else ONCE)


@contextlib.contextmanager
def staged(programs: dict[str, str], cores: machine.Cores, keep: Path | None) -> Iterator[Stage]:
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
        )


def turns(stage: Stage, names: Sequence[str], plan: Plan) -> Iterator[Turn]:
    """Every contender once in each round, always from fresh processes."""
    for number in range(1, plan.rounds + 1):
        for name in names:
            yield _turn(stage, CONTENDERS[name], number, plan)


def _turn(stage: Stage, contender: Contender, number: int, plan: Plan) -> Turn:
    """Two acts, for what one load leaves free of memory would hide what the streams after it hold."""
    phases = plan.phases_of(number)
    load, loaded, held = None, None, None
    with running_pair(stage, contender) as pair:
        time.sleep(SETTLE_S)
        rest = _rss(pair)
        commands = {command.name: command.text for command in (pair.pair.egress, pair.pair.ingress)}
        if "load" in phases:
            load = _saturate(stage, pair, plan)
            loaded = _rss(pair)
        if "memory" in phases:
            held = idle.hold(pair)
    moved = _streams(stage, contender, phases) if phases & {"stream", "stall"} else []
    return Turn(
        contender=contender.name,
        round=number,
        commands=commands,
        bad=tuple(part.bad for part in (load, held, *moved) if part is not None and part.bad),
        rest=rest,
        saturation=load,
        loaded=loaded,
        idle=held,
        streams={stream.kind: stream for stream in moved} or None,
    )


def _saturate(stage: Stage, pair: Running, plan: Plan) -> saturation.Saturation:
    wrk = stage.programs["wrk"]
    saturation.warm_up(wrk, pair, plan.connections)
    return saturation.saturate(wrk, pair, stage.backend, seconds=plan.seconds, connections=plan.connections)


def _streams(stage: Stage, contender: Contender, phases: frozenset[str]) -> list[streams.Stream]:
    with running_pair(stage, contender) as pair:
        time.sleep(SETTLE_S)
        rest, found = _rss(pair), []
        if "stream" in phases:
            found += [streams.download(pair, rest, STREAM_TIMES), streams.upload(pair, rest, STREAM_TIMES)]
        if "stall" in phases:
            found += [streams.stalled_reader(pair, rest), streams.stalled_app(pair, rest)]
        return found


def _rss(pair: Running) -> dict[str, float]:
    return {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}

"""Rounds, and in each round A B C A B C: neighbours in time are neighbours in the ratios.

Every round starts fresh processes, so that the luck of one start (addresses, hash seeds) is not the result. Within a
round all pairs are up and the load visits them in turn, a second each: the same machine can be twice as fast ten
seconds later. A pair that is not visited costs next to nothing; what it does cost is seen as "others" on its core.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import backend, idle, kernel, machine, material, saturation, streams
from loadtest.contenders import CONTENDERS
from loadtest.results import Turn
from loadtest.stage import Running, Stage, running_pair

PHASES = ("load", "memory", "stream", "stall")
ONCE = frozenset({"memory", "stall"})
"""Phases of the last round alone: they are steady, and slow."""
STREAM_TIMES = 5  # large bodies on each connection: 0.2 GB each way, a round
SETTLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many rounds, how many slices of a second in each, how many connections, and which phases."""

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


def turns(stage: Stage, names: Sequence[str], plan: Plan, say: Callable[[str], None]) -> Iterator[Turn]:
    """Every contender once in each round, always from fresh processes. ``say`` hears what is under way."""
    for number in range(1, plan.rounds + 1):
        phases = plan.phases_of(number)
        say(f"round {number}/{plan.rounds}  {', '.join(each for each in PHASES if each in phases) or 'start'} ...")
        loads = _loads(stage, names, plan, phases)
        moved = _streams(stage, names, phases) if phases & {"stream", "stall"} else dict.fromkeys(names)
        for name in names:
            yield _turn(name, number, loads[name], moved[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    commands: dict[str, str]
    rest: dict[str, float]
    saturation: saturation.Saturation | None
    loaded: dict[str, float] | None
    idle: idle.Idle | None


Streams = dict[str, streams.Stream]


def _loads(stage: Stage, names: Sequence[str], plan: Plan, phases: frozenset[str]) -> dict[str, _Load]:
    """All pairs are up; the load goes from one to the next every second. Then memory, one after the other."""
    with _all_up(stage, names) as pairs:
        rest = {name: _rss(pair) for name, pair in pairs.items()}
        slices = _slices(stage, pairs, plan) if "load" in phases else {}
        return {
            name: _Load(
                commands={command.name: command.text for command in (pair.pair.egress, pair.pair.ingress)},
                rest=rest[name],
                saturation=saturation.Saturation(slices=tuple(slices[name])) if slices else None,
                loaded=_rss(pair) if slices else None,
                idle=idle.hold(pair) if "memory" in phases else None,
            )
            for name, pair in pairs.items()
        }


def _slices(stage: Stage, pairs: dict[str, Running], plan: Plan) -> dict[str, list[saturation.Slice]]:
    def one(pair: Running) -> saturation.Slice:
        return saturation.saturate(stage.programs["wrk"], pair, stage.backend, plan.connections)

    for pair in pairs.values():
        one(pair)  # so that connections, caches and code are as they will stay
    found: dict[str, list[saturation.Slice]] = {name: [] for name in pairs}
    for _ in range(plan.seconds):
        for name, pair in pairs.items():
            found[name].append(one(pair))
    return found


def _streams(stage: Stage, names: Sequence[str], phases: frozenset[str]) -> dict[str, Streams]:
    """Processes of their own: memory that a load left free would hide what a stream holds."""
    kinds = [*((streams.download, streams.upload) * STREAM_TIMES if "stream" in phases else ())]
    kinds += [streams.stalled_reader, streams.stalled_app] if "stall" in phases else []
    with _all_up(stage, names) as pairs:
        rest = {name: _rss(pair) for name, pair in pairs.items()}
        found: dict[str, Streams] = {name: {} for name in names}
        for kind in kinds:
            for name, pair in pairs.items():
                stream = kind(pair, rest[name])
                found[name][stream.kind] = streams.joined(found[name].get(stream.kind), stream)
        return found


def _turn(name: str, number: int, load: _Load, moved: Streams | None) -> Turn:
    parts = [load.saturation, load.idle, *(moved or {}).values()]
    return Turn(
        contender=name,
        round=number,
        commands=load.commands,
        bad=tuple(part.bad for part in parts if part is not None and part.bad),
        rest=load.rest,
        saturation=load.saturation,
        loaded=load.loaded,
        idle=load.idle,
        streams=moved,
    )


@contextlib.contextmanager
def _all_up(stage: Stage, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    with contextlib.ExitStack() as stack:
        pairs = {name: stack.enter_context(running_pair(stage, CONTENDERS[name])) for name in names}
        time.sleep(SETTLE_S)
        yield pairs


def _rss(pair: Running) -> dict[str, float]:
    return {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}

"""``python -m loadtest profile``: a sidecar under full load, sampled from outside, as a flame graph.

py-spy sees Python frames and the machine code between them; perf sees all of the kernel's too, but of plain Python only
the interpreter's loop.
"""

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from loadtest import build, flame, machine, tokens
from loadtest.compare import BASE, prepare_ourselves, progress
from loadtest.contenders import CONTENDERS
from loadtest.processes import MORTAL
from loadtest.rounds import staged
from loadtest.saturation import Load
from loadtest.shape import CONNECTIONS, LOADS
from loadtest.stage import Running, Stage, running_pair

TOOLS = ("py-spy", "perf")
SCENARIOS = tuple(LOADS)
HERTZ = "499"  # no divisor of anything that happens on a whole millisecond
SPARE_S = 120.0
HEAVIEST = 15


class CannotProfile(Exception):
    """No tool, or one that may not look; the message says what to do."""


def run(side: str, tool: str | None, seconds: int, out: Path, scenario: str) -> Iterator[str]:
    """Load a pair, sample one side, write ``out``. Lines for a person. Raises CannotProfile, MissingProgram."""
    chosen, path = _tool(tool)
    cores = machine.cores()
    built = build.of_this_tree(progress, interpreted=False)
    programs = machine.require(*BASE, CONTENDERS["svidecar"].program)
    prepare_ourselves(cores)
    with tempfile.TemporaryDirectory(prefix="svidecar-profile-") as scratch:
        trees = {} if built.tree is None else {"svidecar": built.tree}
        with (
            staged(programs, cores, Path(scratch), trees) as stage,
            running_pair(stage, CONTENDERS["svidecar"]) as pair,
        ):
            progress(f"{chosen} looks at the {side} for {seconds} s: {scenario}; svidecar: {built.said}")
            with _under_load(stage, pair, scenario, seconds):
                folded = _sample(chosen, path, pair.sides[side].pid, seconds, Path(scratch))
    root = flame.fold(folded)
    if not root.samples:
        raise CannotProfile(f"{chosen} saw nothing; as another user it needs root, or kernel.yama.ptrace_scope=0")
    title = f"svidecar {side}, {scenario}, {built.said}, by {chosen}"
    try:
        out.write_text(flame.svg(root, title))
    except OSError as error:
        raise CannotProfile(str(error)) from error
    yield f"{out}: {root.samples} samples. The heaviest by their own time:"
    yield from (f"{share:6.1%}  {name}" for name, share in flame.heaviest(root, HEAVIEST))


def _tool(wanted: str | None) -> tuple[str, str]:
    for name in TOOLS if wanted is None else (wanted,):
        if (path := machine.find(name)) is not None:
            return name, path
    raise CannotProfile("neither py-spy (pip install py-spy) nor perf (apt-get install linux-perf) is here")


@contextlib.contextmanager
def _under_load(stage: Stage, pair: Running, scenario: str, seconds: int) -> Iterator[None]:
    """wrk, slice after slice, for as long as the block lasts."""
    shape = LOADS[scenario]
    files = tokens.write(stage.material, seconds) if shape.new_tokens else None
    done = threading.Event()

    def load() -> None:
        number = 0
        while not done.is_set():
            Load(
                wrk=stage.programs["wrk"],
                app=stage.backend,
                shape=shape,
                connections=CONNECTIONS,
                tokens=None if files is None else files.paths[number % seconds],
                token_count=0 if files is None else files.each,
            ).against(pair)
            number += 1

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _sample(tool: str, path: str, pid: int, seconds: int, scratch: Path) -> list[str]:
    """The stacks, folded."""
    out = scratch / "samples"
    if tool == "py-spy":
        call = [path, "record", "--native", "--rate", HERTZ, "--duration", str(seconds)]
        _call([*call, "--format", "raw", "--output", str(out), "--pid", str(pid)], seconds)
        return out.read_text().splitlines()
    recorded = [path, "record", "-q", "-F", HERTZ, "--call-graph", "dwarf,16384", "-p", str(pid), "-o", str(out)]
    _call([*recorded, "--", "sleep", str(seconds)], seconds)
    return flame.collapse(_call([path, "script", "--no-inline", "-F", "comm,ip,sym,dso", "-i", str(out)], seconds))


def _call(call: list[str], seconds: int) -> str:
    try:
        done = subprocess.run([*MORTAL, *call], capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise CannotProfile(f"{call[0]} did not end in {seconds + SPARE_S:.0f} s") from late
    if done.returncode:
        raise CannotProfile(f"{call[0]} ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout

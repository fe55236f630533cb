"""One run from beginning to end: what can run is found, proven, measured, and shown."""

import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtest import build, checks, fixed_rate, machine, saturation, tokens
from loadtest.contenders import CONTENDERS
from loadtest.contenders.svidecar import TREE
from loadtest.plan import Plan
from loadtest.processes import MORTAL
from loadtest.results import Results, Turn
from loadtest.rounds import staged, turns
from loadtest.scenario import ALONE, RATES
from loadtest.shape import LOADS
from loadtest.stage import Stage

OPEN_FILES = 8192
BASE = ("nginx", "wrk", "taskset", "setpriv")
CONFIGURATIONS = frozenset({".yaml", ".json", ".conf", ".cnf", ".cfg"})
ALONE_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. ``named``: the contenders were named by a person, so none may be missing."""

    contenders: tuple[str, ...]
    named: bool
    plan: Plan
    interpreted: bool
    keep: Path | None


@dataclass(frozen=True, slots=True)
class Run:
    """What was found, and what is said beside it: machine, versions, commands, configurations."""

    results: Results
    about: dict[str, Any]


def run(wanted: Wanted) -> Run:
    """Measure. Raises MissingProgram, ProcessFailed."""
    cores = machine.cores()
    programs, absent = _programs(wanted)
    names = tuple(name for name in wanted.contenders if name not in absent)
    plan, told = _possible(wanted.plan)
    absent |= told
    built = build.of_this_tree(progress, interpreted=wanted.interpreted)
    about = _about(programs, cores, plan, built)
    progress(f"about {plan.estimate_s(len(names)) / 60:.0f} minutes for {', '.join(names)}")
    prepare_ourselves(cores)
    trees = {} if built.tree is None else {"svidecar": built.tree}
    with staged(programs, cores, wanted.keep, trees) as stage:
        found = _checked(stage, [name for name in names if CONTENDERS[name].program])
        measured: list[Turn] = []
        alone: dict[str, Any] = {}
        if not any(failures(each) for each in found.values()):
            files = _tokens(stage, plan)
            measured = [_shown(turn, plan.rounds) for turn in turns(stage, names, plan, files, progress)]
            alone = _alone(plan, built)
        about["contenders"] = {name: _contender(stage, name) for name in names}
    results = Results(
        contenders=names, checks=found, turns=measured, scenarios=plan.scenarios, absent=absent, alone=alone
    )
    return Run(results, about)


def _programs(wanted: Wanted) -> tuple[dict[str, str], dict[str, str]]:
    """Where each program is; and which contenders cannot be here, with the remedy."""
    absent = {}
    needed = {name: CONTENDERS[name].program for name in wanted.contenders if CONTENDERS[name].program}
    for name, program in needed.items():
        if machine.find(program) is None and not wanted.named:
            absent[name] = f"not here: {machine.INSTALL[program]}"
    here = dict.fromkeys(program for name, program in needed.items() if name not in absent)
    return machine.require(*BASE, *here), absent


def _possible(plan: Plan) -> tuple[Plan, dict[str, str]]:
    """Without the scenarios whose client is not part of this tree; they are named, not left out."""
    absent = {name: fixed_rate.ABSENT for name in plan.scenarios if name in RATES and not fixed_rate.available()}
    for name in plan.scenarios:
        if name in ALONE and not _has(module_of(name)):
            absent[name] = f"not measured: this tree has no {module_of(name)}"
    possible = tuple(name for name in plan.scenarios if name not in absent)
    return replace(plan, scenarios=possible), absent


def module_of(scenario: str) -> str:
    """The program of a scenario that runs alone."""
    return f"loadtest.scenarios.{scenario.replace('-', '_')}"


def _has(module: str) -> bool:
    with suppress(ModuleNotFoundError):  # of the package around it
        return importlib.util.find_spec(module) is not None
    return False


def _about(programs: dict[str, str], cores: machine.Cores, plan: Plan, built: build.Build) -> dict[str, Any]:
    """What the JSON says beside the figures. The token's place is marked, not filled."""
    found = machine.describe()
    progress(f"{found['cpu']}, {found['cores']} cores, kernel {found['kernel']}, load average {found['load_average']}")
    progress(f"pinning: {cores.said}")
    progress(f"svidecar: {built.said}")
    calls = {
        name: " ".join(saturation.command("wrk", 0, saturation.HIDDEN, shape, plan.connections))
        for name, shape in LOADS.items()
        if name in plan.scenarios
    }
    versions = {name: machine.version_of(name, path) for name, path in programs.items()}
    return {
        "machine": found,
        "command": " ".join(["python -m loadtest", *sys.argv[1:]]),
        "svidecar": built.said,
        "versions": versions,
        "pinning": cores.said,
        "plan": plan,
        "load": calls,
    }


def _checked(stage: Stage, names: Sequence[str]) -> dict[str, list[checks.Check]]:
    found = {}
    for name in names:
        progress(f"checking {name}")
        found[name] = checks.verify(stage, CONTENDERS[name])
        for check in failures(found[name]):
            progress(f"  fails '{check.case}': expected {' or '.join(check.expected)}, saw {check.seen}")
    return found


def failures(found: Iterable[checks.Check]) -> list[checks.Check]:
    """The cases that end a run."""
    return [check for check in found if check.verdict is checks.Verdict.FAILED]


def _tokens(stage: Stage, plan: Plan) -> tokens.TokenFiles | None:
    if not any(LOADS[name].new_tokens for name in plan.scenarios if name in LOADS):
        return None
    progress(f"signing {plan.seconds * tokens.A_SLICE} tokens")
    return tokens.write(stage.material, plan.seconds)


def _alone(plan: Plan, built: build.Build) -> dict[str, Any]:
    """The scenarios that are programs of their own: their code and what they printed."""
    found = {}
    environment = os.environ if built.tree is None else {**os.environ, TREE: str(built.tree)}
    for name in (each for each in plan.scenarios if each in ALONE):
        progress(f"{name}: {ALONE[name]}")
        call = [sys.executable, "-m", module_of(name)]
        done = subprocess.run(
            [*MORTAL, *call], env=environment, capture_output=True, text=True, timeout=ALONE_S, check=False
        )
        found[name] = {"exit_code": done.returncode, "printed": done.stdout, "said": done.stderr}
    return found


def _contender(stage: Stage, name: str) -> dict[str, Any]:
    """Its program and its configuration, as the last turn left it."""
    contender = CONTENDERS[name]
    if not contender.program:
        return {"program": "", "configs": {}}
    here = sorted((stage.directory / name).iterdir())
    files = [file for file in here if file.is_file() and file.suffix in CONFIGURATIONS]
    return {"program": stage.programs[contender.program], "configs": {f.name: f.read_text() for f in files}}


def _shown(turn: Turn, rounds: int) -> Turn:
    parts = [f"round {turn.round}/{rounds}  {turn.contender:20}"]
    if (load := turn.loads.get("one-token")) is not None:
        parts.append(f"egress {load.egress_us:6.1f} us  ingress {load.ingress_us:6.1f} us")
        parts.append(f"{load.requests_per_s:7.0f} req/s  others on the proxies' core {load.others_on_proxies_core:.0%}")
        parts += ["NOISY"] if load.noisy and turn.rest else []
    parts += [f"{name} skipped: {why}" for name, why in turn.skipped.items()]
    progress("  ".join([*parts, *(f"BAD: {why}" for why in turn.bad)]))
    return turn


def prepare_ourselves(cores: machine.Cores) -> None:
    """Off the proxies' core; and enough open files for the connections that we hold, and our children theirs."""
    os.sched_setaffinity(0, cores.load)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def progress(line: str) -> None:
    """To standard error, at once."""
    print(line, file=sys.stderr, flush=True)

"""svidecar as the image has it: a copy of this tree's ``proxy/`` whose hot path is machine code (``.ci/compile``).

It takes most of a minute, so the copy is kept, under a name made of everything that went into it.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
SCRIPT = TREE / ".ci" / "compile"
COMPILERS = ("cc", "gcc", "clang")
LIMIT_S = 900.0
FORGOTTEN_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Build:
    """Where the package is taken from (None: from this tree, as it is), and in words what that is."""

    tree: Path | None
    said: str


INTERPRETED = Build(None, "plain Python")


def of_this_tree(say: Callable[[str], None], *, interpreted: bool) -> Build:
    """Compiled, if that can be and is wanted; else ``said`` has the reason."""
    if interpreted:
        return Build(None, "plain Python, as was asked for")
    if why := missing():
        return Build(None, f"plain Python ({why})")
    kept = cache() / key()
    if not kept.is_dir():
        say("compiling svidecar as the image has it (.ci/compile; once for each state of the tree) ...")
        if why := _compile(kept):
            return Build(None, f"plain Python (.ci/compile failed: {why})")
    _forget_old(kept)
    return Build(kept, f"hot path compiled, as in the image ({len(list((kept / 'proxy').rglob('*.so')))} modules)")


def missing() -> str:
    """What a compilation lacks here; empty where it lacks nothing."""
    if not SCRIPT.is_file():
        return "this tree has no .ci/compile"
    if importlib.util.find_spec("mypyc") is None:
        return "no mypyc: pip install '.[test]'"
    if not any(map(shutil.which, COMPILERS)):
        return "no C compiler: apt-get install gcc libc6-dev"
    return ""


def cache() -> Path:
    """Where copies are kept: XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svidecar-loadtest"


def key(tree: Path = TREE) -> str:
    """Of the sources, the script, this Python and its mypyc: another name when any of them changed."""
    digest = hashlib.sha256(f"{sys.executable} {sys.version} {_version_of_mypy()}".encode())
    for path in [tree / ".ci" / "compile", *sorted((tree / "proxy").rglob("*.py"))]:
        digest.update(f"{path.relative_to(tree)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _version_of_mypy() -> str:
    try:
        return metadata.version("mypy")
    except metadata.PackageNotFoundError:
        return "none"


def _compile(kept: Path) -> str:
    """Into ``kept``, whole or not at all. Why it failed, or nothing."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        call = ["bash", str(SCRIPT), f"{scratch}/copy"]
        environment = {**os.environ, "PYTHON": sys.executable}
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        Path(scratch, "copy").rename(kept)
    return ""


def _forget_old(kept: Path) -> None:
    """A copy that is used stays new; another run may be using any that was used lately."""
    kept.touch()
    for old in kept.parent.iterdir():
        if time.time() - old.stat().st_mtime > FORGOTTEN_S:
            shutil.rmtree(old, ignore_errors=True)

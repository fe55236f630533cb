"""The laws of the house that a machine can hold: imports point down, files stay small, every reason has its answer."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import REASONS
from proxy.flow.rescue import CONNECTION_ONLY, RESCUES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "config", "loadtest", "proxy", "tests")
BINARY = frozenset({".pyc", ".so"})
MAX_LINES = 400
MAX_FUNCTION_LINES = 40


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_imports_point_down() -> None:
    """The floors of the house, the pure rooms and no cycles: import-linter, as pyproject.toml says."""
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", list(_sources("proxy", "loadtest")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    """400 lines at most, and 40 for a function; a docstring says what it is for."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    tree = ast.parse(text)
    assert not tree.body or ast.get_docstring(tree), "a module says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} is too long"


def test_every_reason_is_answered_or_ends_a_connection() -> None:
    """Who adds a class to proxy/errors is sent to the table of answers."""
    assert RESCUES.keys() | CONNECTION_ONLY == REASONS.keys()


def test_tasks_are_made_in_one_place() -> None:
    """Law 10: ``create_task`` stands in net/tasks.py alone."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in _sources("proxy")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"create_task", "ensure_future"}
    }
    assert found == {"proxy/net/tasks.py"}


def test_no_merge_was_left_half_done() -> None:
    """A page with both sides of a conflict in it reads well enough for nobody to see it."""
    below = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    texts = [path for path in (*ROOT.iterdir(), *below) if path.is_file() and path.suffix not in BINARY]
    marked = [path.name for path in texts if re.search(rb"^(<{7}|>{7}|\|{7})( |$)", path.read_bytes(), re.MULTILINE)]
    assert marked == []
    assert ROOT / "README.md" in texts

"""Which svidecar is measured."""

import shutil
from pathlib import Path

import pytest

from loadtest import build


def test_plain_python_is_taken_where_it_is_asked_for() -> None:
    """Nothing is compiled, and it is said."""
    found = build.of_this_tree(print, interpreted=True)
    assert found.tree is None
    assert "as was asked for" in found.said


def test_without_a_compiler_it_is_plain_python_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with a silent difference would be worth nothing."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    found = build.of_this_tree(print, interpreted=False)
    assert found.tree is None
    assert "plain Python (no" in found.said


def test_another_state_of_the_tree_has_another_name(tmp_path: Path) -> None:
    """A changed byte in any source; so no old copy is ever measured for a new one."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "compile").write_text("x")
    source = tmp_path / "proxy" / "a.py"
    source.parent.mkdir()
    source.write_text("1")
    before = build.key(tmp_path)
    assert build.key(tmp_path) == before
    source.write_text("2")
    assert build.key(tmp_path) != before
    source.rename(source.with_name("b.py"))
    (tmp_path / "proxy" / "a.py").write_text("")
    assert len({before, build.key(tmp_path)}) == 2

"""The report of ``svidecar check``."""

import json
from pathlib import Path

import pytest
from support.yaml_text import GOOD

from proxy.config.check import check, refusal
from proxy.config.problem import ConfigInvalid, ConfigUnreadable, Problem


def _written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    """No problems; warnings with the line of what they are about; a summary."""
    report = check(_written(tmp_path, GOOD), {}, 0.0)
    assert not report.problems
    assert [(warning.path, warning.line) for warning in report.warnings] == [("identity.files", 3), ("tokens.keys", 5)]
    assert report.summary[0] == "service orders of trust domain example.org"


def test_a_warning_about_a_default(tmp_path: Path) -> None:
    """It has the line of what is written around it, or none."""
    report = check(_written(tmp_path, GOOD + "limits: {head: 9KiB}\ntimeouts: {idle: 10s}\n"), {}, 0.0)
    assert {warning.path: warning.line for warning in report.warnings}["tokens.max_size"] == 5
    assert {warning.path: warning.line for warning in report.warnings}["timeouts.upstream_idle"] == 15


def test_as_data(tmp_path: Path) -> None:
    """What ``--json`` prints, good and bad."""
    good = check(_written(tmp_path, GOOD), {}, 0.0).as_data()
    assert good["valid"] is True
    assert json.loads(json.dumps(good)).keys() == {"valid", "problems", "warnings", "summary"}
    bad = refusal(ConfigInvalid([Problem(path="a", line=1, message="m")])).as_data()
    assert bad["valid"] is False
    assert list(bad["problems"]) == [{"path": "a", "line": 1, "message": "m"}]


def test_refusals_pass_through(tmp_path: Path) -> None:
    """A missing file is told apart from a bad one."""
    with pytest.raises(ConfigUnreadable):
        check(tmp_path / "no.yaml", {}, 0.0)
    with pytest.raises(ConfigInvalid):
        check(_written(tmp_path, "a: 1\n"), {}, 0.0)

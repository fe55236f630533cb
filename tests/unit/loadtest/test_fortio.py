"""What fortio reports, and what is made of it."""

import json
import os
import stat
from pathlib import Path

import pytest

from loadtest.fortio import program
from loadtest.fortio.__main__ import beside, rows
from loadtest.fortio.program import Round
from loadtest.fortio.published import PUBLISHED
from loadtest.fortio.rig import Step, median

REPORT = {
    "RunType": "HTTP",
    "ActualQPS": 999.6,
    "DurationHistogram": {
        "Count": 1000,
        "Percentiles": [{"Percentile": 50, "Value": 0.0003225}, {"Percentile": 99.9, "Value": 0.0036}],
    },
    "RetCodes": {"200": 990, "503": 6, "-1": 4},
}


def _said(**changes: object) -> str:
    return "Fortio 1.66.2 running\n" + json.dumps(REPORT | changes) + "\nSuccessfully wrote\n"


def test_the_report_of_fortio() -> None:
    """Seconds become milliseconds, and every code but 200 is an error; -1 is fortio's for no answer."""
    found = program.parse(_said(), 1000)
    assert found.ms == pytest.approx({"p50": 0.3225, "p99.9": 3.6})
    assert found.errors == {"status 503": 6, "status -1": 4}
    assert (found.requests, found.bad) == (1000, "")


def test_a_rate_that_was_not_kept_is_bad() -> None:
    """What fortio loses by counting whole calls is allowed, more is not."""
    assert program.parse(_said(ActualQPS=971.0), 1000).bad == ""
    assert "only 969 of 1000" in program.parse(_said(ActualQPS=969.0), 1000).bad


def test_nothing_but_errors() -> None:
    """Fortio then has no percentiles."""
    histogram = {"Count": 0, "Percentiles": None}
    assert program.parse(_said(DurationHistogram=histogram), 1000).ms == {}


def test_fortio_is_found_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every other place; and where ``go install`` puts it."""
    for name in ("named", "gobin"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fortio").touch(stat.S_IRWXU)
    monkeypatch.setenv("GOBIN", str(tmp_path / "gobin"))
    monkeypatch.setenv("PATH", os.defpath)
    assert program.find(tmp_path / "named") == str(tmp_path / "named" / "fortio")
    assert program.find(None) == str(tmp_path / "gobin" / "fortio")


def _step(p90_ms: float) -> Step:
    direct = Round(sent_per_s=1000, requests=1000, errors={}, ms={"p50": 0.25, "p90": 0.5}, bad="")
    pair = Round(sent_per_s=1000, requests=1000, errors={"status 503": 1}, ms={"p50": 0.5, "p90": p90_ms}, bad="")
    return Step(
        connections=8, direct=direct, pair=pair, vcpu={"egress": 0.1, "ingress": 0.2}, mb={"egress": 40, "ingress": 50}
    )


def test_added_is_the_pair_less_the_direct_way() -> None:
    """Only of percentiles that both have."""
    step = _step(2.0)
    assert (step.added_ms("p90"), step.added_ms("p99")) == (1.5, None)
    assert step.bad == ["8 connections, pair: {'status 503': 1}"]
    assert rows([step])[1] == ("8", "0.25", "0.50", "-", "0.25", "1.50", "-", "0.100", "0.200", "40", "50")
    assert median([None, 1.0, 3.0]) == 2.0
    assert median([None]) is None


def test_the_others_are_marked_as_of_another_machine() -> None:
    """Each row of the table says whose figures it has."""
    _, *table = beside([_step(2.0)])
    assert len(table) == 2 + len(PUBLISHED)
    assert [row[-1] == "this one" for row in table] == [True, True, *[False] * len(PUBLISHED)]
    assert all(row[-1].startswith("another's: ") for row in table[2:])

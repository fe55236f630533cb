"""Text and JSON."""

import json
from pathlib import Path

import pytest
from support.loads import whole

from loadtest import report
from loadtest.checks import Check, Verdict
from loadtest.contenders.pair import Duty
from loadtest.results import Results, Turn

CHECK = Check("no token", Duty.TOKEN, ("401",), "200", Verdict.NOT_DONE)
TURN = Turn(contender="nginx", round=1, commands={}, rest={"egress": 20.0, "ingress": 19.66})
RESULTS = Results(contenders=("nginx",), checks={"nginx": [CHECK]}, turns=[TURN])


def test_the_text_has_only_what_was_measured() -> None:
    """And what a contender does not do is in it."""
    text = report.text(RESULTS)
    assert "no: chain only" in text
    assert "19.7" in text
    assert "microseconds" not in text


def test_a_check_that_is_not_done_is_shown_with_what_was_seen() -> None:
    """Not left out."""
    assert "not done (200)" in report.checks(RESULTS)


def test_the_json_has_every_figure_and_the_summary(tmp_path: Path) -> None:
    """As a program would read it."""
    report.write_json(tmp_path / "out.json", RESULTS, {"machine": {"cores": 2}})
    read = json.loads((tmp_path / "out.json").read_text())
    assert read["machine"] == {"cores": 2}
    assert read["turns"][0]["rest"]["ingress"] == 19.66
    assert read["checks"]["nginx"][0]["verdict"] == "not done"
    assert read["summary"]["cpu_vs_nginx"] is None


def test_the_figures_of_the_json_are_medians_with_their_spread(tmp_path: Path) -> None:
    """By contender and measure; what was not measured is not there."""
    report.write_json(tmp_path / "out.json", whole(), {})
    found = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert found["svidecar"]["one-token.total_us"] == pytest.approx(
        {"median": 90.0, "low": 60.0, "high": 120.0, "rounds": 2}
    )
    assert "rate-half.p99.99_ms" in found["envoy"]
    assert "stream_cpu_s_per_gb" not in found["envoy"]


def test_what_a_scenario_of_its_own_printed_is_shown() -> None:
    """With its exit code."""
    alone = {"growth": {"exit_code": 1, "printed": "a slope", "said": ""}}
    text = report.text(Results(contenders=(), checks={}, turns=[], alone=alone))
    assert "growth (exit code 1)" in text
    assert "a slope" in text

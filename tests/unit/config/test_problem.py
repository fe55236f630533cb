"""Problems are told one a line, in the order of the file."""

from proxy import errors
from proxy.config.problem import (
    MAX_KEY,
    MAX_LOGGED,
    MAX_PROBLEMS,
    ConfigInvalid,
    ConfigUnreadable,
    Place,
    Problem,
    in_order,
)


def _problem(line: int | None = 1, message: str = "is wrong") -> Problem:
    return Problem(path="a.b", line=line, message=message)


def test_told_as_editors_jump_to_it() -> None:
    """File, line, path, message; what there is none of is left out."""
    assert _problem(17).told("F") == "F:17: a.b: is wrong"
    assert _problem(None).told("F") == "F: a.b: is wrong"
    assert Problem(path="", line=3, message="m").told("F", degree="warning") == "F:3: warning: m"


def test_places_name_keys_and_items() -> None:
    """A path reads as the YAML is written."""
    place = Place("", []).key("outbound").key("destinations").item(0).key("host")
    assert place.path == "outbound.destinations[0].host"


def test_a_path_cannot_drive_a_terminal() -> None:
    """A key of the file may hold escape sequences or be endless; a path shows neither."""
    assert "\x1b" not in Place("", []).key("\x1b[2J").path
    assert len(Place("", []).key("k" * MAX_KEY).path) == MAX_KEY
    assert Place("", []).key("k" * (MAX_KEY + 1)).path == "k" * MAX_KEY + "..."


def test_in_order_of_lines_each_once() -> None:
    """The same problem seen twice is one; a problem without a line comes first."""
    found = [_problem(9), _problem(2), _problem(9), _problem(None)]
    assert [problem.line for problem in in_order(found)] == [None, 2, 9]


def test_not_more_than_a_person_reads() -> None:
    """At the limit all are told; one more, and the rest is counted."""
    assert len(in_order([_problem(n) for n in range(1, MAX_PROBLEMS + 1)])) == MAX_PROBLEMS
    cut = in_order([_problem(n) for n in range(1, MAX_PROBLEMS + 6)])
    assert len(cut) == MAX_PROBLEMS + 1
    assert cut[-1].message == "and 5 more problems"


def test_invalid_is_the_refusal_of_errors() -> None:
    """One reason, whoever raises it; the log line names the problems, up to its limit."""
    invalid = ConfigUnreadable([_problem(n) for n in range(1, MAX_LOGGED + 2)])
    assert isinstance(invalid, ConfigInvalid)
    assert isinstance(invalid, errors.ConfigInvalid)
    assert invalid.reason == "config_invalid"
    assert errors.REASONS["config_invalid"] is errors.ConfigInvalid
    assert str(invalid).startswith("the file:1: a.b: is wrong; the file:2")
    assert str(invalid).count("is wrong") == MAX_LOGGED

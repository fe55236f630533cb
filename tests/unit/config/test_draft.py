"""What was read so far, by its paths."""

from proxy.config.address import HostPort
from proxy.config.document import Scalar
from proxy.config.draft import MIN_TELLING, Draft
from proxy.config.problem import Bad, Place


def _draft(text: str = "secret") -> Draft:
    return Draft(
        values={"a": {"b": 1, "bad": Bad.BAD}, "inbound": {}, "list": (1, Bad.BAD, 3)},
        lines={"": 1, "a": 2, "a.b": 3, "list": 4, "list[0]": 5, "inbound": 6, "inbound.listen": 7},
        expanded={"a.b": Scalar(line=3, text=text, plain=True, variables=("V",))},
        root=Place("", []),
    )


def test_values_by_path() -> None:
    """None where there is nothing good."""
    draft = _draft()
    assert draft.get("a.b") == 1
    assert draft.get("a.c") is None
    assert draft.get("a.b.c") is None
    assert draft.items("list") == [(0, 1), (2, 3)]
    assert draft.items("nothing") == []


def test_listeners() -> None:
    """A bad one is not known, an absent section does not listen, and one without an address has the default."""
    draft = _draft()
    assert draft.inbound() is None
    assert draft.outbound() is None
    assert draft.listen("metrics", HostPort("::1", 1)) == HostPort("::1", 1)


def test_the_line_of_what_is_written_around() -> None:
    """A path that is not in the file has the line of the nearest that is."""
    draft = _draft()
    draft.refuse("a.b.c[3].d", "m")
    draft.refuse("list[0].x", "m")
    draft.refuse("x.y", "m")
    draft.refuse("x", "m", near="a")
    assert [problem.line for problem in draft.root.problems] == [3, 5, 1, 2]


def test_values_of_the_environment_are_taken_out() -> None:
    """Quoted ones are named; any other trace makes the message plain."""
    draft = _draft()
    draft.refuse("a", "'secret' is no good")
    draft.refuse("a.b", "in secretly")
    draft.refuse("list", "secret")
    assert [problem.message for problem in draft.root.problems] == [
        "the value of ${V} is no good",
        "the value of ${V} does not fit here",
        "secret",
    ]


def test_a_value_too_short_to_tell() -> None:
    """Below the limit it is a syllable; at the limit it is taken out."""
    short, telling = _draft("x" * (MIN_TELLING - 1)), _draft("x" * MIN_TELLING)
    for draft in (short, telling):
        draft.refuse("a", "xxxx is no good")
    assert short.root.problems[0].message == "xxxx is no good"
    assert telling.root.problems[0].message == "the value of ${V} does not fit here"

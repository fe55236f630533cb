"""Kinds of one value, and what they say of a text that is none."""

import pytest

from proxy.config.document import Broken, Items, Scalar, Table
from proxy.config.problem import Bad, Place
from proxy.config.value import MAX_SHOWN, Later, Unfit, Value, choice, shown, text, yaml_type

NAME = text("a name", "orders", r"[a-z]+", longest=8)


def _read(kind: Value[str], raw: str, *, plain: bool = True, variables: tuple[str, ...] = ()) -> tuple[str | Bad, str]:
    place = Place("a", [])
    value = kind.read(Scalar(line=3, text=raw, plain=plain, variables=variables), place)
    return value, "\n".join(problem.told("F") for problem in place.problems)


def test_a_text_of_the_kind() -> None:
    """It is the value, and nothing is said."""
    assert _read(NAME, "orders") == ("orders", "")


@pytest.mark.parametrize("raw", ["", "~", "null", "Null", "NULL"])
def test_nothing_is_told_as_empty(raw: str) -> None:
    """A key with nothing behind it, the most common slip; in quotes, null is a word."""
    assert _read(NAME, raw) == (Bad.BAD, "F:3: a: is empty; expected a name, for example orders")
    if raw == "null":
        assert _read(NAME, raw, plain=False) == ("null", "")


def test_an_empty_variable_is_empty() -> None:
    """Set to nothing is not a value."""
    assert _read(NAME, "", variables=("V",)) == (Bad.BAD, "F:3: a: is empty; expected a name, for example orders")


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("yes", "true or false"),
        ("off", "true or false"),
        ("true", "true or false"),
        ("123", "a number"),
        ("1.3", "a number"),
        ("22:22", "a number"),
        ("0x1f", "a number"),
        ("2026-01-01", "a date"),
    ],
)
def test_what_yaml_takes_for_something_else(raw: str, seen: str) -> None:
    """A text that other readers of the same file would not see as text needs quotes, and is told so."""
    anything = text("a text", "x")
    assert _read(anything, raw) == (Bad.BAD, f"F:3: a: '{raw}' is {seen} to YAML: write it in quotes")
    assert _read(anything, raw, plain=False) == (raw, "")
    assert _read(anything, raw, variables=("V",)) == (raw, "")


@pytest.mark.parametrize(
    ("node", "form"),
    [(Items(line=3, nodes=()), "a list"), (Table(line=3, entries=()), "a mapping")],
)
def test_another_form(node: Items | Table, form: str) -> None:
    """It says what was expected, an example, and what was there."""
    place = Place("a", [])
    assert NAME.read(node, place) is Bad.BAD
    assert place.problems[0].message == f"expected a name, for example orders, not {form}"


def test_what_was_told_is_not_told_again() -> None:
    """A broken node has its problem."""
    place = Place("a", [])
    assert NAME.read(Broken(line=1), place) is Bad.BAD
    assert not place.problems


def test_the_length_of_a_text() -> None:
    """At the limit it is read, one more is refused."""
    assert _read(NAME, "abcdefgh") == ("abcdefgh", "")
    assert _read(NAME, "abcdefghi")[1] == "F:3: a: 'abcdefghi' is longer than 8 characters"


@pytest.mark.parametrize("raw", ["a\x1b[0m", "a\nb", "a\x00", "a\u200bb", "a\u202eb", "\ud800"])
def test_what_cannot_be_printed(raw: str) -> None:
    """Control characters and invisible ones are in no value, and in no message."""
    value, said = _read(text("a text", "x"), raw, plain=False)
    assert value is Bad.BAD
    assert said.isprintable()


def test_a_long_value_is_cut_where_it_is_shown() -> None:
    """Enough to find it."""
    assert shown(Scalar(line=1, text="a" * MAX_SHOWN, plain=True)) == repr("a" * MAX_SHOWN)
    assert shown(Scalar(line=1, text="a" * (MAX_SHOWN + 1), plain=True)) == repr("a" * MAX_SHOWN + "...")
    assert shown(Scalar(line=1, text="b", plain=True, variables=("A", "B"))) == "the value of ${A} and ${B}"


def test_a_choice() -> None:
    """One of these words; the message has them all."""
    kind = choice(of=("stdout", "off"))
    assert _read(kind, "stdout") == ("stdout", "")
    assert _read(kind, "of")[1] == "F:3: a: 'of' is not one of stdout, off, for example stdout"


def test_a_choice_that_looks_like_a_number() -> None:
    """A version needs no quotes, and the schema takes the number as well."""
    kind = choice(of=("1.3", "1.2"))
    assert _read(kind, "1.3") == ("1.3", "")
    assert _read(kind, "1.3", plain=False) == ("1.3", "")
    assert _read(kind, "1.30")[0] is Bad.BAD
    assert kind.json == {"enum": ["1.3", "1.2", 1.3, 1.2]}


def test_a_word_of_a_later_release() -> None:
    """It is told apart from a slip."""
    kind = choice(of=("files",), later={"spire": "comes later; write files"})
    assert _read(kind, "spire") == (Bad.LATER, "F:3: a: 'spire' comes later; write files")
    assert issubclass(Later, Unfit)


def test_types_as_yaml_sees_them() -> None:
    """YAML 1.1, as most readers of these files are."""
    types = {raw: yaml_type(Scalar(line=1, text=raw, plain=True)) for raw in ("a", "1", "1.5", "no", "=", "<<", "1:2")}
    assert types == {"a": "str", "1": "int", "1.5": "float", "no": "bool", "=": "str", "<<": "str", "1:2": "int"}

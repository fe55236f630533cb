"""YAML text -> document: the mistakes of a first day, and those of an attacker."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.yaml_text import GOOD

from proxy.config.compose import MAX_BYTES, MAX_DEPTH, MAX_NODES, compose, decode
from proxy.config.document import Broken, Items, Scalar, Table
from proxy.config.problem import ConfigInvalid, Place, Problem


def _refusal(text: str) -> Problem:
    with pytest.raises(ConfigInvalid) as caught:
        compose(text, Place("", []))
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def _noted(text: str) -> list[str]:
    place = Place("", [])
    compose(text, place)
    return [problem.told("F") for problem in place.problems]


def test_a_tree_that_knows_its_lines() -> None:
    """Keys, items and values each have the line on which they stand."""
    tree = compose("a: 1\nb:\n  - 'x'\n  - {c: }\n", Place("", []))
    assert isinstance(tree, Table)
    assert [(entry.key, entry.line) for entry in tree.entries] == [("a", 1), ("b", 2)]
    assert tree.entries[0].node == Scalar(line=1, text="1", plain=True)
    items = tree.entries[1].node
    assert isinstance(items, Items)
    assert items.nodes[0] == Scalar(line=3, text="x", plain=False)
    assert items.nodes[1].line == 4


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_windows_line_ends(end: str) -> None:
    """They are line ends like others: the same tree, the same lines."""
    assert compose(GOOD.replace("\n", end), Place("", [])) == compose(GOOD, Place("", []))


def test_a_byte_order_mark_is_dropped() -> None:
    """Some editors on Windows write one."""
    assert decode(b"\xef\xbb\xbfservice: a") == "service: a"


@pytest.mark.parametrize("raw", ["service: ü".encode("latin-1"), "service: a".encode("utf-16")])
def test_not_utf_8(raw: bytes) -> None:
    """The message says what to do, and the line."""
    with pytest.raises(ConfigInvalid) as caught:
        decode(raw)
    assert caught.value.problems[0].told("F") == "F:1: the file is not UTF-8 text: save it as UTF-8"


def test_the_line_of_bytes_that_are_no_text() -> None:
    """It is counted up to the first bad byte."""
    with pytest.raises(ConfigInvalid) as caught:
        decode(b"a: 1\nb: \xff\n")
    assert caught.value.problems[0].line == 2


def test_the_size_of_a_file() -> None:
    """At the limit it is read; a byte more is refused, in bytes and in text."""
    decode(b"#" * MAX_BYTES)
    with pytest.raises(ConfigInvalid, match="larger than 1048576 bytes"):
        decode(b"#" * (MAX_BYTES + 1))
    compose("a: 1 #" + " " * (MAX_BYTES - 6), Place("", []))
    assert "longer than 1048576" in _refusal("a: 1 #" + " " * (MAX_BYTES - 5)).message


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "   "])
def test_an_empty_file(text: str) -> None:
    """It is told where to begin."""
    assert _refusal(text).told("F") == "F:1: the file is empty: start from one of the examples in config/"


def test_tabs_are_told_each() -> None:
    """All lines at once; a tab in a comment does no harm."""
    with pytest.raises(ConfigInvalid) as caught:
        compose("a:\n\tb: 1\n  \tc: 2\n", Place("", []))
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert "a tab is used for indentation: YAML allows spaces only" in caught.value.problems[0].message
    assert _refusal("a:\n  b: 1\t# one\n").told("F") == "F:2: a tab is here: YAML allows spaces only"
    compose("a: 1 #\tone\n#\ttwo\n", Place("", []))


def test_a_duplicate_key_is_told() -> None:
    """PyYAML would take the last one silently."""
    assert _noted("a: 1\nb: {c: 1, c: 2}\na: 2\n") == [
        "F:2: b.c: this key is already on line 2: remove one of the two",
        "F:3: a: this key is already on line 1: remove one of the two",
    ]


def test_a_duplicate_key_cannot_hide_behind_an_alias() -> None:
    """Two keys with the very same node are two keys."""
    assert len(_noted("a: &x 1\na: *x\n")) == 1


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!str", "!mine", "!"])
def test_tags_are_refused(tag: str) -> None:
    """None is needed, and some make objects."""
    place = Place("", [])
    tree = compose(f"a: {tag} x\nb: {tag} [x]\n", place)
    assert [problem.line for problem in place.problems] == [1, 2]
    assert isinstance(tree, Table)
    assert all(isinstance(entry.node, Broken) for entry in tree.entries)


@pytest.mark.parametrize("text", ["[a]: 1", "{a: 1}: 1", "? [a]\n: b\n", "!!str a: 1", "a: &x k\n*x : 1\n"])
def test_a_key_is_a_plain_word(text: str) -> None:
    """Lists, mappings, tags and aliases are none."""
    assert _refusal(text).message == "a key must be a plain word"


def test_aliases_are_read() -> None:
    """An anchor may be used again, and stands for the same."""
    tree = compose("a: &x [1]\nb: *x\n", Place("", []))
    assert isinstance(tree, Table)
    assert tree.entries[0].node == tree.entries[1].node


def test_an_alias_bomb_is_refused() -> None:
    """Ten levels of ten: ten lines that would be ten thousand million values."""
    levels = "".join(f"l{n}: &l{n} [{','.join(['*l' + str(n - 1)] * 10)}]\n" for n in range(1, 10))
    assert f"more than {MAX_NODES} values" in _refusal("l0: &l0 x\n" + levels).message


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}", "a: *nowhere"])
def test_an_alias_to_itself_or_to_nothing(text: str) -> None:
    """It names no anchor that ended above it."""
    assert "names no anchor" in _refusal(text).message


def test_the_number_of_values() -> None:
    """At the limit it is read, one more is refused; the list and the mapping count too."""
    compose("a: [" + "1," * (MAX_NODES - 2) + "]", Place("", []))
    assert "more than 50000 values" in _refusal("a: [" + "1," * (MAX_NODES - 1) + "]").message


def test_the_depth() -> None:
    """At the limit it is read, one deeper is refused."""
    compose("[" * (MAX_DEPTH - 1) + "x" + "]" * (MAX_DEPTH - 1), Place("", []))
    assert "nested deeper than 16" in _refusal("[" * MAX_DEPTH + "x" + "]" * MAX_DEPTH).message
    assert "nested deeper than 16" in _refusal("[" * 100_000).message


def test_depth_does_not_hide_behind_aliases() -> None:
    """A ladder of anchors is as deep as what it stands for."""
    rungs = "".join(f"- &r{n} [*r{n - 1}]\n" for n in range(1, 40))
    assert "nested deeper than 16" in _refusal("- &r0 x\n" + rungs).message


def test_one_document() -> None:
    """A second one would be a second opinion."""
    assert _refusal("---\na: 1\n---\nb: 2\n").told("F").startswith("F:3: a second document begins here")
    compose("---\na: 1\n...\n", Place("", []))


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', "%YAML 1." + "1" * 5000 + "\n---\na: 1", "a: \x00", "a: \x1b[0m"])
def test_what_the_parser_itself_stumbles_over(text: str) -> None:
    """PyYAML raises ValueError and OverflowError for some texts; a person sees a problem."""
    assert _refusal(text).message


@given(st.text(alphabet=st.sampled_from("ab:-?[]{},&*!|>'\"%@`#\\ \t\n\r\x00\ufeff\u2028${}01.~<="), max_size=80))
def test_any_text_is_a_tree_or_a_refusal(text: str) -> None:
    """Nothing else comes out, whatever goes in."""
    with contextlib.suppress(ConfigInvalid):
        compose(text, Place("", []))

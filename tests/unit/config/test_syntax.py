"""What the parser says, in the words of the person who made the mistake."""

import pytest
from support.yaml_text import GOOD, only


@pytest.mark.parametrize(
    ("text", "line", "meaning"),
    [
        ("a:\n  b: 1\n   c: 2\n", 3, "this ':' does not fit here: look at this line and the one above"),
        ("a:1\nb: 2\n", 2, "a missing space after ':'"),
        ("a: b: c\n", 1, "a value with ': ' in it that needs quotes"),
        ("a:\n  b: 1\n c: 2\n", 3, "the indentation does not match line 1: keys of one mapping start in one column"),
        ("- a\nb: 1\n", 2, "the indentation does not match line 1"),
        ("a: 'x\nb: 1\n", 3, "a quote opened on line 1 is never closed"),
        ("a: [1, 2\nb: 1\n", 2, "the '[' or '{' opened on line 1 is not closed before here"),
        ("a: {b: 1\nc: 2\n", 2, "the '[' or '{' opened on line 1 is not closed before here"),
        ("a: 1\nb: @x\n", 2, "a value that starts with this character needs quotes"),
        ("a: %x\n", 1, "a value that starts with this character needs quotes"),
        ("a: [::1]:15006\n", 1, 'an IPv6 address needs quotes: "[::1]:15006"'),
        ('a: "\\q"\n', 1, "this escape is not YAML: use single quotes"),
        ("a: 1\nb: \x07\n", 2, "a control character is in the file"),
        ("a: 1\nb\n\nc: 2\n", 4, "the key on line 2 has no ':' after it"),
        ("%YAML 3.0\n---\na: 1\n", 1, "the file is not YAML from here on"),
        ('a: "\\UFFFFFFFF"\n', None, "an escape or a directive that is none"),
    ],
)
def test_each_mistake_is_explained(text: str, line: int | None, meaning: str) -> None:
    """The line on which it shows, and what to do."""
    said = only(text)
    assert said.startswith("F: " if line is None else f"F:{line}: ")
    assert meaning in said


def test_the_text_is_not_repeated() -> None:
    """A file that is not YAML may be a key or a token."""
    assert "MIIEvg" not in only("-----BEGIN PRIVATE KEY-----\nMIIEvg: 'x\n" + GOOD)

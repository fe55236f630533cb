"""The tree that was written, walked with its paths and lines."""

from proxy.config.compose import compose
from proxy.config.document import walk
from proxy.config.problem import Place


def test_walk_names_all_that_is_written() -> None:
    """A value under a key has the line of the key, where a person looks for it."""
    root = Place("", [])
    tree = compose("a:\n  - b: 1\n    c:\n      2\n  - x\n", root)
    assert [(path, line) for path, line, _ in walk(tree, root)] == [
        ("", 1),
        ("a", 1),
        ("a[0]", 2),
        ("a[0].b", 2),
        ("a[0].c", 3),
        ("a[1]", 5),
    ]

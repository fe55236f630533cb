"""What is written: a tree of values, lists and mappings in which each knows its line.

Values stay text. What a text means is said by the schema, so ``off``, ``1.3`` and ``22:22`` are never turned into
something else on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from proxy.config.problem import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value. ``plain``: written without quotes. ``variables``: the names whose values are in the text."""

    line: int
    text: str
    plain: bool
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    line: int
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key of a mapping with its value."""

    line: int
    key: str
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapping; each key stands in it once."""

    line: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A value about which a problem has been told already."""

    line: int


Node: TypeAlias = Scalar | Items | Table | Broken


def walk(node: Node, place: Place, line: int | None = None) -> Iterator[tuple[str, int, Node]]:
    """All that is written: path, line (of the key, where there is one) and node."""
    yield place.path, line or node.line, node
    if isinstance(node, Items):
        for index, item in enumerate(node.nodes):
            yield from walk(item, place.item(index))
    elif isinstance(node, Table):
        for entry in node.entries:
            yield from walk(entry.node, place.key(entry.key), entry.line)

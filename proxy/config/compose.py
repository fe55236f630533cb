"""YAML text -> document.

PyYAML's own composer is not used: it takes the last of two equal keys silently, and follows aliases and nesting as far
as they go. This one reads the same events, and stops early.
"""

import re
from collections.abc import Iterator

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from proxy.config.document import Broken, Entry, Items, Node, Scalar, Table
from proxy.config.problem import ConfigInvalid, Place, Problem
from proxy.config.syntax import explain

MAX_BYTES = 1024 * 1024
"""Of the file: two hundred times the longest example."""

MAX_NODES = 50_000
"""Of the tree, aliases counted as often as they are used: a few thousand destinations, and no alias bomb."""

MAX_DEPTH = 16
"""Of the tree; the schema itself is seven deep."""

_TAB = re.compile(r"[ ]*\t[ \t]*[^ \t#]")


def decode(raw: bytes) -> str:
    """Text of a file.

    Raises:
        ConfigInvalid: too large, not UTF-8, or empty.

    """
    if len(raw) > MAX_BYTES:
        raise _refusal(None, f"the file is larger than {MAX_BYTES} bytes: it is not the configuration of a sidecar")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refusal(line, "the file is not UTF-8 text: save it as UTF-8") from None


def compose(text: str, place: Place) -> Node:
    """The tree of the one document in ``text``. Duplicate keys and tags are noted in ``place``, and reading goes on.

    Raises:
        ConfigInvalid: not YAML, or beyond a limit.

    """
    if len(text) > MAX_BYTES:
        raise _refusal(None, f"the text is longer than {MAX_BYTES} characters")
    tabs = [number for number, line in enumerate(text.splitlines(), 1) if _TAB.match(line)]
    if tabs:
        message = "a tab is used for indentation: YAML allows spaces only (two for each level)"
        raise ConfigInvalid([Problem(path="", line=line, message=message) for line in tabs])
    try:
        return _Composer(yaml.parse(text, yaml.SafeLoader)).document(place)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets chr() and int() speak for themselves, as for "\\UFFFFFFFF".
        raise ConfigInvalid([explain(error, text)]) from None


class _Composer:
    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Node, int, int]] = {}  # with the number of its nodes, and its height
        self._nodes = 0

    def document(self, place: Place) -> Node:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            raise _refusal(1, "the file is empty: start from one of the examples in config/")
        node, _ = self._node(next(self._events), place, 1)
        following = [event for event in self._events if isinstance(event, DocumentEndEvent | DocumentStartEvent)]
        if len(following) > 1:
            raise _refusal(
                _line(following[1]), "a second document begins here ('---'): one file configures one sidecar"
            )
        return node

    def _node(self, event: Event, place: Place, depth: int) -> tuple[Node, int]:
        """The node that begins with ``event``, and its height."""
        line = _line(event)
        before = self._nodes
        self._count(1, line)
        if depth > MAX_DEPTH:
            raise _refusal(line, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        node, height = self._content(event, place, depth)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = (node, self._nodes - before, height)
        return node, height

    def _content(self, event: Event, place: Place, depth: int) -> tuple[Node, int]:
        line = _line(event)
        node: Node
        match event:
            case SequenceStartEvent():
                node, height = self._items(line, place, depth)
            case MappingStartEvent():
                node, height = self._table(line, place, depth)
            case ScalarEvent():
                node, height = Scalar(line=line, text=str(event.value), plain=event.style is None), 1
            case _:
                raise _refusal(line, "a value is missing here")
        if event.tag is not None:
            place.refuse(line, "tags ('!...') are not read here: write the plain value")
            node = Broken(line=line)
        return node, height

    def _items(self, line: int, place: Place, depth: int) -> tuple[Items, int]:
        nodes: list[Node] = []
        tallest = 0
        while not isinstance(event := next(self._events), CollectionEndEvent):
            node, height = self._node(event, place.item(len(nodes)), depth + 1)
            nodes.append(node)
            tallest = max(tallest, height)
        return Items(line=line, nodes=tuple(nodes)), tallest + 1

    def _table(self, line: int, place: Place, depth: int) -> tuple[Table, int]:
        entries: dict[str, Entry] = {}
        tallest = 0
        while not isinstance(event := next(self._events), CollectionEndEvent):
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                raise _refusal(_line(event), "a key must be a plain word")
            key_line, key = _line(event), str(event.value)
            here = place.key(key)
            node, height = self._node(next(self._events), here, depth + 1)
            tallest = max(tallest, height)
            if key in entries:
                here.refuse(key_line, f"this key is already on line {entries[key].line}: remove one of the two")
            else:
                entries[key] = Entry(line=key_line, key=key, node=node)
        return Table(line=line, entries=tuple(entries.values())), tallest + 1

    def _alias(self, event: AliasEvent, depth: int) -> tuple[Node, int]:
        line = _line(event)
        if event.anchor not in self._anchors:
            raise _refusal(line, "this alias ('*...') names no anchor ('&...') that ended above it")
        node, nodes, height = self._anchors[event.anchor]
        self._count(nodes, line)
        if depth + height - 1 > MAX_DEPTH:
            raise _refusal(line, f"nested deeper than {MAX_DEPTH} levels")
        return node, height

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _refusal(line, f"more than {MAX_NODES} values, aliases counted each time: not a configuration")


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _refusal(line: int | None, message: str) -> ConfigInvalid:
    return ConfigInvalid([Problem(path="", line=line, message=message)])

"""``${NAME}`` and ``${NAME:-default}`` in values.

They expand after parsing, so that a value can never add a key, an item or a line; and the tree remembers which values
came from outside, so that no error ever prints one. ``$${`` stands for ``${`` itself.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from proxy.config.document import Broken, Entry, Items, Node, Scalar, Table
from proxy.config.problem import Place

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|\$\{")


def expand(node: Node, place: Place, environ: Mapping[str, str]) -> Node:
    """The same tree with every reference replaced; what cannot be replaced is noted and broken."""
    match node:
        case Items():
            items = (expand(item, place.item(index), environ) for index, item in enumerate(node.nodes))
            return replace(node, nodes=tuple(items))
        case Table():
            entries = (_expand_entry(entry, place.key(entry.key), environ) for entry in node.entries)
            return replace(node, entries=tuple(entries))
        case Scalar() if "${" in node.text:
            return _expand_scalar(node, place, environ)
        case _:
            return node


def _expand_entry(entry: Entry, place: Place, environ: Mapping[str, str]) -> Entry:
    return replace(entry, node=expand(entry.node, place, environ))


def _expand_scalar(node: Scalar, place: Place, environ: Mapping[str, str]) -> Scalar | Broken:
    used: dict[str, None] = {}
    faults: list[str] = []

    def substitute(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            if found[0] == "${":
                faults.append("'${' begins a reference: write ${NAME}, ${NAME:-default}, or $${ for the characters")
            return "${"
        used[name] = None
        value = environ.get(name, "")
        if value or (name in environ and found["default"] is None):
            return value
        if found["default"] is None:
            faults.append(f"the environment variable {name} is not set: set it, or write ${{{name}:-default}}")
        return found["default"] or ""

    text = _REFERENCE.sub(substitute, node.text)
    for fault in faults:
        place.refuse(node.line, fault)
    if faults:
        return Broken(line=node.line)
    return replace(node, text=text, variables=tuple(used))

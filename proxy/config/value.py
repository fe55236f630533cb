"""Kinds of one value: each reads a text, and says of itself what JSON Schema should say.

A kind that needs no quotes for what YAML takes as a number or a truth value says so in ``bare``; for every other kind
the JSON Schema says "string", and an unquoted ``yes`` or ``123`` is refused here too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

from proxy.config.document import Broken, Node, Scalar, Table
from proxy.config.problem import Bad, Place

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JsonSchema: TypeAlias = dict[str, Any]

MAX_SHOWN = 60
"""Characters of a value that an error repeats: enough to find it."""

_RESOLVER = Resolver()
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_SEEN_AS = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}


class Kind(Protocol[T_co]):
    """Reads one node, and describes what it reads."""

    def read(self, node: Node, place: Place) -> T_co | Bad:
        """The value; or Bad, after the problem was noted in ``place``."""
        ...

    def schema(self) -> JsonSchema:
        """The same in JSON Schema."""
        ...


class Unfit(ValueError):
    """Why a text is not what its kind wants. Never holds the text; empty: nothing better to say than the kind's own."""


class Later(Unfit):
    """The text asks for something that a later release will have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value(Generic[T]):
    """A kind made of a function from text. ``expected`` completes "this is not ..."."""

    expected: str
    example: str
    parse: Callable[[str], T]
    json: JsonSchema = field(default_factory=lambda: {"type": "string"})
    bare: frozenset[str] = frozenset({"str"})
    written: Callable[[T], Any] = str  # a default, as one would write it
    bounds: tuple[T, T] | None = None

    def read(self, node: Node, place: Place) -> T | Bad:
        """The value, if the node is one text of this kind."""
        if isinstance(node, Broken):
            return Bad.BAD
        if not isinstance(node, Scalar):
            form = "a mapping" if isinstance(node, Table) else "a list"
            return place.refuse(node.line, f"expected {self.expected}, for example {self.example}, not {form}")
        if is_null(node):
            return place.refuse(node.line, f"is empty; expected {self.expected}, for example {self.example}")
        return self._parse(node, place)

    def schema(self) -> JsonSchema:
        """The kind, or a text with a reference to the environment in it."""
        return {"anyOf": [self.json, {"$ref": "#/$defs/environment"}]}

    def _parse(self, node: Scalar, place: Place) -> T | Bad:
        try:
            value = self.parse(node.text)
        except Unfit as why:
            reason = str(why) or f"is not {self.expected}, for example {self.example}"
            place.refuse(node.line, f"{shown(node)} {reason}")
            return Bad.LATER if isinstance(why, Later) else Bad.BAD
        seen = yaml_type(node)
        if seen not in self.bare:
            return place.refuse(node.line, f"{shown(node)} is {_SEEN_AS[seen]} to YAML: write it in quotes")
        return value


def is_null(node: Scalar) -> bool:
    """Nothing is written after the colon, or ``null``."""
    return not node.text if node.variables else node.plain and node.text in _NULLS


def yaml_type(node: Scalar) -> str:
    """What other readers of YAML take this for, if it is not null: str, int, float, bool, timestamp."""
    if not node.plain or node.variables:
        return "str"
    tag: str = _RESOLVER.resolve(ScalarNode, node.text, (True, False))  # type: ignore[no-untyped-call]
    kind = tag.rpartition(":")[2]
    return kind if kind in _SEEN_AS else "str"


def shown(node: Scalar) -> str:
    """The value as an error may repeat it: what came from the environment is only named."""
    if node.variables:
        return "the value of " + " and ".join(f"${{{name}}}" for name in node.variables)
    text = node.text if len(node.text) <= MAX_SHOWN else node.text[:MAX_SHOWN] + "..."
    return ascii(text)


def text(expected: str, example: str, pattern: str = r"[^\x00-\x1f\x7f]+", *, longest: int = 1024) -> Value[str]:
    """Text that matches a pattern from end to end."""
    compiled = re.compile(pattern)

    def parse(raw: str) -> str:
        if len(raw) > longest:
            raise Unfit(f"is longer than {longest} characters")
        if not raw.isprintable():
            raise Unfit("holds a character that cannot be printed")
        if not compiled.fullmatch(raw):
            raise Unfit
        return raw

    json = {"type": "string", "pattern": f"^(?:{pattern})$", "maxLength": longest}
    return Value(expected=expected, example=example, parse=parse, json=json)


def flag() -> Value[bool]:
    """``true`` or ``false``."""

    def parse(raw: str) -> bool:
        if raw not in {"true", "false"}:
            raise Unfit
        return raw == "true"

    return Value(
        expected="true or false",
        example="true",
        parse=parse,
        json={"anyOf": [{"enum": [False, True]}, {"enum": ["false", "true"]}]},
        bare=frozenset({"bool", "str"}),
        written=lambda value: "true" if value else "false",
    )


def choice(*, of: Sequence[T], later: Mapping[str, str] | None = None) -> Value[T]:
    """One of these, as ``str`` writes them. ``later``: words of a later release, and what to write for now."""
    words = {str(one): one for one in of}

    def parse(raw: str) -> T:
        if raw in (later or {}):
            raise Later((later or {})[raw])
        if raw not in words:
            raise Unfit
        return words[raw]

    numbers = [float(word) for word in words if yaml_type(Scalar(line=0, text=word, plain=True)) == "float"]
    return Value(
        expected="one of " + ", ".join(words) if len(words) > 1 else next(iter(words)),
        example=next(iter(words)),
        parse=parse,
        json={"enum": [*words, *numbers]},
        bare=frozenset({"str", "float"} if numbers else {"str"}),
    )

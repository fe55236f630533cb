"""Kinds that hold other kinds: a mapping with known keys, a mapping with free keys, a list."""

from collections.abc import Callable
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from typing import Any, Generic, TypeVar

from proxy.config.document import Broken, Items, Node, Scalar, Table
from proxy.config.problem import MAX_PROBLEMS, Bad, Place
from proxy.config.value import JsonSchema, Kind, Value, is_null

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping.

    ``into``: the class and attribute of the Settings that it becomes, which also has its default. ``required``: the
    line to write, told where the key is missing; empty for an optional key. ``fallback``: the default in words, where
    it is no constant of the Settings.
    """

    name: str
    kind: Kind[Any]
    about: str
    _: KW_ONLY
    into: tuple[type, str] | None = None
    required: str = ""
    fallback: str = ""

    def schema(self) -> JsonSchema:
        """The kind, with what a person wants to know of this key."""
        about = f"{self.about} Default: {self.fallback}." if self.fallback else self.about
        described = {"description": about, **self.kind.schema()}
        default = default_of(*self.into) if self.into else None
        if default is not None and isinstance(self.kind, Value):
            described["default"] = default if isinstance(default, bool) else self.kind.written(default)
        return described


def default_of(settings: type, attribute: str) -> Any:
    """The default that a class of Settings gives to an attribute; None if it gives none."""
    found = next(one for one in fields(settings) if one.name == attribute)
    if found.default_factory is not MISSING:
        return found.default_factory()
    return None if found.default is MISSING else found.default


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with known keys, read into a dict by these keys.

    What is bad is left out, so that the cross-checks can still say something about the rest.
    """

    keys: tuple[Key, ...]

    def read(self, node: Node, place: Place) -> dict[str, Any] | Bad:
        """The values that are good, by their keys."""
        if not isinstance(node, Table):
            return _not_a(node, place, "a mapping ('key: value' lines)", f"its keys are {_names(self.keys)}")
        values, _ = _read_keys(self.keys, node, place)
        return {name: value for name, value in values.items() if not isinstance(value, Bad)}

    def schema(self) -> JsonSchema:
        """An object without further properties."""
        return _object(self.keys)

    def gather(self, values: dict[str, Any], settings: type) -> dict[str, Any]:
        """Those of ``values`` that belong to this class of Settings, by their names there."""
        mine = {key.name: key.into[1] for key in self.keys if key.into is not None and key.into[0] is settings}
        return {mine[name]: value for name, value in values.items() if name in mine}


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """A mapping with known keys that becomes one value, if all of it is good."""

    make: Callable[..., T]
    keys: tuple[Key, ...]

    def read(self, node: Node, place: Place) -> T | Bad:
        """What ``make`` makes of the values, which it gets by their names in the Settings."""
        if not isinstance(node, Table):
            return _not_a(node, place, "a mapping ('key: value' lines)", f"its keys are {_names(self.keys)}")
        values, is_whole = _read_keys(self.keys, node, place)
        if not is_whole:
            return Bad.BAD
        attributes = {key.name: key.into[1] if key.into else key.name for key in self.keys}
        return self.make(**{attributes[name]: value for name, value in values.items()})

    def schema(self) -> JsonSchema:
        """An object without further properties."""
        return _object(self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Generic[T]):
    """A list of one kind. ``partial``: bad items keep their place, so that the others keep their numbers."""

    item: Kind[T]
    example: str
    at_least: int = 0
    partial: bool = False
    words: bool = False  # one text with spaces between the words is a list too

    def read(self, node: Node, place: Place) -> "tuple[T | Bad, ...] | Bad":
        """The items in their order."""
        if self.words and isinstance(node, Scalar) and not is_null(node):
            words = node.text.split()
            # One word stays the node that it is: an unquoted 0 is a number to YAML, here as everywhere.
            alone = words == [node.text]
            node = Items(line=node.line, nodes=(node,) if alone else tuple(_part(node, word) for word in words))
        if not isinstance(node, Items):
            return _not_a(node, place, "a list (each item after '- ')", f"for example {self.example}")
        if len(node.nodes) < self.at_least:
            return place.refuse(node.line, f"write at least {self.at_least}, for example {self.example}")
        values = tuple(self.item.read(one, place.item(index)) for index, one in enumerate(node.nodes))
        if not self.partial and any(isinstance(value, Bad) for value in values):
            return Bad.BAD
        return values

    def schema(self) -> JsonSchema:
        """An array."""
        array: JsonSchema = {"type": "array", "items": self.item.schema()}
        if self.at_least:
            array["minItems"] = self.at_least
        return {"anyOf": [array, {"type": "string"}]} if self.words else array


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOf(Generic[T]):
    """A mapping whose keys are free, within their kind."""

    key: Value[str]
    item: Kind[T]
    example: str

    def read(self, node: Node, place: Place) -> dict[str, T] | Bad:
        """Values by key."""
        if not isinstance(node, Table):
            return _not_a(node, place, "a mapping ('key: value' lines)", f"for example {self.example}")
        read: dict[str, T] = {}
        for entry in node.entries:
            here = place.key(entry.key)
            name = self.key.read(Scalar(line=entry.line, text=entry.key, plain=False), here)
            value = self.item.read(entry.node, here)
            if not isinstance(name, Bad) and not isinstance(value, Bad):
                read[name] = value
        return read if len(read) == len(node.entries) else Bad.BAD

    def schema(self) -> JsonSchema:
        """An object whose property names are of the kind of the key."""
        return {"type": "object", "propertyNames": self.key.json, "additionalProperties": self.item.schema()}


def _read_keys(keys: tuple[Key, ...], node: Table, place: Place) -> tuple[dict[str, Any], bool]:
    """Values by key, bad ones among them; and whether nothing was wrong."""
    known = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    before = len(place.problems)
    for entry in node.entries:
        if entry.key in known:
            values[entry.key] = known[entry.key].kind.read(entry.node, place.key(entry.key))
        else:
            place.key(entry.key).refuse(entry.line, _unknown(entry.key, keys, place))
    if Bad.LATER not in values.values():
        for key in keys:
            if key.required and not any(entry.key == key.name for entry in node.entries):
                place.key(key.name).refuse(node.line, f"is missing; write {key.required}")
    is_bad = any(isinstance(value, Bad) for value in values.values())
    return values, len(place.problems) == before and not is_bad


def _unknown(name: str, keys: tuple[Key, ...], place: Place) -> str:
    if name == "<<":
        return "YAML's merge keys are not read here: write the keys out"
    if len(place.problems) > MAX_PROBLEMS:
        return "unknown key"  # nobody reads it any more, and a search for each of thousands takes its time
    import difflib  # noqa: PLC0415 - 0.2 MB that a sidecar with a good YAML never needs

    if near := difflib.get_close_matches(name.lower().replace("-", "_"), [key.name for key in keys], n=1):
        return f"unknown key; did you mean '{near[0]}'?"
    if home := place.homes.get(name):
        return f"unknown key here; it belongs {home}: is the indentation right?"
    return f"unknown key; the keys here are {_names(keys)}"


def _names(keys: tuple[Key, ...]) -> str:
    return ", ".join(key.name for key in keys)


def _object(keys: tuple[Key, ...]) -> JsonSchema:
    return {
        "type": "object",
        "properties": {key.name: key.schema() for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _part(node: Scalar, text: str) -> Scalar:
    return Scalar(line=node.line, text=text, plain=False, variables=node.variables)


def _not_a(node: Node, place: Place, form: str, hint: str) -> Bad:
    if isinstance(node, Broken):
        return Bad.BAD
    if isinstance(node, Scalar) and is_null(node):
        return place.refuse(node.line, f"is empty; expected {form}; {hint}")
    seen = {Scalar: "a single value", Items: "a list", Table: "a mapping"}[type(node)]
    return place.refuse(node.line, f"expected {form}, not {seen}; {hint}")

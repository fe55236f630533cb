"""As much of JSON Schema, draft 2020-12, as our own schema uses: an independent judge of what the reader takes."""

import re
from collections.abc import Mapping
from typing import Any

Json = Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
}
_KNOWN = {
    "$schema",
    "$defs",
    "$ref",
    "title",
    "description",
    "default",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "items",
    "minItems",
    "anyOf",
    "enum",
    "const",
    "pattern",
    "maxLength",
    "minimum",
    "maximum",
}


def is_valid(schema: dict[str, Json], value: Json, root: dict[str, Json] | None = None) -> bool:
    """Whether the value is what the schema says."""
    root = root or schema
    assert schema.keys() <= _KNOWN, schema.keys() - _KNOWN
    if "$ref" in schema:
        *_, name = schema["$ref"].split("/")
        return is_valid(root["$defs"][name], value, root)
    if not all((_of_type(schema, value), _in_bounds(schema, value), _as_object(schema, value, root))):
        return False
    if isinstance(value, list) and not _as_array(schema, value, root):
        return False
    return "anyOf" not in schema or any(is_valid(one, value, root) for one in schema["anyOf"])


def _as_array(schema: dict[str, Json], value: list[Json], root: dict[str, Json]) -> bool:
    items = schema.get("items", {})
    return len(value) >= schema.get("minItems", 0) and all(is_valid(items, one, root) for one in value)


def _of_type(schema: dict[str, Json], value: Json) -> bool:
    if "enum" in schema and not any(one == value and type(one) is type(value) for one in schema["enum"]):
        return False
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        return False
    if "type" not in schema:
        return True
    return isinstance(value, _TYPES[schema["type"]]) and not isinstance(value, bool)


def _in_bounds(schema: dict[str, Json], value: Json) -> bool:
    if isinstance(value, str):
        fits = "pattern" not in schema or re.search(schema["pattern"], value) is not None
        return fits and len(value) <= schema.get("maxLength", len(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _as_object(schema: dict[str, Json], value: Json, root: dict[str, Json]) -> bool:
    if not isinstance(value, dict):
        return True
    if not set(schema.get("required", ())) <= value.keys():
        return False
    for name, one in value.items():
        if "propertyNames" in schema and not is_valid(schema["propertyNames"], name, root):
            return False
        below = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
        if below is False or (below is not True and not is_valid(below, one, root)):
            return False
    return True

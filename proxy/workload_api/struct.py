"""``google.protobuf.Struct``: JSON as protobuf, in which the Workload API gives the claims of a validated token.

Value is one of null_value=1 (enum), number_value=2 (double), string_value=3, bool_value=4, struct_value=5,
list_value=6; Struct is map<string, Value> fields=1; ListValue is repeated Value values=1.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.workload_api.wire import FIXED64, LENGTH, VARINT, Value, WireInvalid, field, read_fields, varint

MAX_DEPTH: Final = 32
"""As deep as the JSON of a token may be; a reader that recurses needs a bound."""

_NULL, _NUMBER, _TEXT, _BOOL, _STRUCT, _LIST = 1, 2, 3, 4, 5, 6


def write_struct(value: Mapping[str, Any]) -> bytes:
    """Write a JSON object. Raises TypeError for what JSON does not have."""
    return b"".join(
        field(1, LENGTH, field(1, LENGTH, key.encode()) + field(2, LENGTH, _write_value(value[key])))
        for key in sorted(value)
    )


def _write_value(value: Any) -> bytes:
    match value:
        case None:
            return field(_NULL, VARINT, b"\0")
        case bool():
            return field(_BOOL, VARINT, varint(value))
        case int() | float():
            return field(_NUMBER, FIXED64, struct.pack("<d", value))
        case str():
            return field(_TEXT, LENGTH, value.encode())
        case Mapping():
            return field(_STRUCT, LENGTH, write_struct(value))
        case Sequence():
            return field(_LIST, LENGTH, b"".join(field(1, LENGTH, _write_value(one)) for one in value))
        case _:
            raise TypeError(f"JSON has no {type(value).__name__}")


def read_struct(raw: bytes, depth: int = 0) -> dict[str, Any]:
    """Read a JSON object. Raises WireInvalid."""
    if depth > MAX_DEPTH:
        raise WireInvalid(f"JSON is nested deeper than {MAX_DEPTH}")
    found = {}
    for entry in _messages(raw):
        key, value = "", None
        for number, _, part in read_fields(entry):
            if number == 1:
                key = _text(part)
            elif number == 2:
                value = _read_value(_bytes(part), depth)
        found[key] = value
    return found


def _read_value(raw: bytes, depth: int) -> Any:
    found: Any = None
    for number, wire_type, part in read_fields(raw):  # of a oneof the last counts
        if wire_type != _WIRE_TYPES.get(number, wire_type):
            raise WireInvalid("a JSON value has another wire type than its kind")
        match number:
            case 1:
                found = None
            case 2:
                (found,) = struct.unpack("<d", _bytes(part))
            case 3:
                found = _text(part)
            case 4:
                found = bool(part)
            case 5:
                found = read_struct(_bytes(part), depth + 1)
            case 6:
                found = _read_list(_bytes(part), depth + 1)
            case _:  # unknown, as every reader of protobuf passes over
                pass
    return found


def _read_list(raw: bytes, depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise WireInvalid(f"JSON is nested deeper than {MAX_DEPTH}")
    return [_read_value(part, depth) for part in _messages(raw)]


_WIRE_TYPES: Final = {_NULL: VARINT, _NUMBER: FIXED64, _TEXT: LENGTH, _BOOL: VARINT, _STRUCT: LENGTH, _LIST: LENGTH}


def _messages(raw: bytes) -> list[bytes]:
    """The values of field 1."""
    return [_bytes(part) for number, _, part in read_fields(raw) if number == 1]


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise WireInvalid("a number stands where a message is expected")
    return value


def _text(value: Value) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise WireInvalid("a text is not UTF-8") from error

"""Protocol Buffers as far as the Workload API needs them: fields of wire type 0, 1, 2 and 5, read strictly.

Strict where protobuf is lenient: a field that is cut off, too long or of a wrong wire type refuses the message, for it
comes from the process that gives us our identity, and half an identity is none. Unknown fields are passed over, as
every reader of protobuf must, so that the API can grow.
"""

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
"""The wire types. 3 and 4 were groups, which proto3 does not have."""

_MAX_VARINT_BYTES: Final = 10
_MAX_TAG_BYTES: Final = 5
_UINT32: Final = 1 << 32
_UINT64: Final = 1 << 64
_FIXED: Final = {FIXED64: 8, FIXED32: 4}


class WireInvalid(ValueError):
    """These bytes are not a message of the Workload API; the text names the rule, and holds nothing of the bytes."""


Value = int | bytes
"""An int for VARINT, the bytes of it for the others."""


def read_fields(raw: bytes) -> Iterator[tuple[int, int, Value]]:
    """Give number, wire type and value of each field in its order. Raises WireInvalid."""
    position = 0
    while position < len(raw):
        start = position
        tag, position = read_varint(raw, position)
        if tag >= _UINT32 or position - start > _MAX_TAG_BYTES:
            raise WireInvalid("a field has a number that protobuf does not have")
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise WireInvalid("a field has the number 0")
        value: Value
        if wire_type == VARINT:
            value, position = read_varint(raw, position)
        elif wire_type == LENGTH:
            length, position = read_varint(raw, position)
            value, position = _take(raw, position, length)
        elif wire_type in _FIXED:
            value, position = _take(raw, position, _FIXED[wire_type])
        else:
            raise WireInvalid("a field has a wire type that proto3 does not have")
        yield number, wire_type, value


def read_varint(raw: bytes, position: int) -> tuple[int, int]:
    """Return a base-128 number and the position after it. Raises WireInvalid."""
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if position >= len(raw):
            raise WireInvalid("a number is cut off")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= _UINT64:
                break
            return value, position
    raise WireInvalid("a number is longer than 64 bits")


def varint(value: int) -> bytes:
    """Write a base-128 number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, wire_type: int, value: bytes) -> bytes:
    """Write one field; of type LENGTH with its length before it."""
    tag = varint(number << 3 | wire_type)
    return tag + varint(len(value)) + value if wire_type == LENGTH else tag + value


def _take(raw: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(raw):
        raise WireInvalid("a field is cut off")
    return raw[position:end], end

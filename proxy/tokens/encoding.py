"""The two encodings of JOSE, read strictly: base64url (RFC 7515 section 2) and JSON (RFC 8259).

Strict means one reading. Whatever a second parser downstream could read as another value is refused here: base64url
with padding, foreign characters or loose bits in its last character; JSON with a repeated member name, NaN, an
encoding other than UTF-8, half a surrogate pair, or a number or a depth that parsers treat differently.

Both raise ``ValueError`` alone; the caller knows which refusal that is.
"""

import json
import math
import re
from binascii import a2b_base64, b2a_base64
from typing import Any, Final

from proxy.tokens.numeral import Inexact, same_number

MAX_DEPTH: Final = 32
"""Nested objects and arrays. Claims need four or five; a parser that recurses needs a bound far below its stack."""

MAX_NUMBER_CHARS: Final = 40
"""Characters of one number. A double needs at most 24, a 64-bit integer 20."""

MAX_INTEGER: Final = 2**63 - 1
"""Integers beyond 64 bits are read differently by different languages."""

_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/!!!")  # the two alphabets differ in two characters; ! is in neither
_PADDING: Final = (b"", b"!", b"==", b"=")  # by length modulo 4; one lone character encodes nothing, so it is refused
_BRACKET_OR_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STEP: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def decode_base64url(raw: bytes) -> bytes:
    """Decode base64url without padding, in its only canonical spelling.

    Raises:
        ValueError: it is not what encoding the result again would give.

    """
    padded = raw.translate(_TO_BASE64) + _PADDING[len(raw) & 3]
    decoded = a2b_base64(padded, strict_mode=True)
    if b2a_base64(decoded, newline=False) != padded:
        raise ValueError("base64url has loose bits at its end")
    return decoded


def encode_base64url(value: bytes) -> bytes:
    """Encode as base64url without padding."""
    return b2a_base64(value, newline=False).rstrip(b"=\n").translate(bytes.maketrans(b"+/", b"-_"))


def read_json_object(raw: bytes, *, exactly: bool = False) -> dict[str, Any]:
    """Read one JSON object; ``exactly`` marks the numbers that are ``Inexact``.

    Raises:
        ValueError: it is not an object, or it could be read in two ways.

    """
    text = str(raw, "utf-8")
    if text.count("{") + text.count("[") > MAX_DEPTH:
        _check_depth(text)
    value = (_EXACT_DECODER if exactly else _DECODER).decode(text)
    if type(value) is not dict:
        raise ValueError("JSON is not an object")
    if _SURROGATE_ESCAPE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half a pair raises UnicodeEncodeError, a ValueError
    return value


def _check_depth(text: str) -> None:
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        depth += _STEP.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"JSON is nested deeper than {MAX_DEPTH}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("JSON has a member name twice")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError(f"JSON number is longer than {MAX_NUMBER_CHARS}")
    value = int(text)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise ValueError("JSON integer is beyond 64 bits")
    return value


def _real(text: str) -> float:
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError(f"JSON number is longer than {MAX_NUMBER_CHARS}")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("JSON number is beyond a double")
    return value


def _exact_real(text: str) -> object:  # of a float, compiled code would give the number without its mark
    value = _real(text)
    if same_number(text, repr(value)):
        return value
    return Inexact(value)


def _constant(_name: str) -> float:
    raise ValueError("JSON has no NaN and no Infinity")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=_constant
)
_EXACT_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_exact_real, parse_constant=_constant
)

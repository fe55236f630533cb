"""encoding.py: one reading of base64url and of JSON."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.tokens.encoding import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_NUMBER_CHARS,
    decode_base64url,
    encode_base64url,
    read_json_object,
)
from proxy.tokens.numeral import Inexact


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_base64url_round_trip(value: bytes) -> None:
    """What is encoded decodes to itself, and the encoding is the one of the standard library without padding."""
    encoded = encode_base64url(value)
    assert encoded == base64.urlsafe_b64encode(value).rstrip(b"=")
    assert decode_base64url(encoded) == value


def test_each_last_character() -> None:
    """None of the 64 is taken for padding."""
    for last in range(64):
        encoded = encode_base64url(bytes([0, 0, last]))
        assert len(encoded) == 4
        assert decode_base64url(encoded) == bytes([0, 0, last])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=40))
def test_whatever_decodes_is_canonical(raw: bytes) -> None:
    """No second spelling of any bytes is ever accepted."""
    try:
        decoded = decode_base64url(raw)
    except ValueError:
        return
    assert encode_base64url(decoded) == raw


@pytest.mark.parametrize(
    "raw",
    [
        *(b"Zm9", b"Zm9vY"),  # loose bits; a lone character
        *(b"Zm8=", b"Zg==", b"=", b"====", b"Zm9v="),  # padding
        *(b"Zm+v", b"Zm/v", b"Zm!v"),  # the other alphabet, and none
        *(b"Zm 9v", b" Zm9v", b"Zm9v\n", b"Zm\r\n9v", b"Zm9v\x00", b"Zm9\xff"),
    ],
)
def test_base64url_refuses(raw: bytes) -> None:
    """Padding, foreign characters, white space and loose bits are refused, not skipped."""
    with pytest.raises(ValueError):
        decode_base64url(raw)


def test_every_byte_that_is_not_base64url_is_refused() -> None:
    """Of 256 bytes exactly 64 may stand in a part."""
    accepted = bytes(byte for byte in range(256) if _decodes(b"AA" + bytes([byte]) + b"A"))
    assert sorted(accepted) == sorted(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _decodes(raw: bytes) -> bool:
    try:
        decode_base64url(raw)
    except ValueError:
        return False
    return True


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_json_round_trip(value: dict[str, Any]) -> None:
    """Any JSON object is read as the standard library reads it, escaped or not."""
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert read_json_object(text.encode()) == value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"aud":"a","aud":"b"}',
        b'{"a":{"b":[{"c":1,"c":1}]}}',
        b'{"aud":"a","\\u0061ud":"b"}',  # the same name, spelled in two ways
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":-Infinity}',
        b'{"exp":1e400}',
        b'{"exp":1' + b"0" * 400 + b"}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":0x10}',
        b'{"a":1_0}',
        b'{"a":"\x01"}',
        b'{"a":"\\ud800"}',  # half a pair
        b'{"\\uDC00":1}',
        b'{"a":"\\ud800\\ud800"}',
        b'{"a":1} {"a":2}',
        b'{"a":1}x',
        b'{"a":1}\x00',
        b"// c\n{}",
        *(b"", b"[]", b"1", b"null", b'"{}"', b"{", b"{}]"),
        "{}".encode("utf-16"),
        "{}".encode("utf-16-le"),
        "{}".encode("utf-32"),
        b"\xef\xbb\xbf{}",  # a byte order mark
        b'{"a":"\xc0\xaf"}',  # overlong
        b'{"a":"\xed\xa0\x80"}',  # half a pair as bytes
        "{\u00a0}".encode(),  # a space, but not to JSON
    ],
)
def test_json_refuses(raw: bytes) -> None:
    """What two parsers could read differently, or one not at all, is a ValueError and nothing else."""
    with pytest.raises(ValueError):
        read_json_object(raw)


def test_a_whole_pair_is_text() -> None:
    """A surrogate pair is one character; only half of one is refused. A backslash before u is no escape."""
    assert read_json_object(b'{"a":"\\ud83d\\ude00","b":"\\\\ud800"}') == {"a": "\U0001f600", "b": "\\ud800"}


def test_depth_n_and_n_plus_1() -> None:
    """``MAX_DEPTH`` objects and arrays may be nested, not one more; brackets in strings are text."""

    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert read_json_object(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match="deeper"):
        read_json_object(nested(MAX_DEPTH + 1))
    assert read_json_object(b'{"a":"' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"}')
    assert read_json_object(b'{"a":[' + b",".join([b"{}"] * 1000) + b"]}")


def test_depth_is_of_what_is_open() -> None:
    """Objects count as arrays do; what was closed counts no more, and buys nothing either; strings are no depth."""

    def objects(depth: int) -> bytes:
        return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

    assert read_json_object(objects(MAX_DEPTH))
    with pytest.raises(ValueError, match="deeper"):
        read_json_object(objects(MAX_DEPTH + 1))
    for closed in (b"[]", b"{}", b'["x"]', b'{"x":"y"}'):
        many = (closed + b",") * 1000
        assert read_json_object(b'{"a":[' + many + objects(MAX_DEPTH - 2) + b"]}")
        with pytest.raises(ValueError, match="deeper"):
            read_json_object(b'{"a":[' + many + objects(MAX_DEPTH - 1) + b"]}")


def test_depth_of_text_that_is_no_json_takes_linear_time() -> None:
    """A string that never ends, full of quotes, is looked at once."""
    for raw in (b'{"' + b'\\"' * 500_000, b"[" * 500_000, b'["' * 300_000):
        with pytest.raises(ValueError):
            read_json_object(raw)


def test_number_n_and_n_plus_1() -> None:
    """Numbers are bounded in length, integers to 64 bits as well."""
    assert read_json_object(b'{"a":%d,"b":%d}' % (MAX_INTEGER, -MAX_INTEGER)) == {"a": MAX_INTEGER, "b": -MAX_INTEGER}
    for integer in (MAX_INTEGER + 1, -MAX_INTEGER - 1):
        with pytest.raises(ValueError, match="64 bits"):
            read_json_object(b'{"a":%d}' % integer)
    longest = b"0." + b"1" * (MAX_NUMBER_CHARS - 2)
    assert read_json_object(b'{"a":' + longest + b"}") == {"a": float(longest)}
    for number in (longest + b"1", b"1" * (MAX_NUMBER_CHARS + 1)):
        with pytest.raises(ValueError, match="longer"):
            read_json_object(b'{"a":' + number + b"}")


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("12.5", True),
        ("12.50", True),
        ("1e2", True),
        ("0.1", True),
        ("0.30000000000000004", True),
        ("100.0", True),
        ("100.00000000000000001", False),
        ("0.1000000000000000055511151231257827", False),
        ("9007199254740993.0", False),
        ("1e-400", False),
    ],
)
def test_numbers_with_more_digits_than_a_double_are_marked(text: str, *, exact: bool) -> None:
    """Where that is asked for; their value is the same."""
    raw = b'{"n":[%b]}' % text.encode()
    value = read_json_object(raw, exactly=True)["n"][0]
    assert isinstance(value, Inexact) is not exact
    assert value == read_json_object(raw)["n"][0]
    assert type(read_json_object(raw)["n"][0]) is float

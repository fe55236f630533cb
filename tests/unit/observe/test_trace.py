"""W3C Trace Context."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observe.trace import TraceIds, parse

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"b7ad6b7169203331"
GOOD = b"00-" + TRACE + b"-" + PARENT + b"-01"


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        b"00-" + TRACE + b"-" + PARENT + b"-00",
        b"00-" + TRACE + b"-" + PARENT + b"-ff",
        b"01-" + TRACE + b"-" + PARENT + b"-01",
        b"01-" + TRACE + b"-" + PARENT + b"-01-",
        b"cc-" + TRACE + b"-" + PARENT + b"-01-what-the-future-will-be-like",
        b"fe-" + TRACE + b"-" + PARENT + b"-01",
        b"00-" + b"0" * 31 + b"1-" + PARENT + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 15 + b"1-01",
    ],
)
def test_valid(value: bytes) -> None:
    """Version 00 whole, later versions as far as version 00 goes."""
    assert parse(value) == value[3:35]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-",
        GOOD + b"-more",  # version 00 has no more
        GOOD + b"\n",
        b" " + GOOD,
        GOOD + b" ",
        GOOD.upper(),
        GOOD.replace(b"a", b"A"),
        b"ff" + GOOD[2:],
        b"0g" + GOOD[2:],
        b"00-" + b"0" * 32 + b"-" + PARENT + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        GOOD.replace(b"-", b"_"),
        b"00-" + TRACE + PARENT + b"--01",
        b"00-" + TRACE[:-1] + b"-" + PARENT + b"a-01",
        GOOD + b"," + GOOD,
        b"01-" + TRACE + b"-" + PARENT + b"-01.more",
        b"01-" + TRACE + b"-" + PARENT + b"-0",
        b"01-" + TRACE + b"-" + PARENT + b"-01-a b",
        b"01-" + TRACE + b"-" + PARENT + b"-01-\x00",
        b"01-" + TRACE + b"-" + PARENT + b"-01-\xc3\xa9",
    ],
)
def test_invalid(value: bytes) -> None:
    """Anything else has no trace id."""
    assert parse(value) is None


@given(st.binary(max_size=80))
def test_no_bytes_make_an_error(value: bytes) -> None:
    """A trace id, or none."""
    found = parse(value)
    assert found is None or re.fullmatch(rb"[0-9a-f]{32}", found)


def test_one_valid_value_goes_on_as_it_is() -> None:
    """Byte for byte, the flags too, and no randomness is used."""

    def no_entropy(_: int) -> bytes:
        raise AssertionError

    assert TraceIds(no_entropy).trace_of([GOOD]) == (GOOD, TRACE, False)


@pytest.mark.parametrize("values", [None, [], [b""], [b"nonsense"], [GOOD, GOOD], [GOOD, b"x"]])
def test_missing_invalid_or_repeated_is_made_anew(values: list[bytes] | None) -> None:
    """Of two values none is believed, even if they are equal."""
    value, trace_id, made = TraceIds(os.urandom).trace_of(values)
    assert made
    assert trace_id != TRACE
    assert parse(value) == trace_id
    assert value.endswith(b"-00")


def test_made_ones_differ_and_take_little_of_the_system() -> None:
    """5000 contexts, all different in both ids, from 30 calls of 4 KiB."""
    calls: list[int] = []

    def entropy(size: int) -> bytes:
        calls.append(size)
        return os.urandom(size)

    ids = TraceIds(entropy)
    made = [ids.trace_of(None) for _ in range(5000)]
    assert len({trace_id for _, trace_id, _ in made}) == 5000
    assert len({value[36:52] for value, _, _ in made}) == 5000
    assert calls == [4096] * 30


def test_what_is_made_is_what_the_system_gave() -> None:
    """No byte of randomness is used twice, none is invented."""
    ids = TraceIds(lambda size: bytes(i % 251 + 1 for i in range(size)))
    source = bytes(i % 251 + 1 for i in range(4096)).hex().encode()
    for i in range(3):
        value, trace_id, _ = ids.trace_of(None)
        assert trace_id + value[36:52] == source[i * 48 : i * 48 + 48]


def test_all_zero_randomness_still_makes_a_valid_one() -> None:
    """Zero ids are forbidden; a broken source must neither make them nor hang us."""
    value, trace_id, made = TraceIds(bytes).trace_of(None)
    assert made
    assert parse(value) == trace_id == b"0" * 31 + b"1"


def test_what_is_made_is_not_sampled() -> None:
    """We record nothing."""
    assert TraceIds(os.urandom).trace_of(None)[0].endswith(b"-00")


@given(
    st.integers(0, len(GOOD) - 1),
    st.sampled_from(b"-0af9gA,. \xff"),
    st.sampled_from([b"", b"0", b"-", b"-x"]),
)
def test_the_short_way_and_the_grammar_agree(position: int, octet: int, tail: bytes) -> None:
    """One octet anywhere, and something behind it: the quick check takes nothing that section 3.2.2 does not."""
    value = GOOD[:position] + bytes([octet]) + GOOD[position + 1 :] + tail
    grammar = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
    match = grammar.fullmatch(value)
    good = match is not None and not (match[1] == b"00" and match[3] is not None)
    assert parse(value) == (match[2] if match is not None and good else None)

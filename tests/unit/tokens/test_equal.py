"""What is equal in JSON, and what only looks so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.equal import equal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (3, 3.0, True),
        (-0.0, 0, True),
        (2**53 + 1, float(2**53), False),
        (2**63 - 1, float(2**63), False),
        (0.1, 0.1, True),
        (1, True, False),
        (0, False, False),
        (0.0, False, False),
        (None, False, False),
        (None, 0, False),
        (None, None, True),
        ("3", 3, False),
        ("é", "e\u0301", False),
        ("a", "A", False),
        ([1, 2], [2, 1], False),
        ([1, True], [1, 1], False),
        ([1], 1, False),
        ([], {}, False),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}, True),
        ({"a": None}, {}, False),
        ({"a": 1}, {"A": 1}, False),
    ],
)
def test_equality_is_that_of_rfc_6902(one: object, other: object, verdict: bool) -> None:  # noqa: FBT001
    """By type and value, in both directions, at any depth."""
    assert equal(one, other) is verdict
    assert equal(other, one) is verdict
    assert equal([{"x": one}], [{"x": other}]) is verdict


@given(JSON, JSON)
def test_equality_is_reflexive_symmetric_and_typed(one: Any, other: Any) -> None:
    """And nothing is equal that JSON writes as another type."""
    assert equal(one, one)
    assert equal(one, other) == equal(other, one)
    if equal(one, other):
        kinds = [
            bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in (one, other)
        ]
        assert kinds[0] is kinds[1]

"""carry.py: exactly one token in exactly one field."""

from collections.abc import Sequence

import pytest

from proxy.errors import TokenMissing, TokenRepeated
from proxy.tokens.carry import one_token


def test_one() -> None:
    """One field with one value, byte for byte."""
    assert one_token([b"a.b.c"]) == b"a.b.c"


@pytest.mark.parametrize("values", [None, [], (), [b""]])
def test_missing(values: Sequence[bytes] | None) -> None:
    """No field, or nothing in it."""
    with pytest.raises(TokenMissing):
        one_token(values)


@pytest.mark.parametrize(
    "values",
    [
        [b"a.b.c", b"a.b.c"],
        [b"a.b.c", b""],
        [b"", b""],
        [b"a.b.c,d.e.f"],
        [b"a.b.c, a.b.c"],
        [b"a.b.c,"],
        [b",a.b.c"],
        [b","],
        [b'"a,b"'],
    ],
)
def test_repeated(values: Sequence[bytes]) -> None:
    """Two fields, or a list in one: also with the same token twice, also with an empty one."""
    with pytest.raises(TokenRepeated):
        one_token(values)

"""The mark in ``tracestate``: set once, taken out wherever it stands, and nothing else changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.flow.mark import MAX_MEMBERS, set_mark, take_mark

MARK = b"0123456789abcdef0123456789abcdef"


def test_it_stands_at_the_beginning() -> None:
    """Of what was there, over however many fields; forged ones go."""
    lines = [b"A: 1", b"tracestate: a=1, svidecar=forged", b"B: 2", b"TraceState:svidecar=again,\t b=2,"]
    assert set_mark(lines, MARK) == [b"A: 1", b"B: 2", b"tracestate: svidecar=" + MARK + b",a=1,b=2"]
    assert set_mark([], MARK) == [b"tracestate: svidecar=" + MARK]


def test_it_is_taken_out() -> None:
    """What is left goes on; fields without a mark are not touched."""
    assert take_mark([b"A: 1", b"tracestate: a=1,svidecar=" + MARK + b",b=2"]) == (
        [b"A: 1", b"tracestate: a=1,b=2"],
        MARK,
    )
    assert take_mark([b"tracestate: svidecar=" + MARK]) == ([], MARK)
    lines = [b"tracestate:  a=1 ,b=2", b"Tracestate: svidecars=1,xsvidecar=2,svidecar@x=3"]
    taken, mark = take_mark(lines)
    assert taken is lines
    assert mark is None


@pytest.mark.parametrize(
    "state", [b"svidecar=x,svidecar=x", b"svidecar", b"svidecar=", b" svidecar = ", b"SVIDECAR=\t"]
)
def test_marks_that_are_none(state: bytes) -> None:
    """Two of them, or an empty one: gone, and of no use."""
    assert take_mark([b"tracestate: " + state]) == ([], b"")


def test_the_bound_of_members() -> None:
    """With ours there are as many as the standard has; the last ones go for it."""
    for count in (MAX_MEMBERS - 1, MAX_MEMBERS, MAX_MEMBERS + 5):
        members = [b"k%d=1" % number for number in range(count)]
        (line,) = set_mark([b"tracestate: " + b",".join(members)], MARK)
        assert line[12:].split(b",") == [b"svidecar=" + MARK, *members[: MAX_MEMBERS - 1]]


@given(st.lists(st.binary(max_size=40).filter(lambda raw: b"\n" not in raw and b"\r" not in raw), max_size=4))
def test_no_mark_survives(values: list[bytes]) -> None:
    """Whatever stands in the fields, what is sent on leads to no passage, and what is set is the one mark."""
    lines = [b"tracestate: " + value for value in values] + [b"tracestate: x=1,svidecar=" + MARK]
    taken, _ = take_mark(lines)
    assert take_mark(taken)[1] is None
    assert take_mark(set_mark(lines, b"m"))[1] == b"m"


def test_other_fields_hold_no_marks() -> None:
    """Whatever stands in them, and however long they are: they go on as they came, and nothing of them is a member."""
    lines = [b"X-Trace-State: a=1,svidecar=f00d", b"Cookie: session=1, svidecar=f00d", b"Host: app"]
    assert take_mark(lines) == (lines, None)
    assert set_mark(lines, b"beef") == [*lines, b"tracestate: svidecar=beef"]

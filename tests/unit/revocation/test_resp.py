"""Answers of Redis: read the same however they are cut, and refused where they are no answers."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RevocationsInvalid
from proxy.revocation.resp import MAX_BULK_BYTES, MAX_LINE_BYTES, Decoder, ErrorReply, Reply, write_command

WHOLE = (
    b"+OK\r\n-NOAUTH Authentication required.\r\n-oops\r\n:12\r\n:-1\r\n$-1\r\n$0\r\n\r\n$4\r\na\r\nb\r\n"
    b"*4\r\n$1\r\na\r\n$-1\r\n:3\r\n-ERR x\r\n*0\r\n*-1\r\n+\r\n"
)
READ: list[Reply] = [
    "OK",
    ErrorReply("NOAUTH"),
    ErrorReply(""),
    12,
    -1,
    None,
    b"",
    b"a\r\nb",
    (b"a", None, 3, ErrorReply("ERR")),
    (),
    None,
    "",
]


def read(*pieces: bytes) -> list[Reply]:
    """All answers in these pieces."""
    decoder = Decoder(100, 4)
    return [reply for piece in pieces for reply in decoder.receive(piece)]


def test_whole_and_byte_by_byte() -> None:
    """The same answers."""
    assert read(WHOLE) == READ
    assert read(*(WHOLE[at : at + 1] for at in range(len(WHOLE)))) == READ


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_cut_anywhere(cuts: list[int]) -> None:
    """The same answers."""
    ends = [0, *sorted(cuts), len(WHOLE)]
    assert read(*(WHOLE[begin:end] for begin, end in itertools.pairwise(ends))) == READ


@given(st.binary(max_size=60))
def test_what_is_no_answer_is_refused_in_our_words(raw: bytes) -> None:
    """Nothing else is raised, whole or cut."""
    for pieces in ([raw], [raw[at : at + 1] for at in range(len(raw))]):
        with contextlib.suppress(RevocationsInvalid):
            read(*pieces)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"*1\r\n*0\r\n",
        b"*-2\r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"*5\r\n",
        b"$-2\r\n",
        b"$ 1\r\na\r\n",
        b"$1\r\nab\r\n",
        b"$%d\r\n" % (MAX_BULK_BYTES + 1),
        b":1x\r\n",
        b":\r\n",
        b":9999999999999999999\r\n",
        b"+" + b"a" * MAX_LINE_BYTES,
        b"\r\n",
    ],
)
def test_refused(raw: bytes) -> None:
    """Each for itself, before anything is held for it."""
    with pytest.raises(RevocationsInvalid):
        read(raw)


def test_at_the_limit_of_bytes_and_beyond() -> None:
    """Of one answer; many answers may be more together, and what has not ended yet counts too."""
    bulk = b"$93\r\n" + b"a" * 93 + b"\r\n"
    assert len(bulk) == 100
    assert read(bulk * 3) == [b"a" * 93] * 3
    longer = b"$94\r\n" + b"a" * 94 + b"\r\n"
    for raw in (longer, b"*2\r\n" + bulk, b"*3\r\n+a\r\n" + bulk[:-2]):
        with pytest.raises(RevocationsInvalid, match="larger than 100 bytes"):
            read(raw)


def test_a_command() -> None:
    """As Redis reads it, whatever is in the words."""
    assert write_command([b"HSET", b"a b", b"\r\n$1"]) == b"*3\r\n$4\r\nHSET\r\n$3\r\na b\r\n$4\r\n\r\n$1\r\n"

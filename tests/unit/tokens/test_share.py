"""share.py: what processes of one app say to each other: whole, cut anywhere, and spoiled."""

import contextlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.passage import Remembered
from proxy.tokens.share import (
    MAX_ANSWER_BYTES,
    MAX_PASSAGES,
    QUESTION_BYTES,
    Answer,
    Frames,
    Question,
    ShareMalformed,
    Verdict,
    is_mark,
    read_answer,
    read_question,
    write_answer,
    write_question,
    write_verdict,
)

TRACE, MARK = b"0af7651916cd43dd8448eb211c80319c", b"f" * 32
PASSAGES = st.lists(
    st.builds(Remembered, st.binary(max_size=60), st.text(max_size=20), st.floats(0, 1e12)),
    max_size=5,
    unique_by=lambda one: (one.raw, one.txn),
)


def bodies(data: bytes, limit: int = MAX_ANSWER_BYTES) -> list[bytes]:
    """What comes out of bytes that came at once."""
    return list(Frames(limit).receive(data))


def plain(answer: Answer) -> tuple[int, Verdict, list[tuple[bytes, str, float]]]:
    """An answer that can be compared."""
    return answer.number, answer.verdict, [(one.raw, one.txn, one.exp) for one in answer.passages]


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, MARK]), PASSAGES, st.lists(st.integers(1, 40)))
def test_what_is_written_is_read_however_it_is_cut(
    number: int, mark: bytes | None, found: list[Remembered], cuts: list[int]
) -> None:
    """Whole, byte by byte, and in any pieces."""
    asked, told = write_question(Question(number, TRACE, mark)), write_answer(number, found)
    for pieces in ([asked, told], [bytes([byte]) for byte in asked + told], cut(asked + told, cuts)):
        frames = Frames(MAX_ANSWER_BYTES)
        question, answer = [body for piece in pieces for body in frames.receive(piece)]
        assert read_question(question) == Question(number, TRACE, mark)
        expected = [(one.raw, one.txn, one.exp) for one in found]
        assert plain(read_answer(answer)) == (number, Verdict.KNOWN, expected)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(PASSAGES, st.data())
def test_what_is_spoiled_is_refused_or_says_the_same_kind_of_thing(
    found: list[Remembered], data: st.DataObject
) -> None:
    """Never another error; and nothing that is cut off is taken as whole."""
    body = write_answer(7, found)[4:]
    at = data.draw(st.integers(0, len(body) - 1))
    for spoiled in (body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :], body[:at]):
        for read in (read_answer, read_question):
            try:
                read(spoiled)
            except ShareMalformed:
                continue
    if found and at > 6:
        with contextlib.suppress(ShareMalformed):
            assert len(read_answer(body[:at]).passages) < len(found)


@pytest.mark.parametrize(
    "body",
    [
        b"Q",
        b"Q\0\0\0\1" + TRACE[:-1],
        b"Q\0\0\0\1" + TRACE + MARK[:-1],
        b"Q\0\0\0\1" + TRACE + MARK + b"0",
        b"Q\0\0\0\1" + TRACE.upper(),
        b"Q\0\0\0\1" + TRACE + b"g" * 32,
        b"R\0\0\0\1" + TRACE,
    ],
)
def test_questions_that_are_none(body: bytes) -> None:
    """Another length, kind or digit."""
    with pytest.raises(ShareMalformed):
        read_question(body)


@pytest.mark.parametrize(
    "rest",
    [
        b"\0\0\0\1",
        b"\0\0\0\1\3",
        b"\0\0\0\1\0" + b"x" * 15,
        b"\0\0\0\1\0" + struct.pack(">dII", 1.0, 5, 0) + b"1234",
        b"\0\0\0\1\0" + struct.pack(">dII", 1.0, 2**32 - 1, 2**32 - 1),
        b"\0\0\0\1\0" + struct.pack(">dII", math.inf, 0, 0),
        b"\0\0\0\1\0" + struct.pack(">dII", math.nan, 0, 0),
        b"\0\0\0\1\0" + struct.pack(">dII", 1.0, 0, 1) + b"\xff",
        b"\0\0\0\1\1" + struct.pack(">dII", 1.0, 0, 0),
        b"\0\0\0\1\2" + struct.pack(">dII", 1.0, 0, 0),
    ],
)
def test_answers_that_are_none(rest: bytes) -> None:
    """Cut off, an unknown verdict, one that never ends, passages where none can be."""
    with pytest.raises(ShareMalformed):
        read_answer(b"A" + rest)


def test_an_answer_of_another_version() -> None:
    """Its first byte says so, whatever follows."""
    body = write_answer(1, [Remembered(b"token", "t", 1.0)])[4:]
    assert read_answer(body).passages
    with pytest.raises(ShareMalformed):
        read_answer(b"B" + body[1:])


def test_half_a_surrogate_pair() -> None:
    """A txn may hold what UTF-8 has no bytes for; it comes out as it went in."""
    (found,) = read_answer(write_answer(1, [Remembered(b"token", "\ud800", 1.0)])[4:]).passages
    assert found.txn == "\ud800"


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.KNOWN, 0), (Verdict.OTHER_TRACE, 1), (Verdict.TOO_MANY, 2)])
def test_the_code_of_a_verdict(verdict: Verdict, code: int) -> None:
    """Each has its own: a mark of another trace is never read as too many tokens."""
    frame = write_verdict(7, verdict)
    assert frame == b"\0\0\0\6A\0\0\0\7" + bytes([code])
    assert plain(read_answer(frame[4:])) == (7, verdict, [])


def test_the_bound_of_a_frame() -> None:
    """As long as the limit, and one byte more, of which nobody waits for the rest; none is empty."""
    assert bodies(struct.pack(">I", 9) + b"123456789", 9) == [b"123456789"]
    assert bodies(struct.pack(">I", 1) + b"1", 9) == [b"1"]
    for length in (10, 0, 2**32 - 1):
        with pytest.raises(ShareMalformed):
            bodies(struct.pack(">I", length), 9)
    assert len(write_question(Question(1, TRACE, MARK))) == 4 + QUESTION_BYTES


def test_the_bound_of_passages() -> None:
    """Each token once: as many as the limit, and one more is too many."""
    many = [Remembered(b"%d" % number, "t", 1.0) for number in range(MAX_PASSAGES)]
    assert len(read_answer(write_answer(1, many + many)[4:]).passages) == MAX_PASSAGES
    (body,) = bodies(write_answer(1, [*many, Remembered(b"another", "t", 1.0)]))
    assert plain(read_answer(body)) == (1, Verdict.TOO_MANY, [])
    parts = b"".join(struct.pack(">dII", 1.0, 0, 0) for _ in range(MAX_PASSAGES + 1))
    with pytest.raises(ShareMalformed):
        read_answer(write_verdict(1, Verdict.KNOWN)[4:] + parts)


def test_the_bound_of_an_answer() -> None:
    """Exactly as many bytes, and one more is too many."""
    room = MAX_ANSWER_BYTES - 6 - 16
    for size, verdict in ((room, Verdict.KNOWN), (room + 1, Verdict.TOO_MANY)):
        (body,) = bodies(write_answer(1, [Remembered(b"x" * size, "", 1.0)]))
        assert read_answer(body).verdict is verdict


def test_which_marks_are_worth_a_question() -> None:
    """Those that a process of ours could have made."""
    assert is_mark(MARK)
    for other in (b"", b"f" * 31, b"f" * 33, b"F" * 32, b"g" * 32):
        assert not is_mark(other)
    assert bytes(byte for byte in range(256) if is_mark(bytes([byte]) * 32)) == b"0123456789abcdef"


def test_no_token_is_printed() -> None:
    """An answer in a log or a debugger tells how many, not which."""
    assert "secret" not in repr(Answer(1, Verdict.KNOWN, (Remembered(b"secret", "t", 1.0),)))

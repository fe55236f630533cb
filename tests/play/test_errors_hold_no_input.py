"""Nothing that came from outside stands in an error: not in its detail, its text, its causes or its arguments (law 3)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.http1 import byte_by_byte, read_requests, read_responses
from support.odd_http1 import ODD_CHUNKS, ODD_FIELDS, ODD_METHODS, ODD_TARGETS, ODD_TRAILERS, ODD_VERSIONS

EXAMPLES = 500

MARKER = "q7Zk0s3cretW"
"""It is in no message of ours, and a token, a name, a host and a number may begin with it."""


def texts_of(error: BaseException) -> str:
    """Everything that a log or an answer could show of an error."""
    shown = []
    cause: BaseException | None = error
    while cause is not None:
        shown += [str(cause), repr(cause), repr(cause.args), repr(vars(cause))]
        cause = cause.__cause__ or cause.__context__
    return " ".join(shown)


@st.composite
def marked(draw: st.DrawFn, pieces: st.SearchStrategy[bytes]) -> bytes:
    """A piece with the marker somewhere in it."""
    piece = draw(pieces)
    at = draw(st.integers(0, len(piece)))
    return piece[:at] + MARKER.encode() + piece[at:]


@st.composite
def bad_requests(draw: st.DrawFn) -> bytes:
    """A request with the marker in two of its parts, most of them bad."""
    parts = {
        "method": draw(st.sampled_from([b"GET", *ODD_METHODS])),
        "target": draw(st.sampled_from([b"/", *ODD_TARGETS])),
        "version": draw(st.sampled_from([b"HTTP/1.1", *ODD_VERSIONS])),
        "host": b"Host: victim",
        "field": draw(st.sampled_from(ODD_FIELDS)),
        "coding": b"Transfer-Encoding: chunked",
        "chunk": draw(st.sampled_from(ODD_CHUNKS)),
        "trailer": draw(st.sampled_from(ODD_TRAILERS)),
    }
    for name in draw(st.sets(st.sampled_from(sorted(parts)), min_size=1, max_size=2)):
        parts[name] = draw(marked(st.just(parts[name])))
    first = b" ".join((parts["method"], parts["target"], parts["version"]))
    head = b"\r\n".join((first, parts["host"], parts["field"], parts["coding"]))
    return head + b"\r\n\r\n" + parts["chunk"] + b"0\r\n" + parts["trailer"] + b"\r\n"


@settings(max_examples=EXAMPLES, deadline=None)
@given(wire=bad_requests())
def test_a_refused_request_is_not_in_its_error(wire: bytes) -> None:
    """Wherever the marker was put, whole and one byte at a time."""
    for pieces in ([wire], byte_by_byte(wire)):
        reading = read_requests(pieces, eof=True)
        if reading.error is not None:
            assert MARKER not in texts_of(reading.error)
            assert reading.error.detail


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    wire=st.builds(
        lambda line, field, chunk: b"\r\n".join((line, field, b"Transfer-Encoding: chunked", b"", chunk)),
        st.one_of(st.just(b"HTTP/1.1 200 OK"), marked(st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 999 X"]))),
        marked(st.sampled_from(ODD_FIELDS)),
        marked(st.sampled_from(ODD_CHUNKS)),
    )
)
def test_a_refused_response_is_not_in_its_error(wire: bytes) -> None:
    """Nor in the reason from which it was made."""
    for pieces in ([wire], byte_by_byte(wire)):
        reading = read_responses(pieces, eof=True)
        if reading.error is not None:
            assert MARKER not in texts_of(reading.error)
            assert reading.error.detail

"""The head of a final answer, written anew for whoever asked (RFC 9110 section 7.6, RFC 9112 section 6)."""

from proxy.http1.message import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead
from proxy.http1.write import head as write_head


def answer_head(answer: ResponseHead, request: RequestHead, *, keep: bool) -> bytes:
    """Give the head as it goes on; ``keep``: the connection of whoever asked stays open after it.

    A body without a length of its own is chunked for HTTP/1.1; for HTTP/1.0 it ends with the connection.
    """
    lines = answer.lines.copy()
    if b"via" in answer.held:
        lines.extend([b"Via: " + value for value in answer.held[b"via"]])
    length = answer.length
    if length is CHUNKED or length == UNTIL_CLOSE:
        if request.version == 1:
            lines.append(b"Transfer-Encoding: chunked")
    elif length:
        lines.append(b"Content-Length: %d" % length)
    else:
        _bodiless(answer, request, lines)
    if not keep:
        lines.append(b"Connection: close")
    return write_head(answer.first_line, lines)


def _bodiless(answer: ResponseHead, request: RequestHead, lines: list[bytes]) -> None:
    if request.method != b"HEAD" and answer.status != 304:
        if answer.status != 204:
            lines.append(b"Content-Length: 0")
    elif b"content-length" in answer.held:  # what a GET would have had (RFC 9110 section 8.6)
        lines.append(b"Content-Length: " + answer.held[b"content-length"][0])

"""The head of a final answer, written anew for whoever asked."""

from proxy.http1.message import RequestHead, ResponseHead
from proxy.http1.write import head


def answer_head(answer: ResponseHead, request: RequestHead, *, chunked: bool, keep: bool) -> bytes:
    """Write it; ``chunked``: the body goes on in chunks, ``keep``: another answer may follow."""
    lines = answer.lines.copy()
    if b"via" in answer.held:
        lines.extend([b"Via: " + value for value in answer.held[b"via"]])
    if chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif answer.length and answer.length > 0:
        lines.append(b"Content-Length: %d" % answer.length)
    elif answer.length == 0:
        _bodiless(answer, request, lines)
    if not keep:
        lines.append(b"Connection: close")
    return head(answer.first_line, lines)


def _bodiless(answer: ResponseHead, request: RequestHead, lines: list[bytes]) -> None:
    if request.method != b"HEAD" and answer.status != 304:
        if answer.status != 204:
            lines.append(b"Content-Length: 0")
    elif b"content-length" in answer.held:  # what a GET would have had (RFC 9110 section 8.6)
        lines.append(b"Content-Length: " + answer.held[b"content-length"][0])

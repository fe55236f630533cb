"""The head as it goes to the other side: written anew, hop-by-hop fields gone, ours set (laws 3 and 4)."""

from typing import Final

from proxy.errors import LoopDetected, MethodRefused
from proxy.flow.exchange import Exchange
from proxy.http1.grammar import decimal
from proxy.http1.message import CHUNKED, RequestHead
from proxy.http1.write import head as write_head


def trace(exchange: Exchange) -> bytes:
    """Give the ``traceparent`` line to send; made where the request brought none that is valid."""
    head = exchange.head
    value, exchange.trace_id, made = exchange.runtime.trace_ids.trace_of(head.held.get(b"traceparent"))
    if made:
        head.lines = [line for line in head.lines if line[:11].lower() != b"tracestate:"]
    return b"traceparent: " + value


def offer(exchange: Exchange, authority: bytes, own: list[bytes]) -> bytes:
    """Write the head of ``exchange`` for the upstream: ``own`` are the lines that this direction sets.

    Raises:
        LoopDetected: the request has passed here before (RFC 9110 section 7.6.3).
        MethodRefused: TRACE, which would send every field back, the token among them; OPTIONS that may go no further.

    """
    head = exchange.head
    held = head.held
    if head.method == b"TRACE":
        raise MethodRefused("TRACE is not served here")
    lines = [b"Host: " + authority, *head.lines, *own, _via(exchange.runtime.pseudonym, held.get(b"via"))]
    length = head.length
    if length is CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    elif length or b"content-length" in held:
        lines.append(b"Content-Length: %d" % length)
    if not held.keys().isdisjoint(_RARE):
        _rarely(head, lines)
    return write_head(head.method + b" " + head.target + b" HTTP/1.1", lines)


_RARE: Final = frozenset({b"expect", b"te", b"upgrade", b"max-forwards"})


def _via(pseudonym: bytes, received: list[bytes] | None) -> bytes:
    if received is None:
        return b"Via: 1.1 " + pseudonym
    for value in received:
        if value.find(pseudonym) >= 0:  # as in tokens/carry
            raise LoopDetected("the request has passed here before: its destination leads back to this sidecar")
    return b"Via: " + b", ".join(received) + b", 1.1 " + pseudonym


def _rarely(head: RequestHead, lines: list[bytes]) -> None:
    """Write what few requests have."""
    held = head.held
    options = []
    if b"expect" in held:
        lines.append(b"Expect: 100-continue")
    if any(b"trailers" in value.lower() for value in held.get(b"te", ())):
        lines.append(b"TE: trailers")
        options.append(b"TE")
    if is_websocket(head):
        lines.append(b"Upgrade: websocket")
        options.append(b"Upgrade")
    else:
        held.pop(b"upgrade", None)  # any other protocol is stripped, h2c first of all (specs 6.7)
    hops = decimal(held[b"max-forwards"][0]) if b"max-forwards" in held else None
    if hops == 0 and head.method == b"OPTIONS":
        raise MethodRefused("Max-Forwards is 0: OPTIONS would have to be answered here, where it is not served")
    if hops is not None:
        lines.append(b"Max-Forwards: %d" % (hops - 1 if head.method == b"OPTIONS" else hops))
    if options:
        lines.append(b"Connection: " + b", ".join(options))


def is_websocket(head: RequestHead) -> bool:
    """Whether the request offers to become a websocket, in the one form that RFC 6455 section 4.1 allows."""
    offered = head.held.get(b"upgrade")
    return (
        offered is not None
        and [value.lower() for value in offered] == [b"websocket"]
        and head.method == b"GET"
        and head.version == 1
        and head.length == 0
    )

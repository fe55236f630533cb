"""The fields after a chunked body (RFC 9112 section 7.1.2): apart from the head, and never a part of it."""

from collections.abc import Set as AbstractSet
from typing import Final

from proxy.errors import BadFraming, BadRequest, HeadTooLarge
from proxy.http1.grammar import FRAMING, HELD, judge_name, only_crlf

_LATE: Final = HELD | {
    *(b"authorization", b"www-authenticate", b"proxy-authenticate", b"proxy-authorization"),
    *(b"content-type", b"content-encoding", b"content-range", b"cache-control", b"cookie", b"set-cookie", b"forwarded"),
}
"""Routing, authentication, how to read the content, and what we own: a hop would have to act on it before it came, so
it is dropped (RFC 9110 section 6.5.1, specs 6.3)."""


def parse_trailers(section: bytes, max_fields: int, options: AbstractSet[bytes]) -> tuple[bytes, ...]:
    """Parse the trailer lines, without the CRLF of the last one and the empty line; give those that may be forwarded.

    Raises:
        BadRequest, HeadTooLarge, OwnedField: the grammar, a limit, an imitated name.
        BadFraming: a field of framing, which a careless hop would merge into the head.

    """
    rows = section.split(b"\r\n")
    if not only_crlf(section, len(rows) - 1):
        raise BadRequest("a control character, or a CR or LF alone, in the trailers")
    if len(rows) > max_fields:
        raise HeadTooLarge(f"more than {max_fields} trailers")
    kept = []
    for row in rows:
        name, colon, value = row.partition(b":")
        judge_name(name)
        if not colon:
            raise BadRequest("a trailer without a colon")
        lower = name.lower()
        if lower in FRAMING:
            raise BadFraming("a trailer that frames the message")
        if lower not in _LATE and lower not in options:
            kept.append(name + b": " + value.strip(b" \t"))
    return tuple(kept)

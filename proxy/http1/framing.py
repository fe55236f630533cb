"""The one reading of framing (law 5): how long a body is, and whether the connection outlives the message.

RFC 9112 section 6.3 in its order. Wherever it lets a recipient repair, two parsers may repair differently, so we
refuse: Transfer-Encoding beside Content-Length, Content-Length twice (even equal), any coding but ``chunked``,
Transfer-Encoding in HTTP/1.0.
"""

from proxy.errors import BadFraming, BadRequest, CodingUnknown, ExpectationUnknown, OwnedField
from proxy.http1.grammar import HOP_BY_HOP, OWNED, TOKEN, decimal
from proxy.http1.message import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

_END_TO_END = OWNED | {
    b"host",
    b"authorization",
    b"content-length",
    b"content-type",
    b"traceparent",
    b"via",
    b"expect",
    b"max-forwards",
    b"forwarded",
}
"""What ``Connection`` may not name: a naive hop would drop it after it was checked (law 4, specs 6.5)."""


def _declared(held: dict[bytes, list[bytes]], version: int) -> int | None:
    """Give the length that the fields declare: a count, CHUNKED, or UNTIL_CLOSE when they declare none."""
    codings = held.get(b"transfer-encoding")
    lengths = held.get(b"content-length")
    if codings is not None:
        if lengths is not None:
            raise BadFraming("Transfer-Encoding beside Content-Length")
        if version == 0:
            raise BadFraming("Transfer-Encoding in HTTP/1.0")
        if len(codings) == 1 and codings[0].lower() == b"chunked":
            return CHUNKED
        if codings[-1].lower().endswith(b"chunked") and b"chunked" not in codings[-1].lower()[:-7]:
            raise CodingUnknown("a transfer coding other than chunked")
        raise BadFraming("the last transfer coding is not chunked")
    if lengths is None:
        return UNTIL_CLOSE
    length = decimal(lengths[0])
    if len(lengths) != 1 or length is None:
        raise BadFraming("Content-Length is repeated or not a number")
    return length


def connection_options(held: dict[bytes, list[bytes]]) -> set[bytes]:
    """Give the options of ``Connection`` in lower case.

    Raises:
        BadRequest: an option is not a token.
        OwnedField: an option names an end-to-end field that must not be dropped.

    """
    options: set[bytes] = set()
    for value in held.get(b"connection", ()):
        for raw in value.split(b","):
            option = raw.strip(b" \t").lower()
            if not option:
                continue
            if not TOKEN.fullmatch(option):
                raise BadRequest("an option of Connection is not a token")
            if option in _END_TO_END:
                raise OwnedField("Connection names a field that must reach the app")
            options.add(option)
    return options


def _drop_named(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    named = options - HOP_BY_HOP - {b"close"}
    if not named:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in named]


def frame_request(head: RequestHead) -> None:
    """Set ``length`` and ``keep_alive``, and apply ``Connection``.

    Raises:
        BadFraming, CodingUnknown, ExpectationUnknown, BadRequest, OwnedField: as the module says.

    """
    held = head.held
    if b"transfer-encoding" in held or b"content-length" in held:
        head.length = _declared(held, head.version)
    if head.version == 0:
        head.keep_alive = False  # RFC 9112 section 9.3: a proxy keeps no persistent connection with HTTP/1.0
        held.pop(b"expect", None)
    if b"connection" in held:
        options = connection_options(held)
        if b"close" in options:
            head.keep_alive = False
        head.lines = _drop_named(head.lines, options)
        if b"upgrade" not in options:
            held.pop(b"upgrade", None)
    else:
        held.pop(b"upgrade", None)
    if b"expect" in held and [v.lower() for v in held[b"expect"]] != [b"100-continue"]:
        raise ExpectationUnknown("only 100-continue is understood")


def frame_response(head: ResponseHead, method: bytes) -> None:
    """Set ``length`` and ``keep_alive`` of the response to ``method``, and apply ``Connection``.

    Raises:
        BadFraming, CodingUnknown, BadRequest, OwnedField: as the module says; the caller turns each into
            UpstreamBadResponse.

    """
    held, status = head.held, head.status
    length = _declared(held, head.version)
    if status < 200 or status in (204, 304) or method == b"HEAD":
        length = 0
    head.length = length
    options = connection_options(held) if b"connection" in held else set()
    head.lines = _drop_named(head.lines, options)
    head.keep_alive = (
        length != UNTIL_CLOSE and b"close" not in options and (head.version == 1 or b"keep-alive" in options)
    )

"""The one reading of framing (law 5): how long a body is, and whether the connection outlives the message.

RFC 9112 section 6.3 in its order. Wherever it lets a recipient repair, two parsers may repair differently, so we
refuse: Transfer-Encoding beside Content-Length, Content-Length twice (even equal), any coding but ``chunked``,
Transfer-Encoding in HTTP/1.0.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from proxy.errors import BadFraming, BadRequest, CodingUnknown, ExpectationUnknown, OwnedField
from proxy.http1.grammar import HOP_BY_HOP, OWNED, TOKEN, decimal
from proxy.http1.message import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

_END_TO_END: Final = OWNED | {
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
        if codings != [b"chunked"]:
            _judge_codings([coding.strip(b" \t").lower() for value in codings for coding in value.split(b",")])
        return CHUNKED
    if lengths is None:
        return UNTIL_CLOSE
    length = decimal(lengths[0])
    if len(lengths) != 1 or length is None:
        raise BadFraming("Content-Length is repeated or not a number")
    return length


def _judge_codings(codings: list[bytes]) -> None:
    if codings == [b"chunked"]:
        return
    if codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and all(map(TOKEN.fullmatch, codings)):
        raise CodingUnknown("a transfer coding other than chunked")
    raise BadFraming("chunked is not the last transfer coding, or is not alone in it")


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


_COMMON: Final = {b"keep-alive": frozenset({b"keep-alive"}), b"close": frozenset({b"close"})}
"""What nearly every ``Connection`` says, read once."""

_NAMES_NO_LINE: Final = HOP_BY_HOP | {b"close"}
"""Options of the connection itself, and fields that are held anyway."""

_NO_BODY: Final = [b"0"]

_NONE: Final[AbstractSet[bytes]] = frozenset()


def _options(held: dict[bytes, list[bytes]]) -> AbstractSet[bytes]:
    values = held.get(b"connection")
    if values is None:
        return _NONE
    common = _COMMON.get(values[0])
    return common if common is not None and len(values) == 1 else connection_options(held)


def _without(lines: list[bytes], options: AbstractSet[bytes]) -> list[bytes]:
    named = options - _NAMES_NO_LINE
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
    options = _options(held)
    if options:
        head.lines = _without(head.lines, options)
    if head.version == 0:  # no persistent connection, expectation or upgrade (RFC 9112 section 9.3, specs 6.6, 6.7)
        head.keep_alive = False
        held.pop(b"expect", None)
        held.pop(b"upgrade", None)
    elif b"close" in options:
        head.keep_alive = False
    if b"upgrade" in held and b"upgrade" not in options:
        del held[b"upgrade"]
    if b"expect" in held and [value.lower() for value in held[b"expect"]] != [b"100-continue"]:
        raise ExpectationUnknown("only 100-continue is understood")


def frame_response(head: ResponseHead, method: bytes) -> None:
    """Set ``length`` and ``keep_alive`` of the response to ``method``, and apply ``Connection``.

    Raises:
        BadFraming, CodingUnknown, BadRequest, OwnedField: as the module says; the caller turns each into
            UpstreamBadResponse.

    """
    held, status = head.held, head.status
    lengths = held.get(b"content-length")
    if lengths is not None and len(lengths) == 1 and b"transfer-encoding" not in held and lengths[0].isdigit():
        length = decimal(lengths[0])  # nearly every answer
        if length is None:
            raise BadFraming("Content-Length has too many digits")
    else:
        length = _declared(held, head.version)
    if status < 200 or status in (204, 304) or method == b"HEAD":
        length = 0
    head.length = length
    options = _options(held)
    if options:
        head.lines = _without(head.lines, options)
    head.keep_alive = (
        length != UNTIL_CLOSE and b"close" not in options and (head.version == 1 or b"keep-alive" in options)
    )


def may_be_followed(answer: ResponseHead, request: RequestHead) -> bool:
    """Whether the body that is not to come after this bodiless answer may come all the same, from an app in error.

    What comes with the head is seen; what comes later would answer whoever is lent the connection next. A peer of the
    mesh is held to its framing by its own sidecar, so this is asked of apps.
    """
    held = answer.held
    if request.method == b"HEAD" or b"transfer-encoding" in held:
        return True
    return held.get(b"content-length", _NO_BODY) != _NO_BODY

"""The characters of RFC 9110 section 5.6 and RFC 9112, and numbers that ``int()`` must never see unchecked.

A head is judged at C speed: it is split at its CRLF pairs, and one pass over each line proves that nothing but visible
octets, SP, HTAB and obs-text is in it. Field names, and lines that come again and again, are judged once.
"""

import re
from typing import Final

from proxy.errors import BadRequest, OwnedField

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""``token`` (RFC 9110 section 5.6.2): a method, a field name."""

VISIBLE: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What a field value may hold besides CRLF at its end: HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5)."""

TARGET: Final = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#"))
"""What a request target may hold: visible ASCII, and no fragment (RFC 9112 section 3.2, RFC 3986)."""


def only(octets: bytes) -> bytes:
    """Give the table with which ``raw.translate(table) == raw`` says that ``raw`` holds these octets alone.

    One pass, and at its end ``translate`` gives back the same object if nothing changed; to delete what is allowed and
    see whether something is left would build a table at every call.
    """
    return bytes(octet if octet in octets else octets[0] for octet in range(0x100))


VISIBLE_ONLY: Final = only(VISIBLE)
TARGET_ONLY: Final = only(TARGET)

_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_EXTENSION: Final = rb"[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (TOKEN.pattern, TOKEN.pattern, _QUOTED)
_EXTENSIONS: Final = re.compile(rb"%b(?:[ \t]*;%b)*" % (_EXTENSION, _EXTENSION))

_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9._\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")


def decimal(raw: bytes) -> int | None:
    """``1*DIGIT`` of at most 18 digits, else None. ``int()`` alone takes ``+1`` and ``1_0``."""
    return int(raw) if raw.isdigit() and len(raw) <= 18 else None


def hexadecimal(raw: bytes) -> int | None:
    """``1*HEXDIG`` of at most 15 digits, else None. ``int(raw, 16)`` alone takes ``0x1``, ``1_0`` and blanks."""
    return int(raw, 16) if _HEXADECIMAL.fullmatch(raw) else None


def chunk_size(line: bytes) -> int | None:
    """The size in ``chunk-size [ chunk-ext ]`` (RFC 9112 section 7.1), else None. Extensions mean nothing to us.

    A careless end of an extension is where others have disagreed on the end of the line, so its grammar is held too.
    """
    size, semicolon, extensions = line.partition(b";")
    if semicolon and not _EXTENSIONS.fullmatch(extensions):
        return None
    return hexadecimal(size)


def is_authority(raw: bytes) -> bool:
    """``host [":" port]`` in ASCII, without userinfo; a port is 1 to 65535."""
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        return False
    port = match.group(1)
    return port is None or 1 <= int(port) <= 65535


def only_crlf(raw: bytes, pairs: int) -> bool:
    """Whether the ``pairs`` CR LF at which ``raw`` was split are its only control characters.

    The pairs must have been counted: that CR and LF alternate does not prove that each CR stands before its LF.
    """
    return len(raw.translate(None, VISIBLE)) == 2 * pairs


OWNED: Final = frozenset({b"txn-token", b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain"})
"""The fields that only a sidecar may set (laws 3 and 4; RFC 9440 section 2.4)."""

FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""The fields that say where a message goes and where it ends."""

HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"trailer", b"upgrade"}
)
"""RFC 9110 section 7.6.1, and the ancient ones that it names."""

SINGLE: Final = frozenset({b"authorization", b"content-type"})
"""Forwarded as they came, but only once (specs 6.5)."""

HELD: Final = OWNED | FRAMING | HOP_BY_HOP | {b"expect", b"traceparent", b"via", b"max-forwards"}
"""Held back, because a step of ours decides on them."""

ORDINARY: Final = b""
"""What ``NAMES`` says of every other field: it is forwarded as it came."""

_IMITABLE: Final = OWNED | FRAMING
_NOT_WORD: Final = re.compile(rb"[^0-9a-z]")

NAMES: Final[dict[bytes, bytes]] = {}
"""Field names that were judged: as sent -> in lower case if they are ``HELD`` or ``SINGLE``, else ``ORDINARY``."""

_MAX_NAMES: Final = 1024  # an app uses tens
_MAX_NAME_BYTES: Final = 64  # the longest registered name has 45; so an attacker fills 64 KiB, and for a moment only


def judge_name(name: bytes) -> bytes:
    """Judge a field name that is not in ``NAMES``.

    Raises:
        BadRequest: it is not a token: empty, a blank before the colon, a folded line.
        OwnedField: it would read as a field on which we decide once a gateway turns ``_`` (or, in some, whatever is
            no letter) into ``-``.

    """
    if not TOKEN.fullmatch(name):
        raise BadRequest("a field name is not a token (RFC 9110 section 5.1)")
    lower = name.lower()
    if lower not in _IMITABLE and _NOT_WORD.sub(b"-", lower) in _IMITABLE:
        raise OwnedField("a field name imitates one that the sidecar sets, or that frames the message")
    judged = lower if lower in HELD or lower in SINGLE else ORDINARY
    if len(name) <= _MAX_NAME_BYTES:
        if len(NAMES) >= _MAX_NAMES:
            NAMES.clear()
            REPEATING.clear()
        NAMES[name] = judged
        if lower in _REPEATING:
            REPEATING.add(name)
    return judged


def judge_line(row: bytes) -> tuple[bytes, bytes]:
    """Judge a field line that is not in ``LINES``.

    Give ``(lower-case name, value)`` of a field that is ``HELD`` or ``SINGLE``, and ``(b"", line written anew)`` of any
    other.

    Raises:
        BadRequest: it holds a control character, a CR or a LF, or has no colon. What ``judge_name`` raises.

    """
    known = TOKENS.get(row)
    if known is not None:
        return known
    if row.translate(VISIBLE_ONLY) != row:
        raise BadRequest("a control character, or a CR or LF alone, in the head")
    name, colon, value = row.partition(b":")
    lower = NAMES.get(name)
    if lower is None:
        lower = judge_name(name)
    if not colon:
        raise BadRequest("a field line without a colon")
    value = value.strip(b" \t")
    judged = (lower, value) if lower else (b"", name + b": " + value)
    if name in REPEATING and len(row) <= _MAX_LINE_BYTES:
        if len(LINES) >= _MAX_LINES:
            LINES.clear()
        LINES[row] = judged
    elif lower == b"txn-token" and len(row) <= _MAX_TOKEN_BYTES:
        if len(TOKENS) >= _MAX_TOKENS:
            TOKENS.clear()
        TOKENS[row] = judged
    return judged


_REPEATING: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-origin allow "
    b"cache-control connection content-encoding content-language content-length content-security-policy content-type "
    b"date dnt host keep-alive origin pragma priority referrer-policy sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"server strict-transport-security te transfer-encoding upgrade-insecure-requests user-agent vary via "
    b"x-content-type-options x-frame-options x-powered-by x-xss-protection".split()
)
"""Fields whose lines come again and again with the same value, and hold no secret: only these are remembered."""

REPEATING: Final[set[bytes]] = set()
"""The names of such fields, as they were sent."""

LINES: Final[dict[bytes, tuple[bytes, bytes]]] = {}
"""Field lines of such fields, as sent -> what ``judge_line`` said. Half of a head's cost is in its lines."""

_MAX_LINES: Final = 1024  # a Date a second for a quarter of an hour, besides all the rest
_MAX_LINE_BYTES: Final = 256  # the longest User-Agent that is common; so LINES holds half a megabyte at the most

TOKENS: Final[dict[bytes, tuple[bytes, bytes]]] = {}
"""The same for lines of ``Txn-Token``: the longest of a head, and a transaction sends it on every one of its requests.

Only that their characters were judged is remembered; whether the token is good is ``tokens/cache``'s.
"""

_MAX_TOKENS: Final = 256
_MAX_TOKEN_BYTES: Final = 2048  # so that all of them are half a megabyte at the most, and twice that in two copies

"""The characters of RFC 9110 section 5.6 and RFC 9112, and numbers that ``int()`` must never see unchecked.

A head is judged in two passes at C speed: one ``translate`` proves that nothing but visible octets, SP, HTAB, obs-text
and CRLF pairs is in it; then it is split once. Field names are judged once each and remembered.
"""

import re

from proxy.errors import BadRequest, OwnedField

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""``token`` (RFC 9110 section 5.6.2): a method, a field name."""

VISIBLE = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What a field value may hold besides CRLF at its end: HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5)."""

CRLF = b"\r\n"

_DECIMAL = re.compile(rb"[0-9]{1,18}")
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,15}")
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


def decimal(raw: bytes) -> int | None:
    """``1*DIGIT`` of at most 18 digits, else None. ``int()`` alone takes ``+1``, ``1_0`` and other digits."""
    return int(raw) if _DECIMAL.fullmatch(raw) else None


def hexadecimal(raw: bytes) -> int | None:
    """``1*HEXDIG`` of at most 15 digits, else None. ``int(raw, 16)`` alone takes ``0x1``, ``1_0`` and blanks."""
    return int(raw, 16) if _HEXADECIMAL.fullmatch(raw) else None


def is_authority(raw: bytes) -> bool:
    """``host [":" port]`` in ASCII, without userinfo; a port is 1 to 65535."""
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        return False
    port = match.group(1)
    return port is None or 1 <= int(port) <= 65535


def only_crlf(raw: bytes) -> bool:
    """Whether nothing but CR LF pairs, in this order, stands between the visible octets of ``raw``."""
    controls = raw.translate(None, VISIBLE)
    return controls == CRLF * (len(controls) >> 1)


ORDINARY, HELD, SINGLE = 0, 1, 2
"""A field is forwarded as it came; or held back, because a step of ours decides on it; or forwarded, but only once."""

OWNED = frozenset({b"txn-token", b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain"})
"""The fields that only a sidecar may set (laws 3 and 4; RFC 9440 section 2.4)."""

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"trailer", b"upgrade"}
)
"""RFC 9110 section 7.6.1, and the ancient ones that it names."""

KINDS: dict[bytes, int] = {
    **dict.fromkeys(OWNED | HOP_BY_HOP, HELD),
    **dict.fromkeys((b"host", b"content-length", b"expect", b"traceparent", b"via", b"max-forwards"), HELD),
    **dict.fromkeys((b"authorization", b"content-type"), SINGLE),
}

NAMES: dict[bytes, tuple[bytes, int]] = {}
"""Field names that were judged: as sent -> (in lower case, kind). Bounded by ``_MAX_NAMES``."""

_MAX_NAMES = 1024  # an app uses tens; who sends ever new names pays for judging them


def judge_name(name: bytes) -> tuple[bytes, int]:
    """Judge a field name that is not in ``NAMES``.

    Raises:
        BadRequest: it is not a token: empty, a blank before the colon, a folded line.
        OwnedField: it would read as a field that we own once a gateway turns ``_`` into ``-``.

    """
    if not TOKEN.fullmatch(name):
        raise BadRequest("a field name is not a token (RFC 9110 section 5.1)")
    lower = name.lower()
    if lower.replace(b"_", b"-") in OWNED and lower not in OWNED:
        raise OwnedField("a field name imitates one that only the sidecar may set")
    judged = (lower, KINDS.get(lower, ORDINARY))
    if len(NAMES) < _MAX_NAMES:
        NAMES[name] = judged
    return judged

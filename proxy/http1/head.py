"""Heads: the request line, the status line, and fields (RFC 9112 sections 2 to 5)."""

import re

from proxy.errors import BadHost, BadRequest, BadVersion, MethodRefused, TargetTooLong, TooManyFields
from proxy.http1.framing import frame_request, frame_response
from proxy.http1.grammar import HELD, NAMES, ORDINARY, TOKEN, decimal, is_authority, judge_name, only_crlf
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead, ResponseHead

_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([/?].*)?", re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r]*))?")
_METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"}
"""Methods that need no look at their characters."""


def _fields(rows: list[bytes], limits: Limits) -> tuple[list[bytes], dict[bytes, list[bytes]]]:
    if len(rows) > limits.fields:
        raise TooManyFields(f"more than {limits.fields} fields")
    lines: list[bytes] = []
    held: dict[bytes, list[bytes]] = {}
    for row in rows:
        name, colon, value = row.partition(b":")
        lower, kind = NAMES.get(name) or judge_name(name)
        if not colon:
            raise BadRequest("a field line without a colon")
        value = value.strip(b" \t")
        if kind == ORDINARY:
            lines.append(name + b": " + value)
        elif kind == HELD:
            values = held.get(lower)
            if values is None:
                held[lower] = [value]
            else:
                values.append(value)
        else:
            if lower in held:
                raise BadRequest("a field that may stand once is repeated")
            held[lower] = [value]
            lines.append(name + b": " + value)
    return lines, held


def parse_request_head(raw: bytes, limits: Limits) -> RequestHead:
    """Parse from the request line to the empty line, both included.

    Raises:
        BadRequest, BadHost, BadVersion, MethodRefused, TargetTooLong, TooManyFields: the grammar or a limit.
        BadFraming, CodingUnknown, ExpectationUnknown, OwnedField: see ``framing``.

    """
    if not only_crlf(raw):
        raise BadRequest("a control character, or a CR or LF alone, in the head")
    rows = raw[:-4].split(b"\r\n")
    words = rows[0].split(b" ")
    if len(words) != 3:
        raise BadRequest("the request line is not three words with one space between")
    method, target, version = words
    if method not in _METHODS and not TOKEN.fullmatch(method):
        raise BadRequest("the method is not a token")
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    elif _VERSION.fullmatch(version):
        raise BadVersion("HTTP/1.1 and HTTP/1.0 are spoken here")
    else:
        raise BadRequest("the request line does not end in a version")
    if len(target) > limits.target_bytes:
        raise TargetTooLong(f"the target is longer than {limits.target_bytes} bytes")
    del rows[0]
    lines, held = _fields(rows, limits)
    authority = _host(held, minor)
    if not target.startswith(b"/"):
        target, authority = _other_form(method, target, authority)
    if b"#" in target or b"\t" in target or not target.isascii():
        raise BadRequest("the target holds a character that RFC 3986 does not allow")
    head = RequestHead(method, target, authority, minor, lines, held)
    head.raw_bytes = len(raw)
    frame_request(head)
    return head


_HOSTS: set[bytes] = set()
"""Authorities that were judged good. Bounded as ``NAMES`` is, and for the same reason."""


def _host(held: dict[bytes, list[bytes]], minor: int) -> bytes:
    hosts = held.get(b"host")
    if hosts is None:
        if minor == 0:
            return b""
        raise BadHost("HTTP/1.1 needs a Host")
    host = hosts[0]
    if len(hosts) != 1:
        raise BadHost("Host is repeated")
    if host not in _HOSTS:
        if not is_authority(host):
            raise BadHost("Host is not a host with an optional port")
        if len(_HOSTS) < 1024:
            _HOSTS.add(host)
    return host


def _other_form(method: bytes, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
    """Read absolute-form and asterisk-form (RFC 9112 section 3.2); give origin-form and the effective authority."""
    if method == b"CONNECT":
        raise MethodRefused("CONNECT is not served here")
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest("only OPTIONS may ask for *")
        return target, authority
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadRequest("the target is in none of the four forms")
    if not is_authority(match.group(1)):
        raise BadHost("the authority of the target is malformed")
    rest: bytes = match.group(2) or b""
    if not rest and method == b"OPTIONS":
        return b"*", match.group(1)
    return (rest if rest.startswith(b"/") else b"/" + rest), match.group(1)


def parse_response_head(raw: bytes, method: bytes, limits: Limits) -> ResponseHead:
    """Parse the head of the response to ``method``, from the status line to the empty line.

    Raises:
        BadRequest, TooManyFields, BadFraming, CodingUnknown, OwnedField: the caller turns each into
            UpstreamBadResponse.

    """
    if not only_crlf(raw):
        raise BadRequest("a control character, or a CR or LF alone, in the head")
    rows = raw[:-4].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(rows[0])
    status = decimal(match.group(2)) if match is not None else None
    if match is None or status is None or not 100 <= status <= 599:
        raise BadRequest("the status line is malformed")
    del rows[0]
    lines, held = _fields(rows, limits)
    head = ResponseHead(status, match.group(3) or b"", int(match.group(1)), lines, held)
    frame_response(head, method)
    return head

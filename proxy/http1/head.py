"""Heads: the request line, the status line, and fields (RFC 9112 sections 2 to 5)."""

import re
from typing import Final

from proxy.errors import BadHost, BadRequest, BadVersion, MethodRefused, TargetTooLong, TooManyFields
from proxy.http1.framing import frame_request, frame_response
from proxy.http1.grammar import LINES, SINGLE, TARGET_ONLY, TOKEN, VISIBLE_ONLY, is_authority, judge_line
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead, ResponseHead

_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?#]*)([/?].*)?", re.DOTALL)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (.*))?", re.DOTALL)
_METHODS: Final = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"}
"""Methods that need no look at their characters."""

METHOD_BYTES: Final = 32
"""The longest registered method has 17 characters; more is not HTTP."""


def read_fields(rows: list[bytes], limits: Limits) -> tuple[list[bytes], dict[bytes, list[bytes]]]:
    """Judge the field lines: the ``rows`` after the first. Give ``lines`` and ``held`` of the head."""
    if len(rows) > limits.fields + 1:
        raise TooManyFields(f"more than {limits.fields} fields")
    lines: list[bytes] = []
    held: dict[bytes, list[bytes]] = {}
    del rows[0]
    for row in rows:
        lower, text = LINES.get(row) or judge_line(row)
        if not lower:
            lines.append(text)
        elif lower not in held:
            held[lower] = [text]
            if lower in SINGLE:
                lines.append(row.partition(b":")[0] + b": " + text)
        elif lower in SINGLE:
            raise BadRequest("a field that may stand once is repeated")
        else:
            held[lower].append(text)
    return lines, held


def parse_request_head(raw: bytes, limits: Limits) -> RequestHead:
    """Parse from the request line to the empty line, both included.

    Raises:
        BadRequest, BadHost, BadVersion, MethodRefused, TargetTooLong, TooManyFields: the grammar or a limit.
        BadFraming, CodingUnknown, ExpectationUnknown, OwnedField: see ``framing``.

    """
    return read_request_head(raw[:-4].split(b"\r\n"), limits)


def read_request_head(rows: list[bytes], limits: Limits) -> RequestHead:
    """Read a head that was split at its CRLF pairs, without the two at its end. Raises as ``parse_request_head``."""
    method, target, minor = parse_request_line(rows[0], limits)
    lines, held = read_fields(rows, limits)
    authority = _host(held, minor)
    if not target.startswith(b"/"):
        target, authority = _other_form(method, target, authority)
    if target.translate(TARGET_ONLY) != target:
        raise BadRequest("the target holds a character that RFC 3986 does not allow")
    head = RequestHead(method, target, authority, minor, lines, held)
    frame_request(head)
    return head


def parse_request_line(row: bytes, limits: Limits) -> tuple[bytes, bytes, int]:
    """Give the method, the target as it came, and the minor version.

    Raises:
        BadRequest, BadVersion, MethodRefused, TargetTooLong: as above.

    """
    words = row.split(b" ")
    method = words[0]
    if method not in _METHODS:
        if len(method) > METHOD_BYTES or not TOKEN.fullmatch(method):
            raise BadRequest("the request line does not begin with a method")
        if method == b"CONNECT":  # whatever its target: its 2xx would have no framing (RFC 9112 section 6.3, rule 2)
            raise MethodRefused("CONNECT is not served here")
    if len(row) > limits.target_bytes + len(method) + len(b"  HTTP/1.1"):
        raise TargetTooLong(f"the target is longer than {limits.target_bytes} bytes")
    if len(words) != 3:
        raise BadRequest("the request line is not three words with one space between")
    version = words[2]
    if version == b"HTTP/1.1":
        return method, words[1], 1
    if version == b"HTTP/1.0":
        return method, words[1], 0
    if _VERSION.fullmatch(version):
        raise BadVersion("HTTP/1.1 and HTTP/1.0 are spoken here")
    raise BadRequest("the request line does not end in a version")


_HOSTS: Final[set[bytes]] = set()
"""Authorities that were judged good. Bounded as ``NAMES`` is, and for the same reason."""

_MAX_HOSTS: Final = 1024


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
        if len(_HOSTS) >= _MAX_HOSTS:
            _HOSTS.clear()
        _HOSTS.add(host)
    return host


def _other_form(method: bytes, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
    """Read absolute-form and asterisk-form (RFC 9112 section 3.2); give origin-form and the effective authority."""
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
    known = ANSWERS.get(raw)
    if known is not None and method != b"HEAD":
        return known
    rows = raw[:-4].split(b"\r\n")
    status = _STATUSES.get(rows[0]) or _judge_status_line(rows[0])
    lines, held = read_fields(rows, limits)
    head = ResponseHead(status[0], status[1], status[2], lines, held)
    frame_response(head, method)
    if method != b"HEAD" and len(raw) <= _MAX_ANSWER_BYTES and all(row in LINES for row in rows):
        if len(ANSWERS) >= _MAX_ANSWERS:
            ANSWERS.clear()
        ANSWERS[raw] = head
    return head


ANSWERS: Final[dict[bytes, ResponseHead]] = {}
"""Whole heads that were judged, by their exact bytes: within a second a server gives many that are the same.

Only heads in which every line is of a field that ``grammar.LINES`` remembers: they hold no secret, nothing unique.
"""

_MAX_ANSWERS: Final = 512
_MAX_ANSWER_BYTES: Final = 1024  # so that all of them are half a megabyte at the most


_STATUSES: Final[dict[bytes, tuple[int, bytes, int]]] = {}
"""Status lines that were judged: status, the line written anew, minor version. Bounded as ``NAMES`` is."""

_MAX_STATUSES: Final = 256
_MAX_STATUS_LINE_BYTES: Final = 128


def _judge_status_line(row: bytes) -> tuple[int, bytes, int]:
    match = _STATUS_LINE.fullmatch(row)
    if match is None or row.translate(VISIBLE_ONLY) != row:
        raise BadRequest("the status line is malformed")
    version, status, reason = match.groups()
    judged = int(status), b"HTTP/1.1 %b %b" % (status, reason or b""), int(version)
    if len(row) <= _MAX_STATUS_LINE_BYTES:
        if len(_STATUSES) >= _MAX_STATUSES:
            _STATUSES.clear()
        _STATUSES[row] = judged
    return judged

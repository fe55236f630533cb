"""Whole requests and whole responses, and how a response is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from proxy.http1.grammar import TOKEN, VISIBLE_ONLY
from proxy.http1.write import head, reason_phrase
from proxy.identity.peer import Peer

NO_STORE = ("Cache-Control", "no-store")
"""For an answer that no cache may keep: tokens, errors, the state of this moment."""

_HTML = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
"""A page of ours loads nothing, runs nothing and stands in no frame, unless its handler says otherwise by name."""

_BODILESS = (204, 304)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. HEAD comes as GET: the server leaves the body of the answer out.

    Field names are lower case; a repeated field is joined with ``, ``; ``host`` is the effective authority. ``peer`` is
    there where the port demands an identity.
    """

    method: str
    path: str
    query: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. What is given in ``fields`` wins over what the server would add."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


def problem(status: int, detail: str, *, reason: str = "", fields: tuple[tuple[str, str], ...] = ()) -> Response:
    """Make a problem document (RFC 9457); ``detail`` never repeats what came from outside."""
    document: dict[str, object] = {"type": "about:blank", "title": reason_phrase(status).decode(), "status": status}
    if reason:
        document["reason"] = reason
    document["detail"] = detail
    return Response(status, json.dumps(document).encode(), "application/problem+json", (NO_STORE, *fields))


def written(response: Response, now: float, *, head_only: bool, close: bool) -> bytes:
    """Write ``response`` whole: its head, and its body unless it answers HEAD.

    Raises:
        ValueError: the handler made a status, a field name or a value that cannot be sent.

    """
    if not 200 <= response.status <= 599:
        raise ValueError("a handler answers with a final status, 200 to 599")
    fields = {"Date": formatdate(now, usegmt=True), "X-Content-Type-Options": "nosniff"}
    if response.status not in _BODILESS:
        fields |= {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
    if response.content_type.startswith("text/html"):
        fields |= _HTML
    if close:
        fields["Connection"] = "close"
    lines = _own(response.fields) + [
        field_line(*pair) for pair in fields.items() if not _names(response.fields, pair[0])
    ]
    status_line = b"HTTP/1.1 %d %b" % (response.status, reason_phrase(response.status))
    body = b"" if head_only or response.status in _BODILESS else response.body
    return head(status_line, lines) + body


_OURS = frozenset({"content-length", "transfer-encoding", "connection", "content-type", "upgrade", "trailer"})
"""What frames the message is never a handler's."""


def _own(fields: tuple[tuple[str, str], ...]) -> list[bytes]:
    for name, _ in fields:
        if name.lower() in _OURS:
            raise ValueError("a handler may not set a field that frames the message")
    return [field_line(name, value) for name, value in fields]


def _names(fields: tuple[tuple[str, str], ...], name: str) -> bool:
    return any(own.lower() == name.lower() for own, _ in fields)


def field_line(name: str, value: str) -> bytes:
    """Write ``name: value``. Raises ValueError where it would break the head."""
    raw_name, raw_value = name.encode("ascii"), value.encode("latin-1")
    if not TOKEN.fullmatch(raw_name) or raw_value.translate(VISIBLE_ONLY) != raw_value:
        raise ValueError("a field that would break the head")
    return raw_name + b": " + raw_value

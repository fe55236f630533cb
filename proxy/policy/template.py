"""A route's match, ``METHOD /path/{name}/literal``, as it is written in a rule.

``METHOD`` is one that RFC 9110 allows, in capitals, or ``*``: any method in capitals but CONNECT and TRACE. (Methods
compare with their case, but many apps fold it: were ``delete`` matched by ``*``, they would take it for DELETE.)
HEAD is not implied by GET, nor OPTIONS by anything: default deny has no exceptions to remember.

The path is written as on the wire, and matches whole segments:

- a literal, which is encoded only where RFC 3986 demands it (``/caf%C3%A9``, but ``/@me``); a literal ``*`` is ``%2A``;
- ``{name}``: exactly one segment, not empty;
- ``/**`` at the end: whatever follows that slash, even nothing: ``/files/**`` matches ``/files/``, never ``/files``;
- a ``/`` at the end: itself. ``/orders/`` and ``/orders`` are two paths.

``OPTIONS *`` matches the target ``*`` (RFC 9112 3.2.4), which no other route matches. ``CONNECT host:port`` matches a
tunnel to exactly that authority (``policy/connect.py``).
"""

import re
from dataclasses import dataclass
from enum import Enum

from proxy.errors import AmbiguousPath
from proxy.policy.authority import InvalidAuthority, parse_authority
from proxy.policy.path import ambiguities, in_capitals, spell

MAX_SEGMENTS = 64
"""Of one template: matching descends one level a segment, and no honest path is deeper."""

ANY_METHOD = "*"
NEVER_BY_ANY = frozenset({b"CONNECT", b"TRACE"})
"""CONNECT's target is no path, and TRACE echoes the token: neither is meant by one who writes ``*``."""

CAPITAL_METHOD = re.compile(rb"[A-Z0-9!#$%&'*+\-.^_`|~]+")
"""token of RFC 9110 5.6.2, without small letters."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL = re.compile(rb"[A-Za-z0-9\-._~!$&'()+,=:@%]*")
_EXAMPLE = "write METHOD /path, as in GET /orders/{id}"

_WILDCARDS = "a whole segment: {name} for one segment, or /** at the end for all that follows"


class InvalidTemplate(ValueError):
    """Not a match; the message says what would be right."""


class Wild(Enum):
    """A segment that is no literal."""

    ONE = "{}"
    REST = "**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A match that was understood; ``segments`` is None for ``OPTIONS *``.

    Two templates match the same requests exactly when ``method`` and ``segments`` are equal.
    """

    method: str
    path: str
    segments: tuple[bytes | Wild, ...] | None

    @classmethod
    def parse(cls, raw: str) -> "Template":
        """Read one match. Raises InvalidTemplate."""
        method, space, path = raw.partition(" ")
        if not space:
            raise InvalidTemplate(f"no method: {_EXAMPLE}")
        if method == "CONNECT":
            authority = _tunnel(path)
            return cls(method=method, path=authority, segments=(authority.encode(),))
        _check_method(method)
        if path == "*":
            if method != "OPTIONS":
                raise InvalidTemplate("only OPTIONS has the target *; for every path write /**")
            return cls(method=method, path=path, segments=None)
        return cls(method=method, path=path, segments=_segments(path))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _tunnel(authority: str) -> str:
    try:
        named = parse_authority(authority)
    except InvalidAuthority as error:
        raise InvalidTemplate(f"a tunnel leads to host:port, as in CONNECT db:5432; {error}") from None
    if named.port is None:
        raise InvalidTemplate("write the port too, as in CONNECT db:5432")
    return str(named)


def _check_method(method: str) -> None:
    if method != ANY_METHOD and not CAPITAL_METHOD.fullmatch(method.encode()):
        raise InvalidTemplate(f"the method is a name in capitals, or *: {_EXAMPLE}")


def _segments(path: str) -> tuple[bytes | Wild, ...]:
    if not path.startswith("/"):
        raise InvalidTemplate(f"the path begins with /: {_EXAMPLE}")
    if "?" in path or "#" in path:
        raise InvalidTemplate("the query and the fragment take no part: end the path before ? or #")
    *above, last = path[1:].split("/")
    if len(above) >= MAX_SEGMENTS:
        raise InvalidTemplate(f"more than {MAX_SEGMENTS} segments")
    if "" in above:
        raise InvalidTemplate("an empty segment (//): no request that is not ambiguous has one")
    segments = [_segment(text) for text in above]
    if Wild.REST in segments:
        raise InvalidTemplate("/** stands only at the end")
    names = [text for text in [*above, last] if text.startswith("{")]
    if len(set(names)) < len(names):
        raise InvalidTemplate("two segments have the same {name}")
    return (*segments, _segment(last))


def _segment(text: str) -> bytes | Wild:
    if text == "**":
        return Wild.REST
    if text.startswith("{") and text.endswith("}") and _NAME.fullmatch(text[1:-1]):
        return Wild.ONE
    if "{" in text or "}" in text or "*" in text:
        raise InvalidTemplate(f"a wildcard is {_WILDCARDS}; a literal * is %2A")
    return _literal(text)


def _literal(text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        found = ambiguities(b"/" + raw)
    except UnicodeEncodeError:
        raise InvalidTemplate("percent-encode what is not ASCII: a path is written as on the wire") from None
    except AmbiguousPath as error:
        raise InvalidTemplate(error.detail) from None
    if found:
        raise InvalidTemplate(f"a literal has one reading, and this one holds {', '.join(sorted(found))}")
    if not _LITERAL.fullmatch(raw):
        raise InvalidTemplate("percent-encode a character that RFC 3986 does not know in a path")
    spelled = spell(raw)
    if spelled.replace(b"*", b"%2A") != in_capitals(raw):
        raise InvalidTemplate("write what needs no encoding as it is: @, not %40")
    return spelled

"""Facts of a request, by name: what a token is asked for with, and what it can be held against.

========================= ============================================================================
``method``                the method
``route``                 the path template of the rule that matched, never the path
``source``                the IP address of whoever connected to us
``peer``                  the SPIFFE ID of whoever connected to us
``path:NAME``             what stands for ``{NAME}`` in the template, decoded
``query:NAME``            a parameter of the query, decoded
``header:NAME``           a field
``body:/POINTER``         a value in the JSON object that the body is (RFC 6901)
``literal:TEXT``          the text itself
========================= ============================================================================

``optional`` and a blank before it make a fact optional. One that is not there, or could be read in two ways (a field or
a parameter that is repeated, a body with a member twice, a path with two readings), is refused and never guessed.

The app reads the request again, with a reader that we do not know. So what some reader takes for the same name counts
as a repetition: ``x_user`` for ``x-user`` (CGI, WSGI), ``Q`` and ``q[]`` for ``q`` (ASP.NET, PHP), the member
``Quantity`` for ``quantity`` (Go); and a number with more digits than a double holds is refused. ``null`` is as good as
not there.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from proxy.errors import FactUnusable
from proxy.tokens.encoding import read_json_object
from proxy.tokens.numeral import Inexact

MAX_FACT_CHARS: Final = 1024
"""Of one fact: it rides in a token, through every hop's head."""

MAX_FACTS: Final = 32
"""Of one template."""

SECRET_FIELDS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "txn-token", "dpop"})
"""No fact: a token keeps what it holds for everybody who sees it to read."""

_WORDS: Final = frozenset({"method", "route", "source", "peer"})
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,5}")
_HOW: Final = (
    "write method, route, source, peer, path:NAME, query:NAME, header:NAME, body:/POINTER or literal:TEXT; "
    "an optional one begins with optional and a blank"
)
_OPTIONAL: Final = "optional "
_JSON: Final = re.compile(
    rb"application/(?:[a-z0-9.!#$&^_-]+\+)?json[ \t]*(?:;[ \t]*charset=(?:utf-8|\"utf-8\")[ \t]*)?", re.IGNORECASE
)
"""RFC 8259 section 8.1 knows no other encoding, but some readers obey a charset."""

_UNDERSCORED: Final = str.maketrans(" .", "__")  # PHP
_ESCAPES: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_SEPARATORS: Final = re.compile(rb"[&;]")
_LONE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class InvalidFact(ValueError):
    """Not the name of a fact; the message says what would be right."""


class Facts:
    """The facts of one request. ``target`` is in origin-form, ``lines`` are its fields as ``name: value``.

    ``body`` is None until it was read whole, ``trailers`` tells whether fields came behind it; ``route`` and ``peer``
    are empty where there is none. ``authority`` is whom it was sent to, which is no fact, but a condition may ask.
    """

    __slots__ = ("_json", "authority", "body", "lines", "method", "peer", "route", "source", "target", "trailers")

    def __init__(
        self,
        *,
        method: bytes,
        target: bytes,
        lines: Sequence[bytes],
        source: str = "",
        peer: str = "",
        route: str = "",
        body: bytes | None = None,
        trailers: bool = False,
        authority: bytes = b"",
    ) -> None:
        self.authority = authority
        self.method = method
        self.target = target
        self.lines = lines
        self.source = source
        self.peer = peer
        self.route = route
        self.body = body
        self.trailers = trailers
        self._json: Mapping[str, Any] | None = None

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field; ``name`` in lower case."""
        length = len(name) + 1
        return [line[length:].strip() for line in self.lines if line[:length].lower() == name + b":"]

    def spellings(self, name: bytes) -> int:
        """Return how many fields some reader takes for ``name``, which is in lower case."""
        wanted, length = name.replace(b"_", b"-") + b":", len(name) + 1
        return sum(line[:length].lower().replace(b"_", b"-") == wanted for line in self.lines)

    def document(self) -> Mapping[str, Any]:
        """Return the JSON object that the body is. Raises FactUnusable."""
        if self._json is None:
            self._json = self._read()
        return self._json

    def _read(self) -> Mapping[str, Any]:
        kinds, codings = self.values(b"content-type"), self.values(b"content-encoding")
        if len(kinds) != 1 or self.spellings(b"content-type") > 1 or not _JSON.fullmatch(kinds[0]):
            raise FactUnusable("a fact is taken from the body, and its Content-Type is not JSON in UTF-8")
        if self.spellings(b"content-encoding") > len(codings) or any(one.lower() != b"identity" for one in codings):
            raise FactUnusable("a fact is taken from the body, and it is compressed")
        if self.trailers:
            raise FactUnusable("a fact is taken from the body, and fields come behind it")
        try:
            return read_json_object(self.body or b"", exactly=True)
        except ValueError as error:
            raise FactUnusable("the body is not a JSON object, or can be read in two ways") from error


class Fact:
    """One fact by its name. ``of`` gives its value, or None if it is optional and not there."""

    __slots__ = ("_get", "name", "of_body", "optional")

    def __init__(self, name: str, get: Callable[[Facts], Any], *, optional: bool) -> None:
        self.name = name
        self.of_body = name.startswith("body:")
        self.optional = optional
        self._get = get

    def of(self, facts: Facts) -> Any:
        """Return the value. Raises FactUnusable."""
        value = self._get(facts)
        if value is None:
            if not self.optional:
                raise FactUnusable(f"{self.name} is not there")
            return None
        if (len(value) if isinstance(value, str) else len(json.dumps(value))) > MAX_FACT_CHARS:
            raise FactUnusable(f"{self.name} is longer than {MAX_FACT_CHARS} characters")
        return value


def parse_fact(raw: str, *, routed: bool) -> Fact:
    """Read the name of a fact; ``routed``: whether there is a route, with a template. Raises InvalidFact."""
    optional = raw.startswith(_OPTIONAL)
    kind, colon, name = raw.removeprefix(_OPTIONAL).partition(":")
    if kind == "literal" and colon:
        return Fact(kind, lambda _facts: name, optional=optional)
    if not routed and kind in {"route", "path", "peer"}:
        raise InvalidFact(f"{kind} is known where a rule has a route, and here is none")
    if not colon and kind in _WORDS:
        return Fact(kind, _word(kind), optional=optional)
    getter = _GETTERS.get(kind) if colon else None
    if getter is None:
        raise InvalidFact(_HOW)
    return Fact(f"{kind}:{name}", getter(name), optional=optional)


def _word(name: str) -> Callable[[Facts], str | None]:
    def get(facts: Facts) -> str | None:
        value = getattr(facts, name)
        return (value.decode("ascii") if isinstance(value, bytes) else str(value)) or None

    return get


def _header(name: str) -> Callable[[Facts], str | None]:
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise InvalidFact("header: names a field, as header:user-agent")
    if lower in SECRET_FIELDS:
        raise InvalidFact(f"{lower} is a secret, and a token would show it to everybody")
    field = lower.encode()

    def get(facts: Facts) -> str | None:
        values = facts.values(field)
        if len(values) > 1 or facts.spellings(field) > len(values):
            raise FactUnusable(f"the field {lower} is repeated, or stands there in another spelling")
        return _text(values[0], f"the field {lower}") or None if values else None

    return get


def _query(name: str) -> Callable[[Facts], str | None]:
    if not name:
        raise InvalidFact("query: names a parameter, as query:action")
    folded = _folded(name)

    def get(facts: Facts) -> str | None:
        _, _, query = facts.target.partition(b"?")
        if b";" in query:  # to some readers a separator
            raise FactUnusable("a fact is taken from the query, and it has a ; in it")
        found, likely = [], 0
        for part in query.split(b"&"):
            key, _, value = part.partition(b"=")
            called = _decoded(key.replace(b"+", b" "), "the query")
            likely += _folded(called) == folded
            if called == name:
                found.append(_decoded(value.replace(b"+", b" "), "the query"))
        if len(found) > 1 or likely > len(found):
            raise FactUnusable(f"the parameter {name} is repeated, or stands there in another spelling")
        return found[0] if found else None

    return get


def has_parameter(target: bytes, name: str) -> bool:
    """Whether some reader finds this parameter in the query; ``name`` as the most careless one has it."""
    for part in _SEPARATORS.split(target.partition(b"?")[2]):
        called = _ESCAPES.sub(_octet, part.partition(b"=")[0].replace(b"+", b" "))
        if _folded(called.decode("utf-8", "replace")) == name:
            return True
    return False


def _folded(name: str) -> str:
    """Return a parameter's name as the most careless reader has it: PHP cuts it at [ or NUL, ASP.NET folds case."""
    return name.lstrip().partition("\0")[0].partition("[")[0].casefold().translate(_UNDERSCORED)


def _path(name: str) -> Callable[[Facts], str | None]:
    wanted = f"{{{name}}}"

    def get(facts: Facts) -> str | None:
        above, segments = facts.route.split("/"), facts.target.partition(b"?")[0].split(b"/")
        if wanted not in above:
            raise FactUnusable(f"the route has no {wanted}")
        at = above.index(wanted)
        rest = above[-1] == "**"
        if (len(segments) < len(above)) if rest else (len(segments) != len(above)):
            raise FactUnusable("the path has another reading than its route")
        value = _decoded(segments[at], "the path")
        if not value or any(character in value for character in "/\\;%\0") or value in {".", ".."}:
            raise FactUnusable("a fact is taken from the path, and it can be read in two ways")
        return value

    return get


def _body(pointer: str) -> Callable[[Facts], Any]:
    if not POINTER.fullmatch(pointer):
        raise InvalidFact("body: names a JSON pointer, as body:/order/quantity")
    steps = steps_of(pointer)

    def get(facts: Facts) -> Any:
        value = value_at(facts.document(), steps, alone=f"body:{pointer}")
        if _is_inexact(value):
            raise FactUnusable(f"body:{pointer} is a number with more digits than a double holds")
        return value

    return get


def steps_of(pointer: str) -> tuple[str, ...]:
    """Return the reference tokens of a JSON pointer (RFC 6901 section 4)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/"))


def value_at(document: Any, steps: Sequence[str], *, alone: str = "") -> Any:
    """Return what the steps of a pointer lead to; None where it is not there, or null.

    Raises:
        FactUnusable: ``alone`` is its name for people, and a member stands there in another spelling as well.

    """
    value = document
    for step in steps:
        if isinstance(value, dict):
            if alone and sum(name.casefold() == step.casefold() for name in value) > (step in value):
                raise FactUnusable(f"{alone} stands there in another spelling")
            value = value.get(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


_GETTERS: Final[Mapping[str, Callable[[str], Callable[[Facts], Any]]]] = {
    "header": _header,
    "query": _query,
    "path": _path,
    "body": _body,
}


def _is_inexact(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_inexact, value.values()))
    if isinstance(value, list):
        return any(map(_is_inexact, value))
    return isinstance(value, Inexact)


def _decoded(raw: bytes, where: str) -> str:
    if _LONE.search(raw):
        raise FactUnusable(f"{where} is not percent-encoded")
    return _text(_ESCAPES.sub(_octet, raw), where)


def _octet(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode())


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FactUnusable(f"{where} is not UTF-8") from None

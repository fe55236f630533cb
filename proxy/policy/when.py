"""``when``: a condition in CEL, the Common Expression Language of Envoy, Kubernetes and gRPC.

The names that it may use are ``NAMES`` and ``environment.NAME``. All of them are declared with their types, so that a
name that is not there, and a comparison of a number with a text, are errors of the configuration. What shows only
with a request (a member that is not there, a division by zero) makes the condition one that cannot be told.

Bounded: by ``MAX_EXPRESSION`` here; by the library 32 levels of nesting and 10000 steps of iteration in all; patterns
are RE2's, which take linear time, and stand in the expression, so that no caller writes one. The library is imported
when the first policy uses ``when``, and not before.

Two readings are none here either. ``request.path`` cannot be told where it has several (``policy/path.py``), and
``request.headers`` cannot be asked for a field that is repeated, or stands there in another spelling; where a field is
not named in the expression itself, for none as long as any is.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from proxy.errors import AmbiguousPath
from proxy.http1.grammar import HELD
from proxy.policy.authority import Authority, InvalidAuthority, parse_authority
from proxy.policy.conditions import Condition, Question, told
from proxy.policy.path import PLAIN, readings
from proxy.tokens.facts import SECRET_FIELDS, Facts

MAX_EXPRESSION: Final = 1024
"""Characters: what a person still reads in one go."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_S: Final = 253_402_300_799.0  # the year 9999, where datetime ends

_NAMED_FIELD: Final = re.compile(
    r"""request\.headers(?:\[\s*(["'])([^"'\\]*)\1\s*\]|\.([A-Za-z_][A-Za-z0-9_]*)\b(?!\s*\())"""
)
_MATCHES: Final = re.compile(r"\bmatches\b")
_PATTERN: Final = re.compile(r"""\.matches\(\s*(r?(["'])(?:[^"'\\]|\\.)*\2)\s*\)""")
_NOT_WORD: Final = re.compile(r"[^0-9a-z]")
"""What gateways of the CGI kind make one character of."""

_ASKED_FIELD: Final = re.compile(r"""(["'])([^"'\\]*)\1\s+in\s+request\.headers\b""")


class InvalidWhen(ValueError):
    """Not an expression that can be used; the message says why."""


class Untold(Exception):
    """A value that cannot be told."""


Get = Callable[[Question], Any]


def _request(question: Question) -> Facts:
    if question.facts is None:
        raise Untold
    return question.facts


def _path(question: Question) -> str:
    target = _request(question).target
    plain = PLAIN.fullmatch(target)
    if plain is not None:
        return str(plain[1], "ascii")
    path = target.partition(b"?")[0]
    try:
        if target != b"*" and len(readings(path, frozenset())) > 1:
            raise Untold
    except AmbiguousPath:
        raise Untold from None
    return str(path, "ascii")


def _authority(question: Question) -> Authority:
    try:
        return parse_authority(str(_request(question).authority, "ascii"))
    except (UnicodeDecodeError, InvalidAuthority):
        raise Untold from None


def _instant(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=min(max(seconds, 0.0), _LAST_S))


NAMES: Final[Mapping[str, tuple[str, Get]]] = {
    "peer.spiffe_id": ("STRING", lambda asked: asked.peer.uri),
    "peer.trust_domain": ("STRING", lambda asked: asked.peer.spiffe_id.trust_domain),
    "peer.path": ("STRING", lambda asked: asked.peer.spiffe_id.path),
    "peer.certificate_sha256": ("STRING", lambda asked: asked.peer.certificate_sha256),
    "token.txn": ("STRING", lambda asked: asked.token.txn),
    "token.sub": ("STRING", lambda asked: asked.token.sub),
    "token.aud": ("STRING", lambda asked: asked.token.aud),
    "token.iss": ("STRING", lambda asked: asked.token.iss or ""),
    "token.req_wl": ("STRING", lambda asked: asked.token.req_wl),
    "token.scopes": ("STRINGS", lambda asked: sorted(asked.token.scopes)),
    "token.actors": ("STRINGS", lambda asked: list(asked.token.actors)),
    "token.tctx": ("OBJECT", lambda asked: dict(asked.token.tctx or {})),
    "token.rctx": ("OBJECT", lambda asked: dict(asked.token.rctx or {})),
    "token.agentic_ctx": ("OBJECT", lambda asked: dict(asked.token.agentic or {})),
    "token.iat": ("TIMESTAMP", lambda asked: _instant(asked.token.iat)),
    "token.exp": ("TIMESTAMP", lambda asked: _instant(asked.token.exp)),
    "request.method": ("STRING", lambda asked: str(_request(asked).method, "ascii")),
    "request.path": ("STRING", _path),
    "request.host": ("STRING", lambda asked: _authority(asked).host),
    "request.port": ("INT", lambda asked: _authority(asked).port or 0),
    "request.headers": ("TEXTS", lambda asked: fields_of(_request(asked))),
    "connection.source": ("STRING", lambda asked: _request(asked).source),
    "connection.until": ("TIMESTAMP", lambda asked: _instant(asked.until)),
    "time.now": ("TIMESTAMP", lambda asked: _instant(asked.now)),
}
"""What an expression may ask for: type and value."""


def fields_of(facts: Facts) -> dict[str, str]:
    """Return the fields by lower-case name, without secrets and without those that have two readings."""
    pairs = [line.partition(b":") for line in facts.lines]
    found = {str(name.lower(), "ascii"): value.strip() for name, _, value in pairs}
    return {
        name: str(value, "utf-8")
        for name, value in found.items()
        if name not in SECRET_FIELDS and name not in unclear_fields(facts)
    }


def unclear_fields(facts: Facts) -> set[str]:
    """Return the fields that are repeated, stand there in two spellings, or are not UTF-8; in every spelling."""
    names = [str(line.partition(b":")[0].lower(), "ascii") for line in facts.lines]
    plain = [_NOT_WORD.sub("-", name) for name in names]
    count = Counter(plain)
    unclear = {spelled for name, spelled in zip(names, plain, strict=True) if name != spelled or count[spelled] > 1}
    for spelled, line in zip(plain, facts.lines, strict=True):
        try:
            line.decode()
        except UnicodeDecodeError:
            unclear.add(spelled)
    return unclear | {name for name, spelled in zip(names, plain, strict=True) if spelled in unclear}


class When(Condition):
    """One expression."""

    __slots__ = ("_any_field", "_expression", "_fields", "_getters", "needs_request", "needs_token")

    def __init__(self, written: str, expression: Any, names: Mapping[str, Get]) -> None:
        super().__init__("when", written)
        self._expression = expression
        self._getters = names
        self.needs_request = any(name.startswith(("request.", "connection.source")) for name in names)
        self.needs_token = any(name.startswith("token.") for name in names)
        matches = [*_NAMED_FIELD.finditer(written), *_ASKED_FIELD.finditer(written)]
        self._fields = {found[2] or found[3] for found in _NAMED_FIELD.finditer(written)}
        self._fields |= {found[2] for found in _ASKED_FIELD.finditer(written)}
        plainly = sum("request.headers" in found[0] for found in matches)
        self._any_field = "request.headers" in names and re.sub(r"\s", "", written).count("headers") != plainly

    @property
    def names(self) -> frozenset[str]:
        """What it asks for, of ``NAMES`` and of the environment."""
        return frozenset(self._getters)

    @property
    def fields(self) -> set[str]:
        """The fields that it names."""
        return self._fields

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        try:
            value = self._expression.eval(data=self._values(question)).value()
        except (Untold, RuntimeError, ValueError):
            return None  # RuntimeError is how the library says that a bound is passed
        return value if isinstance(value, bool) else None

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        try:
            values = self._values(question)
            value = self._expression.eval(data=values).value()
        except Untold:
            return "what it asks for is not there, or has two readings"
        except (RuntimeError, ValueError) as error:
            return str(error).partition("\n")[0]
        shown = ", ".join(f"{name} = {_shown(one)}" for name, one in values.items())
        return shown if isinstance(value, bool) else f"{value}; {shown}"

    def _values(self, question: Question) -> dict[str, Any]:
        values = {name: get(question) for name, get in self._getters.items()}
        if "request.headers" in values:
            unclear = unclear_fields(_request(question))
            if (unclear and self._any_field) or not unclear.isdisjoint(self._fields):
                raise Untold
        return values


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else told(value)


def environment_of(environment: Mapping[str, str]) -> Any:
    """Return the environment of the library for all expressions of a policy. Raises InvalidWhen."""
    try:
        from cel_expr_python import cel  # noqa: PLC0415 - 10 MB that only a policy with when needs
    except ImportError:
        raise InvalidWhen("needs the library for CEL: pip install 'svidecar[when]'") from None
    kind = cel.Type
    types = {
        "STRING": kind.STRING,
        "INT": kind.INT,
        "TIMESTAMP": kind.TIMESTAMP,
        "STRINGS": kind.List(kind.STRING),
        "TEXTS": kind.Map(kind.STRING, kind.STRING),
        "OBJECT": kind.Map(kind.STRING, kind.DYN),
    }
    declared = {name: types[form] for name, (form, _) in NAMES.items()}
    return cel.NewEnv(variables=declared | {f"environment.{name}": kind.STRING for name in environment})


def parse_when(written: str, library: Any, environment: Mapping[str, str]) -> When:
    """Understand an expression; ``library`` is from ``environment_of``. Raises InvalidWhen."""
    if len(written) > MAX_EXPRESSION:
        raise InvalidWhen(f"longer than {MAX_EXPRESSION} characters: write several rules")
    try:
        expression = library.compile(written)
    except RuntimeError as error:
        raise InvalidWhen(_complaint(str(error))) from None
    if expression.return_type().name().lower() not in {"bool", "dyn"}:
        raise InvalidWhen("this is a value, and no condition that is true or false")
    _check_patterns(written, library)
    checked = expression.serialize()  # holds every name that was resolved, however it was spelled
    names: dict[str, Get] = {name: get for name, (_, get) in NAMES.items() if name.encode() in checked}
    for name, value in environment.items():
        if f"environment.{name}".encode() in checked:
            names[f"environment.{name}"] = lambda _, value=value: value  # type: ignore[misc]
    when = When(written, expression, names)
    for field in when.fields:
        if field in SECRET_FIELDS:
            raise InvalidWhen(f"{field} is a secret, and no condition sees it")
        if field.encode() in HELD:
            raise InvalidWhen(f"{field} is of the connection or ours, and no condition sees it")
        if field != field.lower() or "_" in field:
            raise InvalidWhen("fields are in lower case and without _ here, as in request.headers['x-tenant']")
    return when


def _check_patterns(written: str, library: Any) -> None:
    patterns = _PATTERN.findall(written)
    if len(patterns) != len(_MATCHES.findall(written)):
        raise InvalidWhen("write a pattern out, as in request.path.matches('^/orders/[0-9]+$')")
    for pattern, _ in patterns:
        found = library.compile(f'"".matches({pattern})').eval(data={}).value()
        if not isinstance(found, bool):
            raise InvalidWhen(f"{pattern} is no pattern: {found}")


def _complaint(message: str) -> str:
    """Return what the library says first, in one line."""
    first = message.partition("ERROR: <input>:")[2].partition("\n")[0] or message.partition("\n")[0]
    where, _, what = first.partition(": ")
    return f"at {where}: {what}" if what else first

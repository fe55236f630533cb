"""What one route or destination asks of the token service: understood once, made into a ``Want`` for each request."""

import json
import re
from collections.abc import Mapping
from typing import Final

from proxy.errors import AccessTokenMalformed, AccessTokenMissing, FactUnusable
from proxy.tokens.exchange import Want
from proxy.tokens.facts import MAX_FACTS, Fact, Facts, InvalidFact, has_parameter, parse_fact
from proxy.tokens.settings import AskSettings, SubjectSettings
from proxy.tokens.subject import JWT_SVID, TYPES, UNSIGNED_JSON, InvalidType, Subject, kind_of, subject, unsigned

MAX_CONTEXT_BYTES: Final = 4096
"""Of request_details, and of request_context: they ride in every hop's head."""

BEARER: Final = "bearer"
_HEADER: Final = "header:"
_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_B64TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1
_MAX_SUBJECT_BYTES: Final = 16384

Errors = list[tuple[str, str]]


class Ask:
    """See the module. ``scopes`` are asked for; ``needs_body`` where a fact is taken from it.

    ``field`` is the one that the subject token comes in, in lower case; it is taken away from the request.
    """

    __slots__ = (
        "_audience",
        "_context",
        "_details",
        "_kind",
        "_settings",
        "field",
        "is_plain",
        "needs_body",
        "scopes",
    )

    def __init__(
        self,
        settings: AskSettings,
        kind: str | None,
        details: Mapping[str, Fact],
        context: Mapping[str, Fact],
    ) -> None:
        self._settings = settings
        self.scopes = settings.scope
        self._kind = kind
        self._details = details
        self._context = context
        self._audience = (settings.subject and settings.subject.audience) or ""
        self.field = _field(settings.subject) if settings.subject is not None else b""
        self.needs_body = any(fact.of_body for fact in (*details.values(), *context.values()))
        self.is_plain = kind is None and not details and not context

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ask) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(self.scopes)

    def want(self, facts: Facts, client: str) -> Want:
        """Make what is wanted for a request; ``client`` is our own SPIFFE ID.

        Raises:
            AccessTokenMissing, AccessTokenMalformed: it brings no subject token, or not one alone.
            FactUnusable: as its docstring says.

        """
        return Want(
            client,
            self.scopes,
            self._subject(facts),
            details=_filled(self._details, facts),
            context=_filled(self._context, facts),
        )

    def without(self, lines: list[bytes]) -> list[bytes]:
        """Return the fields of a request without the subject token."""
        name = self.field + b":"
        return [line for line in lines if line[: len(name)].lower() != name] if self.field else lines

    def _subject(self, facts: Facts) -> Subject | None:
        if self._kind is None:
            return None
        if self.field == b"authorization" and has_parameter(facts.target, "access_token"):
            raise AccessTokenMalformed(
                "access_token stands in the query, where it is logged: send Authorization: Bearer"
            )
        values = facts.values(self.field)
        if not values:
            raise AccessTokenMissing("the request has no token to trade for a transaction token")
        if len(values) > 1:
            raise AccessTokenMalformed("the request has more than one token to trade")
        value = values[0]
        if self.field == b"authorization":
            value = _of_bearer(value)
        if self._kind == UNSIGNED_JSON:
            return unsigned(_sub(value))
        if not _B64TOKEN.fullmatch(value) or len(value) > _MAX_SUBJECT_BYTES:
            raise AccessTokenMalformed("the token to trade is not one of RFC 6750, or larger than 16 KiB")
        return subject(self._kind, value.decode(), self._audience)


def compile_ask(path: str, settings: AskSettings, errors: Errors, *, routed: bool) -> Ask | None:
    """Understand what is asked; note in ``errors`` what is wrong, with its place below ``path``."""
    before = len(errors)
    kind = None
    if settings.subject is not None:
        kind = _kind(f"{path}.subject", settings.subject, errors)
    details = _template(f"{path}.details", settings.details, errors, routed=routed)
    context = _template(f"{path}.context", settings.context, errors, routed=routed)
    return Ask(settings, kind, details, context) if len(errors) == before else None


def _kind(path: str, settings: SubjectSettings, errors: Errors) -> str | None:
    taken = settings.taken
    if taken != BEARER and not (taken.startswith(_HEADER) and _FIELD.fullmatch(taken.removeprefix(_HEADER).lower())):
        errors.append((f"{path}.from", "write bearer (Authorization: Bearer ...), or header:NAME"))
    if settings.type == "unsigned_json" and taken == BEARER:
        errors.append((f"{path}.from", "an unsigned subject is a name in a field of the app's own: write header:NAME"))
    if settings.type == JWT_SVID and not settings.audience:
        why = "is missing: whom the JWT-SVID must be for, the issuer identifier of the token service"
        errors.append((f"{path}.audience", why))
    if settings.type != JWT_SVID and settings.audience:
        errors.append(
            (f"{path}.audience", "belongs to type: jwt_svid; of other tokens the service judges it; remove it")
        )
    if settings.type == JWT_SVID:
        return TYPES["jwt"]
    try:
        return kind_of(settings.type)
    except InvalidType as error:
        errors.append((f"{path}.type", str(error)))
        return None


def _template(path: str, settings: Mapping[str, str], errors: Errors, *, routed: bool) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    if len(settings) > MAX_FACTS:
        errors.append((path, f"more than {MAX_FACTS} facts"))
    for name, raw in settings.items():
        try:
            facts[name] = parse_fact(raw, routed=routed)
        except InvalidFact as error:
            errors.append((f"{path}.{name}", str(error)))
    return facts


def _field(settings: SubjectSettings) -> bytes:
    taken = settings.taken
    return b"authorization" if taken == BEARER else taken.removeprefix(_HEADER).lower().encode()


def _of_bearer(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise AccessTokenMissing("Authorization has another scheme than Bearer")
    return token.strip(b" ")


def _sub(value: bytes) -> str:
    try:
        sub = value.decode("utf-8")
    except UnicodeDecodeError:
        raise AccessTokenMalformed("the name of the subject is not UTF-8") from None
    if not sub or not sub.isprintable():
        raise AccessTokenMalformed("the name of the subject is empty, or cannot be printed")
    return sub


def _filled(template: Mapping[str, Fact], facts: Facts) -> str:
    if not template:
        return ""
    values = {name: fact.of(facts) for name, fact in template.items()}
    text = json.dumps({name: value for name, value in values.items() if value is not None}, separators=(",", ":"))
    if len(text) > MAX_CONTEXT_BYTES:
        raise FactUnusable(f"the facts together are larger than {MAX_CONTEXT_BYTES} bytes")
    return text

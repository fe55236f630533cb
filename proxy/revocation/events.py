"""One Security Event Token (RFC 8417) -> what it takes back, or lifts. Pure; the keys and the time come in.

It is verified like any other token of ours: the key set says the algorithm, the type says what it is (so no other JWT
of the same issuer passes for one), and issuer, audience and time are compared before a word of it is believed. Events
of a type that we do not know are nothing to us (RFC 8417 section 2.2); those that we know must be whole.

The types of CAEP and RISC are OpenID's (CAEP 1.0 section 3, RISC 1.0 section 2), the subjects those of RFC 9493. What
those cannot say (a certificate, a transaction that has ended) has types of our own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.errors import RevocationsInvalid, TokenRefusal, TokenUnknownKey
from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import InvalidEntry, read_entry
from proxy.revocation.settings import FeedSettings
from proxy.tokens.encoding import read_json_object
from proxy.tokens.jws import read_jws
from proxy.tokens.keys import KeySet

CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
RISC: Final = "https://schemas.openid.net/secevent/risc/event-type/"
OWN: Final = "urn:svidecar:event:"

MAX_BYTES: Final = 65536
"""Of one token: events are hundreds of bytes."""

MAX_EVENTS: Final = 16
"""Types in one token: several must speak of one event (RFC 8417 section 2.2), so two or three."""

MAX_TEXT_CHARS: Final = 1024
"""Of ``jti``; of a subject, ``read_entry`` knows."""

SAME_SECOND_S: Final = 1.0
"""An ``iat`` has no parts of a second: a token of the second in which a session was ended may be older than that."""


class SetRefused(RevocationsInvalid, group=True):
    """A token is refused. ``code``: as registered for RFC 8935 section 2.4; ``detail`` repeats nothing of the token."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Event:
    """What one token says: what is taken back, and which entries are lifted, by their ids."""

    jti: str
    iat: float
    taken: tuple[Entry, ...]
    lifted: tuple[str, ...]


def read_event(raw: bytes, keys: KeySet, now: float, expect: FeedSettings) -> Event:
    """Verify and read one token.

    Raises:
        TokenUnknownKey: the caller may fetch the keys again and come back.
        SetRefused: for every other reason.

    """
    claims = _verified(raw, keys)
    if claims.get("iss") != expect.issuer:
        raise SetRefused("invalid_issuer", "iss is not revocation.feed.issuer")
    audience = claims.get("aud")
    if expect.audience not in (audience if type(audience) is list else [audience]):
        raise SetRefused("invalid_audience", "aud does not name revocation.feed.audience")
    iat = _date(claims, "iat")
    if iat > now + expect.skew_s:
        raise _bad("iat is in the future")
    if iat < now - expect.window_s:
        raise _bad("iat is longer ago than revocation.feed.window")
    if "exp" in claims and now >= _date(claims, "exp") + expect.skew_s:
        raise _bad("exp has passed")
    taken, lifted = _events(claims, iat)
    return Event(_text(claims, "jti"), iat, tuple(replace(entry, told=iat) for entry in taken), tuple(lifted))


def _verified(raw: bytes, keys: KeySet) -> Mapping[str, Any]:

    if len(raw) > MAX_BYTES:
        raise _bad(f"the token is larger than {MAX_BYTES} bytes")
    try:
        jws = read_jws(raw)
    except TokenRefusal as error:
        raise _bad(error.detail) from error
    kind = jws.header.get("typ")
    if type(kind) is not str or not kind.isascii() or kind.lower() not in {"secevent+jwt", "application/secevent+jwt"}:
        raise _bad("typ is not secevent+jwt")
    try:
        payload = jws.verified(keys)
    except TokenUnknownKey:
        raise
    except TokenRefusal as error:
        raise SetRefused("invalid_key", f"the signature does not hold: {error.reason}") from error
    try:
        return read_json_object(payload)
    except ValueError as error:
        raise _bad("the claims are not a JSON object, or can be read in two ways") from error


def _bad(detail: str) -> SetRefused:
    return SetRefused("invalid_request", detail)


def _date(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if (type(value) is not int and type(value) is not float) or not 0 < value < 1e11:
        raise _bad(f"{name} is missing, or no date in seconds")
    return float(value)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if type(value) is not str or not 0 < len(value) <= MAX_TEXT_CHARS or not value.isprintable():
        raise _bad(f"{name} is missing, empty, too long or no text")
    return value


# ---- events


def _events(claims: Mapping[str, Any], iat: float) -> tuple[list[Entry], list[str]]:
    events = claims.get("events")
    if type(events) is not dict or not events or not all(type(payload) is dict for payload in events.values()):
        raise _bad("events is missing, empty, or holds what is no object")
    if len(events) > MAX_EVENTS:
        raise _bad(f"events has more than {MAX_EVENTS} types")
    taken: list[Entry] = []
    lifted: list[str] = []
    for kind, payload in events.items():
        if kind in _TAKING:
            taken += _TAKING[kind](claims, payload, iat)
        elif kind in _LIFTING:
            lifted += [entry.id for entry in _LIFTING[kind](claims, payload, iat)]
    return taken, lifted


Read = Callable[[Mapping[str, Any], Mapping[str, Any], float], list[Entry]]


def _all_of_subject(claims: Mapping[str, Any], payload: Mapping[str, Any], iat: float) -> list[Entry]:
    """The account is gone: nothing is done for it, or by it, whoever it is."""
    found: list[Entry] = []
    for name in _names(claims, payload):
        found += [_entry({"sub": name}, iat), _entry({"act": name}, iat)]
        if name.startswith("spiffe://"):
            found.append(_entry({"spiffe_id": name}, iat))
    return found


def _older_of_subject(claims: Mapping[str, Any], payload: Mapping[str, Any], iat: float) -> list[Entry]:
    """What was issued for it until then does not hold any more; what is issued now does."""
    at = _date(payload, "event_timestamp") if "event_timestamp" in payload else iat
    before = min(at, iat) + SAME_SECOND_S
    names = _names(claims, payload)
    return [_entry({kind: name, "issued_before": before}, iat) for name in names for kind in ("sub", "act")]


def _own(_: Mapping[str, Any], payload: Mapping[str, Any], iat: float) -> list[Entry]:
    return [_entry(payload, iat)]


def _transaction(claims: Mapping[str, Any], payload: Mapping[str, Any], iat: float) -> list[Entry]:
    """A task has ended; its ``txn`` stands in the event, or beside it (RFC 8417 section 2.2)."""
    return [_entry({"txn": _text(payload if "txn" in payload else claims, "txn")}, iat)]


_TAKING: Final[Mapping[str, Read]] = {
    CAEP + "session-revoked": _older_of_subject,
    CAEP + "token-claims-change": _older_of_subject,
    RISC + "sessions-revoked": _older_of_subject,
    RISC + "credential-compromise": _older_of_subject,
    RISC + "account-disabled": _all_of_subject,
    RISC + "account-purged": _all_of_subject,
    OWN + "revoked": _own,
    OWN + "transaction-ended": _transaction,
}

_LIFTING: Final[Mapping[str, Read]] = {
    RISC + "account-enabled": _all_of_subject,
    OWN + "restored": _own,
}


def _entry(members: Mapping[str, Any], iat: float) -> Entry:
    try:
        return read_entry(members, iat)
    except InvalidEntry as error:
        raise _bad(f"an event {error}") from error


# ---- subjects (RFC 9493)

_NAME_OF: Final = {
    "iss_sub": "sub",
    "opaque": "id",
    "uri": "uri",
    "account": "uri",
    "did": "url",
    "email": "email",
    "phone_number": "phone_number",
}
"""The formats, and the member of each that may be the ``sub`` of a token. ``iss`` of iss_sub is who names the person;
the token's is the token service: they are not compared, for the issuer of the feed was chosen by the operator."""


def _names(claims: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """Return what the subject is called: in the event (RISC, older CAEP), or beside the events (``sub_id``)."""
    subject = payload.get("subject", claims.get("sub_id"))
    if type(subject) is not dict:
        raise _bad("there is neither a subject in the event nor sub_id")
    if subject.get("format") == "complex" and type(subject.get("user")) is dict:
        subject = subject["user"]
    identifiers = [subject]
    if subject.get("format") == "aliases":
        identifiers = subject.get("identifiers")
        if type(identifiers) is not list or not 0 < len(identifiers) <= MAX_EVENTS:
            raise _bad("aliases without identifiers, or with too many")
    return [_name(one) for one in identifiers]


def _name(subject: object) -> str:
    if type(subject) is not dict:
        raise _bad("a subject identifier is no object")
    # subject_type with hyphens is what RISC wrote before RFC 9493.
    kind = subject.get("format", str(subject.get("subject_type", "")).replace("-", "_"))
    if type(kind) is not str or kind not in _NAME_OF:
        raise _bad("the format of a subject identifier is not one that names the subject of a token")
    return _text(subject, _NAME_OF[kind])

"""One entry as people and programs write it, and back. Every source is read by this one function.

What is written wrongly would match nothing, and nobody would notice: so every value is held to the form that it must
have, and a refusal says what to write.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain
from proxy.policy.revocation import Ending, Entry, Kind

MAX_VALUE_CHARS: Final = 2048
"""As long as a SPIFFE ID may be."""

MAX_BECAUSE_CHARS: Final = 200
"""A note for whoever reads the list."""

MAX_AHEAD_S: Final = 60.0
"""How far ``issued_before`` may be in the future: clocks differ. More would shut out what is issued from now on."""

LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999: a later number is in milliseconds."""

_NAMES: Final = (Kind.SPIFFE_ID, Kind.SERIAL, Kind.TXN, Kind.SUB, Kind.ACT, Kind.TOKEN)
_MEMBERS: Final = frozenset({*_NAMES, "issuer", "issued_before", "expires", "end", "because"})
_HEX: Final = re.compile(r"0[xX]([0-9a-fA-F]+)|([0-9a-fA-F]{2}(?::[0-9a-fA-F]{2})+)|dec:([0-9]+)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_UNIX: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_SERIAL_FORMS: Final = (
    "write a serial as 0x1f2e, as 1f:2e, or in decimal as dec:7982: without a mark it has two readings"
)
MAX_SERIAL: Final = 1 << 160
"""RFC 5280 section 4.1.2.2: at most 20 octets, and positive."""


class InvalidEntry(ValueError):
    """What is wrong with an entry, for whoever wrote it; never holds what was written."""


def read_entry(members: Mapping[str, object], now: float) -> Entry:
    """Read one entry. Raises InvalidEntry."""
    if unknown := set(members) - _MEMBERS:
        close = f"the members are {', '.join(sorted(_MEMBERS))}"
        raise InvalidEntry(f"has {len(unknown)} unknown member{'s' if len(unknown) > 1 else ''}; {close}")
    named = [kind for kind in _NAMES if kind in members]
    if len(named) > 1:
        raise InvalidEntry(f"names {' and '.join(named)}: write an entry for each")
    before = _moment(members, "issued_before")
    if not named and before is None:
        raise InvalidEntry(f"names nothing: write one of {', '.join(_NAMES)}, issued_before")
    if before is not None and before > now + MAX_AHEAD_S:
        raise InvalidEntry("issued_before is in the future: what is not issued yet cannot be taken back")
    kind = named[0] if named else Kind.ISSUED_BEFORE
    value = _READ[kind](_text(members, kind)) if named else ""
    expires = _moment(members, "expires")
    return Entry(
        kind=kind,
        value=value,
        issuer=_issuer(kind, members),
        before=_bound(kind, before),
        expires=LATEST if expires is None else expires,
        ending=_ending(members),
        because=_text(members, "because", longest=MAX_BECAUSE_CHARS) if "because" in members else "",
    )


def write_entry(entry: Entry) -> dict[str, Any]:
    """Return the members that ``read_entry`` would read it from."""
    members: dict[str, Any] = {entry.kind: entry.value} if entry.value else {}
    if entry.issuer:
        members["issuer"] = entry.issuer
    if entry.before is not None:
        members["issued_before"] = entry.before
    if entry.expires < LATEST:
        members["expires"] = entry.expires
    if entry.ending is not None:
        members["end"] = str(entry.ending)
    if entry.because:
        members["because"] = entry.because
    return members


def _text(members: Mapping[str, object], name: str, longest: int = MAX_VALUE_CHARS) -> str:
    value = members[name]
    if type(value) is not str or not value:
        raise InvalidEntry(f"{name} is empty, or not a text")
    if len(value) > longest:
        raise InvalidEntry(f"{name} is longer than {longest} characters")
    if _CONTROL.search(value):
        raise InvalidEntry(f"{name} has a control character: no token and no SPIFFE ID has one, so it matches nothing")
    return value


def _spiffe_id(raw: str) -> str:
    try:
        return str(SpiffeId.parse(raw))
    except InvalidSpiffeId as error:
        raise InvalidEntry(f"spiffe_id is no SPIFFE ID, and would match nobody: {error}") from error


def _serial(raw: str) -> str:
    found = _HEX.fullmatch(raw)
    if found is None or len(raw) > 64:
        raise InvalidEntry(_SERIAL_FORMS)
    number = int(found[3]) if found[3] else int((found[1] or found[2]).replace(":", ""), 16)
    if not 0 < number < MAX_SERIAL:
        raise InvalidEntry("serial is not a positive number of at most 20 octets (RFC 5280 section 4.1.2.2)")
    return hex(number)


def _digest(raw: str) -> str:
    if not _SHA256.fullmatch(raw):
        raise InvalidEntry(
            "token_sha256 is 64 hexadecimal digits: the SHA-256 of the compact token, as in the access log"
        )
    return raw.lower()


def _same(raw: str) -> str:
    return raw


_READ: Final = {
    Kind.SPIFFE_ID: _spiffe_id,
    Kind.SERIAL: _serial,
    Kind.TXN: _same,
    Kind.SUB: _same,
    Kind.ACT: _same,
    Kind.TOKEN: _digest,
}


def _issuer(kind: Kind, members: Mapping[str, object]) -> str:
    if "issuer" not in members:
        if kind is Kind.SERIAL:
            raise InvalidEntry(
                "serial needs issuer: the trust domain, or the SHA-256 of the issuer's public key: "
                "a serial is unique for its issuer alone"
            )
        return ""
    raw = _text(members, "issuer")
    if kind in {Kind.SPIFFE_ID, Kind.TXN, Kind.TOKEN, Kind.ACT}:
        raise InvalidEntry(f"issuer does not belong to {kind}: it is one without")
    if kind is not Kind.SERIAL:
        return raw
    if _SHA256.fullmatch(raw):
        return raw.lower()
    try:
        return parse_trust_domain(raw)
    except InvalidSpiffeId as error:
        raise InvalidEntry(f"issuer of a serial is a trust domain, or 64 hexadecimal digits: {error}") from error


def _bound(kind: Kind, before: float | None) -> float | None:
    if before is not None and kind not in {Kind.SUB, Kind.ACT, Kind.ISSUED_BEFORE}:
        raise InvalidEntry(f"issued_before does not belong to {kind}: it stands alone, or with sub or act")
    return before


def _ending(members: Mapping[str, object]) -> Ending | None:
    if "end" not in members:
        return None
    try:
        return Ending(str(members["end"]))
    except ValueError:
        raise InvalidEntry("end is drain or cut") from None


def _moment(members: Mapping[str, object], name: str) -> float | None:
    if name not in members:
        return None
    value = members[name]
    if type(value) is int or type(value) is float or (type(value) is str and _UNIX.fullmatch(value)):
        moment = float(value)
    elif type(value) is str and _RFC3339.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            raise InvalidEntry(f"{name} is no date of the calendar") from None
    else:
        raise InvalidEntry(f"{name} is a time like 2026-01-31T12:00:00Z, or seconds since 1970")
    if not 0 <= moment <= LATEST:
        raise InvalidEntry(f"{name} is beyond the year 9999: is it in milliseconds?")
    return moment

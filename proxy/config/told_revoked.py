"""What ``svidecar explain`` knows to be revoked, and what it does not.

``--revocations F`` is a list as ``revocation.file`` has it, or the answer to ``GET /revocations`` of the admin port, in
which stands all that its sidecar knows; ``-`` is the standard input. Without it the list of the YAML is read, if any.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxy.config.revocation import read_yaml
from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Kind, Revoked
from proxy.policy.revocation_text import InvalidEntry, read_entry
from proxy.revocation.listing import read_listing
from proxy.revocation.settings import RevocationSettings
from proxy.tokens.encoding import read_json_object

STDIN: Final = "-"

_OF_ADMIN: Final = frozenset({"id", "source", "told"})
"""What the admin port says of an entry beside its members."""


@dataclass(frozen=True, slots=True)
class Told:
    """``unknown``: what could not be held against it, for a person."""

    revoked: Revoked
    unknown: tuple[str, ...]


def told_revoked(given: str | None, settings: RevocationSettings, at: float) -> Told:
    """Read what is named, or the list of the YAML. Raises RevocationsInvalid, OSError: of what is named alone."""
    if given is not None:
        raw = sys.stdin.buffer.read() if given == STDIN else Path(given).read_bytes()
        whole = _of_sidecar(raw, at)
        revoked = _live(Revoked(read_listing(raw, at, read_yaml)), at) if whole is None else whole
        return Told(revoked, tuple(_unknown(revoked, is_whole=whole is not None)))
    if settings.file is None:
        return Told(Revoked(), tuple(_unknown(Revoked(), is_whole=False)))
    try:
        revoked = _live(Revoked(read_listing(Path(settings.file).read_bytes(), at, read_yaml)), at)
    except OSError as error:
        why = f"what revocation.file names, which cannot be read here: {error.strerror}"
    except RevocationsInvalid as error:
        why = f"what revocation.file names, for a sidecar would refuse it and keep its last good one: {error.detail}"
    else:
        return Told(revoked, tuple(_unknown(revoked, is_whole=False)))
    return Told(Revoked(), (why, *_unknown(Revoked(), is_whole=False)))


def _live(revoked: Revoked, at: float) -> Revoked:
    return Revoked(entry for entry in revoked if entry.expires > at)


def _of_sidecar(raw: bytes, at: float) -> Revoked | None:
    """Read what a sidecar says of itself; None where it is a list. Raises RevocationsInvalid."""
    try:
        whole: dict[str, Any] = read_json_object(raw)
    except ValueError:
        return None
    if "blind" not in whole:
        return None
    try:
        revoked = Revoked(
            read_entry({name: value for name, value in one.items() if name not in _OF_ADMIN}, at)
            for one in whole["revoked"]
        )
    except (InvalidEntry, KeyError, TypeError, AttributeError) as error:
        raise RevocationsInvalid(f"is not what GET /revocations answers: {error}") from None
    live = _live(revoked, at)
    live.blind = whole["blind"] is True
    return live


def _unknown(revoked: Revoked, *, is_whole: bool) -> Iterator[str]:
    if not is_whole:
        yield "what else is revoked (--revocations F, with what GET /revocations of its admin port says)"
    if count := revoked.count(Kind.SERIAL):
        yield f"certificates revoked by serial ({count} entries): none is shown here"
    if count := revoked.count(Kind.TOKEN):
        yield f"tokens revoked by their SHA-256 ({count} entries): claims have none"

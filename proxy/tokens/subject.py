"""What a transaction token is asked for with: the subject token and its type (specs 1.8).

Every type of RFC 8693 section 3 may be named but one: a refresh token must not be used (specs 1.8), so there is no word
for it here, and its URN is refused. A name that we do not know must be a URN of its own ("by agreement").
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

_URN: Final = "urn:ietf:params:oauth:token-type:"

TYPES: Final[Mapping[str, str]] = {
    name: _URN + name
    for name in ("access_token", "id_token", "jwt", "saml1", "saml2", "self_signed", "unsigned_json", "txn_token")
}
"""The words of the configuration, and the names of the standards."""

REFRESH_TOKEN: Final = _URN + "refresh_token"
JWT_SVID: Final = "jwt_svid"
"""The word of a JWT that is a JWT-SVID, and verified here too. There is no URN for it: the token service sees a JWT."""

TXN_TOKEN: Final = TYPES["txn_token"]
UNSIGNED_JSON: Final = TYPES["unsigned_json"]


class InvalidType(ValueError):
    """Not a type of subject token that may be used; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject token, equal to another when kind and hash are; the token itself is neither compared nor shown.

    With an ``audience`` it is a JWT-SVID for that one, and must be verified as such before it is traded.
    """

    kind: str
    digest: str
    token: str = field(repr=False, compare=False)
    audience: str = ""


def kind_of(word: str) -> str:
    """Return the URN of a type. Raises InvalidType."""
    if word in {"refresh_token", REFRESH_TOKEN}:
        raise InvalidType("a refresh token must not be used as a subject token: it is for its own server alone")
    if word in TYPES:
        return TYPES[word]
    if word.startswith("urn:") and word.isascii() and word.isprintable() and " " not in word and len(word) <= 255:
        return word
    raise InvalidType(f"write one of {', '.join(TYPES)}, or the URN of a type that the token service knows")


def subject(kind: str, token: str, audience: str = "") -> Subject:
    """Make one of a token; ``kind`` is a URN of ``kind_of``."""
    return Subject(kind, sha256(token.encode()).hexdigest(), token, audience)


def unsigned(sub: str) -> Subject:
    """Make an ``unsigned_json``: what vouches for it is who sends it (specs 1.8)."""
    return subject(UNSIGNED_JSON, json.dumps({"sub": sub}, separators=(",", ":")))

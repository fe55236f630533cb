"""A SPIFFE bundle as it is published: authorities, JWT keys, its sequence and how often to come back (specs 2.5).

Pure. The document does not name its trust domain; whoever fetched it says so.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import IdentityInvalid
from proxy.identity.bundle import Bundle
from proxy.tokens.encoding import read_json_object

DEFAULT_REFRESH_S = 300.0
"""Trust Domain and Bundle 4.1.2: about five minutes where there is no hint."""

MIN_REFRESH_S, MAX_REFRESH_S = 1.0, 3600.0
"""A hint is a wish of a stranger: it must not make us ask all the time, nor keep us from seeing that a key is gone."""

MAX_KEYS = 500
"""As many authorities as a bundle file may hold (1 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a foreign trust domain has published. ``jwt_keys`` is a JWK Set of its JWT authorities alone."""

    bundle: Bundle
    jwt_keys: bytes = field(repr=False)
    sequence: int | None
    refresh_s: float


def read_document(trust_domain: str, raw: bytes) -> Document:
    """Read a published bundle of ``trust_domain``. Raises IdentityInvalid."""
    try:
        document = read_json_object(raw)
    except ValueError as error:
        raise IdentityInvalid("is not a SPIFFE bundle: it is not JSON, or can be read in two ways") from error
    keys = document.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise IdentityInvalid("is not a SPIFFE bundle: a JSON object with an array of objects named keys")
    if len(keys) > MAX_KEYS:
        raise IdentityInvalid(f"holds more than {MAX_KEYS} keys")
    return Document(
        bundle=Bundle.from_jwks(trust_domain, raw),
        jwt_keys=json.dumps({"keys": _jwt_keys(keys)}).encode(),
        sequence=_number(document, "spiffe_sequence"),
        refresh_s=_refresh(document),
    )


def read_bootstrap(trust_domain: str, raw: bytes) -> Bundle:
    """Read the file by which an endpoint is known at first: PEM or a SPIFFE bundle. Raises IdentityInvalid."""
    if raw.lstrip().startswith(b"{"):
        return Bundle.from_jwks(trust_domain, raw)
    return Bundle.from_pem(trust_domain, raw)


def _jwt_keys(keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [key for key in keys if key.get("use") == "jwt-svid" and key.get("kid")]
    if any("d" in key or "k" in key for key in found):
        raise IdentityInvalid("holds the private part of a key: it must be taken back at once by whoever published it")
    return found


def _number(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise IdentityInvalid(f"has a {name} that is not a whole number")
    return value


def _refresh(document: dict[str, Any]) -> float:
    hint = _number(document, "spiffe_refresh_hint")
    if not hint:
        return DEFAULT_REFRESH_S
    return min(max(float(hint), MIN_REFRESH_S), MAX_REFRESH_S)

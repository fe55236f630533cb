"""``issuers:`` of ``authority.yaml`` -> IssuerSettings, every error told with its place.

issuers:
- issuer: https://login.example.com
keys: https://login.example.com/jwks      # or the path of a JWK Set
audience: https://orders.example.com      # what aud of its tokens must hold
types: [access_token]
prefix: "user:"                           # before sub: names are ours
scopes: {orders: [orders.read, orders.write]}
always: []                                # what every token of it carries
plain_typ: false                          # true: access tokens without typ at+jwt
client_acts: false                        # true: client_id is who acts (an agent)
"""

import re
from collections.abc import Sequence
from typing import Any

from proxy.authority.issuers import IssuerSettings
from proxy.authority.settings import WorkloadSettings
from proxy.authority.subject import VERIFIED, IssuerRules
from proxy.tokens.subject import InvalidType, kind_of

Errors = list[tuple[str, str]]

_KNOWN = {"issuer", "keys", "audience", "types", "prefix", "scopes", "always", "plain_typ", "client_acts"}
_SCOPE = re.compile(r"[!#-\[\]-~]+")


def read_issuers(value: object, errors: Errors) -> tuple[IssuerSettings, ...]:
    """Read the list."""
    if not isinstance(value, list):
        errors.append(("issuers", "must be a list"))
        return ()
    read = [_issuer(entry, f"issuers[{at}]", errors) for at, entry in enumerate(value)]
    found = tuple(one for one in read if one is not None)
    for at, one in enumerate(found):
        for other in found[:at]:
            if one.rules.issuer == other.rules.issuer:
                errors.append((f"issuers[{at}]", "this issuer stands twice"))
            elif one.rules.prefix.startswith(other.rules.prefix) or other.rules.prefix.startswith(one.rules.prefix):
                errors.append((f"issuers[{at}].prefix", "begins as another one: two people could have one name"))
    return found


def check_workloads(workloads: Sequence[WorkloadSettings], issuers: Sequence[IssuerSettings], errors: Errors) -> None:
    """Note a workload that may bring tokens of an issuer that is not there."""
    known = {one.rules.issuer for one in issuers}
    for workload in workloads:
        for name in workload.issuers:
            if name not in known:
                errors.append((f"workload {workload.name}", "may bring tokens of an issuer that is not in issuers"))


def _issuer(entry: object, where: str, errors: Errors) -> IssuerSettings | None:
    if not isinstance(entry, dict):
        errors.append((where, "must be a mapping"))
        return None
    before = len(errors)
    for key in entry:
        if key not in _KNOWN:
            errors.append((f"{where}: {key}", f"is not known; there are {', '.join(sorted(_KNOWN))}"))
    texts = {name: _text(entry, name, where, errors) for name in ("issuer", "keys", "audience", "prefix")}
    if texts["keys"].startswith("http://"):
        errors.append((f"{where}.keys", "is plain http: whoever is on the way could put keys of his own there"))
    rules = IssuerRules(
        issuer=texts["issuer"],
        audience=texts["audience"],
        prefix=texts["prefix"],
        kinds=frozenset(_kinds(entry.get("types"), f"{where}.types", errors)),
        scopes=_scopes(entry.get("scopes", {}), f"{where}.scopes", errors),
        always=frozenset(_list(entry.get("always", []), f"{where}.always", errors)),
        plain_typ=_flag(entry, "plain_typ", where, errors),
        client_acts=_flag(entry, "client_acts", where, errors),
    )
    return IssuerSettings(rules=rules, keys=texts["keys"]) if len(errors) == before else None


def _text(entry: dict[Any, Any], name: str, where: str, errors: Errors) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        errors.append((f"{where}.{name}", "must be a text that can be printed"))
        return ""
    return value


def _flag(entry: dict[Any, Any], name: str, where: str, errors: Errors) -> bool:
    value = entry.get(name, False)
    if not isinstance(value, bool):
        errors.append((f"{where}.{name}", "must be true or false"))
    return value is True


def _kinds(value: object, where: str, errors: Errors) -> list[str]:
    kinds = []
    for word in value if isinstance(value, list) and value else [None]:
        try:
            kinds.append(kind_of(word if isinstance(word, str) else ""))
        except InvalidType:
            kinds.append("")
    if not set(kinds) <= set(VERIFIED):
        errors.append((where, "must be a list of access_token, id_token, jwt, self_signed"))
    return kinds


def _scopes(value: object, where: str, errors: Errors) -> dict[str, frozenset[str]]:
    if not isinstance(value, dict):
        errors.append((where, "must be a mapping: a scope of the issuer, and the list of ours that it is"))
        return {}
    return {str(name): frozenset(_list(ours, f"{where}.{name}", errors)) for name, ours in value.items()}


def _list(value: object, where: str, errors: Errors) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and _SCOPE.fullmatch(one) for one in value):
        errors.append((where, "must be a list of scopes"))
        return []
    return value

"""The kinds of values in ``authority.yaml``: each read strictly, with every error noted and reading gone on."""

import ipaddress
import re
from typing import Any

Errors = list[tuple[str, str]]

_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


def only(value: object, known: set[str], where: str, errors: Errors) -> dict[str, Any]:
    """A mapping with these keys."""
    if not isinstance(value, dict):
        errors.append((where, "must be a mapping"))
        return {}
    for key in value:
        if key not in known:
            errors.append((f"{where}: {key}", f"is not known; there are {', '.join(sorted(known))}"))
    return value


def text(fields: dict[str, Any], name: str, where: str, errors: Errors) -> str:
    """A text that is not empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        errors.append((f"{where}.{name}", "must be a text"))
        return ""
    return value


def texts(fields: dict[str, Any], name: str, where: str, errors: Errors) -> tuple[str, ...]:
    """A list of texts; none where it is not there."""
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        errors.append((f"{where}.{name}", "must be a list of texts"))
        return ()
    return tuple(value)


def listen(raw: object, where: str, default: tuple[str, int], errors: Errors) -> tuple[str, int]:
    """An address of this machine and a port."""
    if raw is None:
        return default
    match = _LISTEN.fullmatch(raw) if isinstance(raw, str) else None
    host, port = (match[1] or match[2], int(match[3])) if match else ("", 0)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ""
    if not host or port > 65535:
        errors.append((where, "must be ADDRESS:PORT, as 127.0.0.1:8443 or [::1]:0 (port 0 takes a free one)"))
    return host, port


def seconds(fields: dict[str, Any], name: str, default: int, bounds: tuple[int, int], errors: Errors) -> int:
    """A whole number of seconds."""
    value = fields.get(name, default)
    if type(value) is not int or not bounds[0] <= value <= bounds[1]:
        errors.append((name, f"must be a whole number of seconds from {bounds[0]} to {bounds[1]}"))
        return default
    return value

"""The version of a policy: a hash of what was written, so that an audit can say which rules have decided.

Equal settings have equal versions in every process and release that knows the same keys; comments, spaces and the
order of keys take no part, the order of rules does.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any, Final

DIGITS: Final = 16
"""Of SHA-256: a name, and no proof."""


def version_of(settings: object) -> str:
    """Name these settings."""
    return sha256(json.dumps(_plain(settings), sort_keys=True).encode()).hexdigest()[:DIGITS]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)

"""What all of them are: a refusal with a reason, on one side, noted when its class is made."""

import re
from enum import StrEnum
from typing import ClassVar


class Side(StrEnum):
    """Whose fault it was: the one who called us, the one whom we called, or ourselves."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


REASONS: dict[str, type["ProxyError"]] = {}
"""Every reason with its class, in the order in which ``errors`` imports them."""


class ProxyError(Exception):
    """A refusal with its reason. Raise a class that has one: never this, never a group."""

    reason: ClassVar[str]
    side: ClassVar[Side] = Side.DOWNSTREAM

    def __init_subclass__(cls, *, group: bool = False) -> None:
        if not group:
            cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
            REASONS[cls.reason] = cls

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.reason)
        self.detail = detail

"""Where the access log goes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogSettings:
    """``stdout``, ``stderr``, ``off``, or the path of a file that is appended to."""

    path: str = "off"

"""``host`` and ``host:port`` in one spelling (RFC 9110 4.2, RFC 3986 3.2).

Names are compared, never resolved, so only what can be spelled twice is refused. Names that are not ASCII are
written in their A-label form (``xn--...``) by who configures and by who calls.
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_HOST = 253
"""The longest name of the DNS (RFC 1035 3.1) as text."""

MAX_PORT = 65535

_NAME = r"[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+"
_AUTHORITY = re.compile(rf"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>{_NAME}))(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_ALLOWED = (
    "write host, host:port or [ipv6]:port; in ASCII, no user before it, no dot at its end, no zero before the port"
)


class InvalidAuthority(ValueError):
    """Not a host with an optional port; the message says what would be right and never repeats the input."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A host, in one spelling, and the port if one was named. An IPv6 address is without its brackets."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_authority(raw: str) -> Authority:
    """Read ``host``, ``host:port`` or ``[ipv6]:port`` in any case. Raises InvalidAuthority."""
    parts = _AUTHORITY.fullmatch(raw.lower()) if raw.isascii() else None
    if parts is None:
        raise InvalidAuthority(_ALLOWED)
    host = parts["name"] or _ipv6(parts["ipv6"])
    if len(host) > MAX_HOST:
        raise InvalidAuthority(f"a host has at most {MAX_HOST} characters")
    port = int(parts["port"]) if parts["port"] else None
    if port is not None and port > MAX_PORT:
        raise InvalidAuthority(f"a port is 1 to {MAX_PORT}")
    return Authority(host, port)


def _ipv6(text: str) -> str:
    try:
        return ipaddress.IPv6Address(text).compressed
    except ValueError:
        raise InvalidAuthority("not an IPv6 address between the brackets") from None

"""URLs of the control plane, read strictly: two readings of one URL send a token to the wrong place."""

import ipaddress
import re
from dataclasses import dataclass

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?"
    r"(?P<query>\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
"""RFC 3986 without userinfo and fragment, in ASCII; the scheme in lower case."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidUrl(ValueError):
    """Not a URL that we fetch; the message says what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """``host`` is in lower case, an IPv6 literal without brackets. ``target`` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def where(self) -> str:
        """``host:port``, for people and for sockets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of ``Host``: without the port where it is the scheme's own (RFC 9110 section 7.2)."""
        return self.where.removesuffix(f":{_DEFAULT_PORTS[self.scheme]}")


def parse_url(raw: str) -> Url:
    """Read ``http(s)://host[:port]/path[?query]``. Raises InvalidUrl."""
    match = _URL.fullmatch(raw)
    if match is None:
        raise InvalidUrl("must be http(s)://host[:port]/path[?query], in ASCII, without userinfo and fragment")
    host, port = match["host"].lower(), int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
    if not 1 <= port <= 65535:
        raise InvalidUrl("the port must be 1 to 65535")
    if host.startswith("["):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise InvalidUrl("the host in brackets must be an IPv6 address") from None
    return Url(scheme=match["scheme"], host=host, port=port, target=(match["path"] or "/") + (match["query"] or ""))

"""Where the Workload API is: ``unix:///abs/path.sock`` or ``tcp://IP:port`` (Workload Endpoint 4)."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

ENDPOINT_VARIABLE: Final = "SPIFFE_ENDPOINT_SOCKET"
"""Where a workload looks for the endpoint when its configuration names none."""

_TCP: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})")


class InvalidEndpoint(ValueError):
    """The text does not name a Workload API endpoint; the message is the rule, and follows the words "the endpoint"."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Unix socket's ``path``, or an IP ``host`` with a ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


def parse_endpoint(raw: str) -> Endpoint:
    """Read the value of ``SPIFFE_ENDPOINT_SOCKET``. Raises InvalidEndpoint."""
    scheme, colon, rest = raw.partition(":")
    if colon and scheme == "unix":
        return _unix(rest)
    if colon and scheme == "tcp":
        return _tcp(rest)
    raise InvalidEndpoint("must begin with unix:// or tcp://, such as unix:///run/spire/agent/public/api.sock")


def _unix(rest: str) -> Endpoint:
    # unix:/path is the same URI without its empty authority, and SPIFFE libraries take both.
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if not path.startswith("/") or path.startswith("//"):
        raise InvalidEndpoint("must have an absolute path and no authority: unix:///run/spire/agent/public/api.sock")
    if len(path) < 2 or any(mark in path for mark in "?#\0"):
        raise InvalidEndpoint("must be a path alone, without query and fragment")
    return Endpoint(path=path)


def _tcp(rest: str) -> Endpoint:
    found = _TCP.fullmatch(rest.removeprefix("//")) if rest.startswith("//") else None
    if found is None:
        raise InvalidEndpoint("must have an IP address and a port, and nothing else: tcp://127.0.0.1:8000")
    try:
        host = ipaddress.ip_address(found["six"] or found["four"])
    except ValueError:
        raise InvalidEndpoint("has no IP address: tcp://127.0.0.1:8000") from None
    if bool(found["six"]) != (host.version == 6):
        raise InvalidEndpoint("has brackets around an IPv4 address; they belong to IPv6: tcp://127.0.0.1:8000")
    port = int(found["port"])
    if not 1 <= port <= 65535:
        raise InvalidEndpoint("has a port that is not between 1 and 65535")
    return Endpoint(host=str(host), port=port)

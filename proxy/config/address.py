"""Addresses and URLs as text: host and port taken apart, and nothing that could be read twice let through."""

import ipaddress
import re
from typing import NamedTuple

from proxy.config.value import Unfit

ANY_HOSTS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named to be recognised, not bound
"""Every interface."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:/@]{1,253}):([0-9]{1,5})")
_BARE_PORT = re.compile(r":?[0-9]{1,5}")
_URL = re.compile(r"([a-z]+)://([^/?]+)(/[!-~]*)?")


class HostPort(NamedTuple):
    """An address; an IPv6 host without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Url(NamedTuple):
    """As much of an http or https URL as we look at; ``raw`` is all of it."""

    scheme: str
    address: HostPort
    path: str
    raw: str

    def __str__(self) -> str:
        return self.raw


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ip(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse_host_port(raw: str) -> HostPort:
    """``host:port`` or ``[::1]:port``.

    Raises:
        Unfit: with what is wrong about it.

    """
    found = _HOST_PORT.fullmatch(raw)
    if found is None:
        raise Unfit(_advice(raw))
    host, port = found[1], int(found[2])
    if port > 65535:
        raise Unfit("has a port above 65535")
    return HostPort(parse_host(host), port)


def parse_host(raw: str) -> str:
    """A name or an IP address; IPv6 in brackets, which are taken off.

    Raises:
        Unfit: with what is wrong about it.

    """
    bare = raw[1:-1] if raw.startswith("[") else raw
    if is_ip(bare):
        if (":" in bare) != raw.startswith("["):
            raise Unfit("is not an address: brackets are for IPv6 alone, and IPv6 needs them")
        return bare
    if raw == "*":
        raise Unfit("begins with '*': write 0.0.0.0 (or [::]) for every interface")
    if raw.startswith("[") or len(raw) > 253 or not _NAME.fullmatch(raw):
        raise Unfit("holds neither a host name nor an IP address")
    if raw.rstrip(".").rpartition(".")[2].isdigit():
        raise Unfit("ends in a number, but is not an IP address such as 10.0.0.1")
    return raw


def parse_url(raw: str) -> Url:
    """An http or https URL.

    Raises:
        Unfit: anything else, also one with credentials or a fragment in it.

    """
    if "@" in raw or "#" in raw or "\\" in raw:
        raise Unfit("must hold neither credentials nor a fragment")
    found = _URL.fullmatch(raw)
    if found is None or found[1] not in DEFAULT_PORTS:
        raise Unfit
    scheme, authority, path = found[1], found[2], found[3] or ""
    if not _HOST_PORT.fullmatch(authority):
        authority = f"{authority}:{DEFAULT_PORTS[scheme]}"
    return Url(scheme, parse_host_port(authority), path, raw)


def _advice(raw: str) -> str:
    if _BARE_PORT.fullmatch(raw):
        return "is a port without a host: write host:port, for example 0.0.0.0:15006 or 127.0.0.1:15001"
    if raw.count(":") > 1 and "[" not in raw:
        return "has more than one ':': an IPv6 address stands in brackets, for example [::1]:15001"
    if ":" not in raw:
        return "has no port: write host:port"
    return ""

"""Who is asked, what is shown to them, and what is done where they do not answer."""

from dataclasses import dataclass
from enum import StrEnum


class Fail(StrEnum):
    """What becomes of a request about which no answer comes."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaSettings:
    """A decision of Open Policy Agent: ``POST /v1/data/...``, over http, or https as ``spiffe_id`` says."""

    url: str
    spiffe_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthzSettings:
    """Envoy's ``envoy.service.auth.v3.Authorization``: gRPC at ``unix:///path`` or ``tcp://IP:port``, without TLS."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideSettings:
    """At most one of ``opa`` and ``ext_authz``; with neither, nobody is asked. ``headers``: fields that are shown."""

    opa: OpaSettings | None = None
    ext_authz: ExtAuthzSettings | None = None
    timeout_s: float = 0.5
    fail: Fail = Fail.CLOSED
    cache_s: float = 0.0
    cache_entries: int = 10_000
    headers: tuple[str, ...] = ()
    max_asking: int = 256  # at once; one more is as good as no answer

"""One place to call: where it is, how it is protected, and who must be there."""

from dataclasses import dataclass

from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.destinations import Destination
from proxy.policy.settings import Protection


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The key of a pool: connections are shared only by what is equal in all of it (specs 6.8)."""

    host: str
    port: int
    protection: Protection
    expected: SpiffeId | None = None
    server_name: str | None = None  # for Protection.WEB: the name that the certificate must have

    @classmethod
    def of(cls, destination: Destination) -> "Endpoint":
        """Give the endpoint of a destination."""
        return cls(
            host=destination.address_host,
            port=destination.address_port,
            protection=destination.protection,
            expected=destination.spiffe_id,
            server_name=destination.host if destination.protection is Protection.WEB else None,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

"""What a client of the control plane needs of HTTP: one small call. ``control.fetch`` implements it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from proxy.identity.spiffe_id import SpiffeId


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. Field names are lower case; a repeated field is joined with ``, ``."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Fetch(Protocol):
    """One request, one whole answer."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float,
        expect: SpiffeId | None = None,
    ) -> Answer:
        """Send it. ``https`` with ``expect``: mTLS with our SVID to that workload; without: by the Web PKI.

        Raises:
            UpstreamDown, UpstreamTimeout, UpstreamReset, UpstreamBadResponse, UpstreamUntrusted,
            UpstreamRefusedUs, NotReady: as their docstrings say.

        """
        ...

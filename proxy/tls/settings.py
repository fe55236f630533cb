"""What a TLS connection of ours must hold to."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS 1.3 unless 1.2 is allowed by name. Seconds."""

    min_version: Literal["1.2", "1.3"] = "1.3"
    handshake_timeout_s: float = 5.0  # a mesh round trip is milliseconds; a slower peer holds a slot for nothing

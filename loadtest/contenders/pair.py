"""What a contender is: two commands, where they listen, and what they do and do not do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from loadtest.material import Material
from loadtest.processes import Command

CIPHER = "TLS_AES_128_GCM_SHA256"
"""The same suite for all: BoringSSL takes it first on a CPU with AES and cannot be told otherwise for TLS 1.3."""
CURVE = "X25519"
KEEPALIVE = 512  # idle upstream connections a proxy keeps, where it must be told: twice what any scenario opens


class Duty(StrEnum):
    """The work that is compared; a contender that lacks one is lighter by it, and the table says so."""

    MTLS = "mTLS both ways, TLS 1.3, same suite and curve"
    SERVER_ID = "egress checks the server's SPIFFE ID"
    CLIENT_ID = "ingress checks the client's SPIFFE ID"
    TOKEN = "verifies the Txn-Token (ES256, exp, aud)"  # noqa: S105 - a description
    TOKEN_CACHE = "remembers verified tokens"  # noqa: S105
    TOKEN_TYPE = "checks typ, txn, req_wl of the token"  # noqa: S105
    SCOPE = "checks the scope for method and path"
    IDENTITY_HEADER = "tells the app the caller's SPIFFE ID"
    METRICS = "metrics on"
    STREAMING = "streams bodies both ways"
    KEPT = "keeps its connections to the next hop"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the pair listens; ``spare`` are ports for metrics, admin and health, three for each side.

    ``dial`` is where the egress finds the ingress: its port, or a wire tap before it.
    """

    egress: int
    dial: int
    ingress: int
    backend: int
    spare: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """All that a contender needs to write its configuration."""

    directory: Path
    material: Material
    ports: Ports
    tree: Path | None = None
    """Where svidecar's package is taken from; None for the tree that the harness is part of."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two commands ready to start, their configuration as text, and a URL of metrics for each (or none)."""

    egress: Command
    ingress: Command
    configs: Mapping[str, str]
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A proxy in a role that can be measured; ``notes`` say why a duty is not done, or in which way it is."""

    name: str
    program: str
    duties: frozenset[Duty]
    prepare: Callable[[str, Site], Pair]
    notes: Mapping[Duty, str] = field(default_factory=dict)

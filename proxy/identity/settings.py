"""Where the identity of this sidecar comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSettings:
    """The layout that spiffe-helper writes: chain, key and bundle as PEM, each foreign bundle under its own domain."""

    svid: Path
    key: Path
    bundle: Path
    federated: Mapping[str, Path] = field(default_factory=dict)
    crl: Path | None = None  # of our own trust domain, PEM, one CRL or several
    federated_crls: Mapping[str, Path] = field(default_factory=dict)
    stale_crl: Literal["refuse", "accept"] = "refuse"  # law 6: whom we cannot know to be good is not let in
    poll_s: float = 1.0  # how often the directories are looked at; a rotation comes minutes before it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadApiSettings:
    """Where the agent listens, and which of several identities is ours."""

    socket: str  # unix:///path or tcp://IP:port
    hint: str = ""  # empty: the first, which is the default one (Workload API 5.2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Who we are, and the source of the proof: files, or else the Workload API."""

    trust_domain: str
    files: FilesSettings | None = None
    workload_api: WorkloadApiSettings | None = None

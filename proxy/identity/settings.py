"""Where the identity of this sidecar comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSettings:
    """The layout that spiffe-helper writes: chain, key and bundle as PEM, each foreign bundle under its own domain."""

    svid: Path
    key: Path
    bundle: Path
    federated: Mapping[str, Path] = field(default_factory=dict)
    poll_s: float = 1.0  # how often the directories are looked at; a rotation comes minutes before it is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Who we are, and the source of the proof."""

    trust_domain: str
    files: FilesSettings

"""Where the audit goes, who signs it, and what of people it may hold."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Subject(StrEnum):
    """How the ``sub`` of a token is written."""

    PLAIN = "plain"
    SHA256 = "sha256"  # told apart and found again; who knows the names can still try each of them
    NONE = "none"


class PathDetail(StrEnum):
    """How the path of a request is written; its query never is."""

    TEMPLATE = "template"  # the route of the rule that decided, and nothing where none did
    FULL = "full"  # as it came; ``policy diff`` needs it to judge refusals anew


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """``file`` None: there is no audit. ``key`` None: the key of the SVID signs."""

    file: Path | None = None
    key: Path | None = None
    sub: Subject = Subject.PLAIN
    path: PathDetail = PathDetail.TEMPLATE
    allows: int = 1  # one in so many of what was allowed; what was refused is always written
    queue: int = 8192  # a second at 8000 requests/s, and some 4 MB
    checkpoint_s: float = 10.0  # a crash or a thief can take so much from the end unseen
    checkpoint_lines: int = 1000
    rotate_bytes: int = 64 * 1024 * 1024  # some 80 000 lines: read in a second
    rotate_s: float = 86400.0
    keep: int = 16  # files besides the one in use: 1 GiB in all

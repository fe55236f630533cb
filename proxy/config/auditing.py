"""``audit:`` in the YAML: its keys, what they become, and what ``check`` says of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.config.number import DAY, HOUR, KIB, MIB, MINUTE, count, duration, size, write_duration
from proxy.config.shape import Key, Section
from proxy.config.value import choice
from proxy.config.word import file_path
from proxy.observe.audit.settings import AuditSettings, PathDetail, Subject
from proxy.observe.audit.signer import read_private

AUDIT = Section(
    (
        Key(
            "file",
            file_path(),
            "Where it goes; of this sidecar alone.",
            into=(AuditSettings, "file"),
            required="file: audit.log",
        ),
        Key(
            "key",
            file_path(),
            "The private key that signs checkpoints, PEM; of this sidecar alone.",
            into=(AuditSettings, "key"),
            fallback="the key of the SVID",
        ),
        Key(
            "sub",
            choice(of=tuple(Subject)),
            "How the subject of a token is written; it may name a person.",
            into=(AuditSettings, "sub"),
        ),
        Key(
            "path",
            choice(of=tuple(PathDetail)),
            "The template of the route, or the path itself, which may name a person. The query is never written.",
            into=(AuditSettings, "path"),
        ),
        Key(
            "allows",
            count(1, 1_000_000),
            "Of what was allowed, one in so many is written; refusals always are.",
            into=(AuditSettings, "allows"),
        ),
        Key(
            "checkpoint",
            duration(0.1, HOUR),
            "What was written is signed after this time at the latest.",
            into=(AuditSettings, "checkpoint_s"),
        ),
        Key(
            "checkpoint_lines",
            count(1, 1_000_000),
            "And after so many lines.",
            into=(AuditSettings, "checkpoint_lines"),
        ),
        Key(
            "rotate",
            size(64 * KIB, 1024 * MIB),
            "A file of this size is moved aside.",
            into=(AuditSettings, "rotate_bytes"),
        ),
        Key(
            "rotate_after",
            duration(MINUTE, 366 * DAY),
            "A file of this age is moved aside.",
            into=(AuditSettings, "rotate_s"),
        ),
        Key(
            "keep",
            count(1, 10_000),
            "Files moved aside that stay; older ones are removed.",
            into=(AuditSettings, "keep"),
        ),
        Key(
            "queue",
            count(16, 1_000_000),
            "Records that may wait for the disk; more are dropped and counted.",
            into=(AuditSettings, "queue"),
        ),
    )
)


def audit_settings(values: Mapping[str, Any], base_dir: Path) -> AuditSettings:
    """Make the settings; a relative path begins at ``base_dir``."""
    given = AUDIT.gather(dict(values), AuditSettings)
    for name in ("file", "key"):
        if name in given:
            given[name] = base_dir / given[name]
    return AuditSettings(**given)


def describe_audit(settings: AuditSettings) -> Iterator[str]:
    """Say what would be written."""
    if settings.file is None:
        yield "audit: off"
        return
    signer = f"the key in {settings.key}" if settings.key else "the key of the SVID"
    yield f"audit: {settings.file}, signed with {signer} every {write_duration(settings.checkpoint_s)}"
    subject = {Subject.PLAIN: "subjects as they are", Subject.SHA256: "hashes of subjects", Subject.NONE: "no subjects"}
    path = "whole paths" if settings.path is PathDetail.FULL else "paths as templates"
    sample = f"; one in {settings.allows} of what is allowed" if settings.allows > 1 else ""
    yield f"  it holds {subject[settings.sub]} and {path}{sample}"


def advise_audit(settings: AuditSettings) -> Iterator[tuple[str, str]]:
    """Warn of what would keep the sidecar from starting."""
    if settings.file is not None and not settings.file.parent.is_dir():
        yield "audit.file", f"there is no folder {settings.file.parent} for the audit"
    if settings.key is not None:
        try:
            read_private(settings.key.read_bytes())
        except OSError as error:
            yield "audit.key", f"{settings.key} cannot be read now: {error.strerror}"
        except ValueError as error:
            yield "audit.key", f"{settings.key} {error}"

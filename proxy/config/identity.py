"""Which source our identity comes from: the one that is written, or the one that the environment names.

A workload's platform says where its agent is by ``SPIFFE_ENDPOINT_SOCKET`` (Workload Endpoint 4), so that a YAML
without a word about identity is the same file on every machine. What is written in the YAML wins.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from proxy.config.draft import Draft
from proxy.config.sections import FILES, FILES_EXAMPLE, WORKLOAD_API_EXAMPLE
from proxy.identity.settings import FilesSettings, IdentitySettings, WorkloadApiSettings
from proxy.workload_api.endpoint import ENDPOINT_VARIABLE, InvalidEndpoint, parse_endpoint


class Source(StrEnum):
    """The values of ``identity.source``."""

    FILES = "files"
    WORKLOAD_API = "workload_api"


def check_identity(draft: Draft) -> None:
    """Note where no source is named, two are, or the one that is named lacks what it needs."""
    if draft.is_written("identity.source") and draft.get("identity.source") is None:
        return  # bad, and told
    written = [source for source in Source if draft.is_written(f"identity.{source}")]
    match _source(draft.get("identity") or {}, draft.environ) or (written[0] if written else None):
        case _ if len(written) > 1 and not draft.is_written("identity.source"):
            draft.refuse("identity.source", "is missing: both files and workload_api are written, so say which one")
        case Source.FILES if Source.FILES not in written:
            draft.refuse("identity.files", f"is missing; write {FILES_EXAMPLE}")
        case Source.WORKLOAD_API if not draft.is_written("identity.workload_api.socket"):
            _check_environment(draft)
        case None if draft.is_written("identity"):
            draft.refuse("identity.files", f"is missing; write {FILES_EXAMPLE}, or set {ENDPOINT_VARIABLE}")
        case None:
            draft.refuse(
                "identity", f"is missing; write identity: {{{FILES_EXAMPLE}}}, or set {ENDPOINT_VARIABLE} for an agent"
            )
        case _:
            pass


def identity_settings(values: Mapping[str, Any], base_dir: Path, environ: Mapping[str, str]) -> IdentitySettings:
    """Make the settings of what has passed ``check_identity``."""
    written, trust_domain = values.get("identity", {}), values["trust_domain"]
    if _source(written, environ) is Source.FILES:
        return IdentitySettings(trust_domain=trust_domain, files=_files(written["files"], base_dir))
    api = {"socket": environ.get(ENDPOINT_VARIABLE, ""), **written.get("workload_api", {})}
    return IdentitySettings(trust_domain=trust_domain, workload_api=WorkloadApiSettings(**api))


def from_agent(draft: Draft) -> bool:
    """Whether the Workload API is the source: then the agent, and not the YAML, says whom we federate with."""
    return _source(draft.get("identity") or {}, draft.environ) is Source.WORKLOAD_API


def _source(written: Mapping[str, Any], environ: Mapping[str, str]) -> Source | None:
    if "source" in written:
        return Source(written["source"])
    named = next((source for source in Source if source in written), None)
    return named or (Source.WORKLOAD_API if environ.get(ENDPOINT_VARIABLE) else None)


def _check_environment(draft: Draft) -> None:
    socket = draft.environ.get(ENDPOINT_VARIABLE)
    if not socket:
        draft.refuse(
            "identity.workload_api.socket",
            f"is missing; write {WORKLOAD_API_EXAMPLE}, or set {ENDPOINT_VARIABLE}",
        )
        return
    try:
        parse_endpoint(socket)
    except InvalidEndpoint as error:
        draft.refuse("identity", f"the endpoint in {ENDPOINT_VARIABLE} {error}")


def _files(written: Mapping[str, Any], base_dir: Path) -> FilesSettings:
    return FilesSettings(
        svid=base_dir / written["svid"],
        key=base_dir / written["key"],
        bundle=base_dir / written["bundle"],
        federated={domain: base_dir / path for domain, path in written.get("federated", {}).items()},
        crl=base_dir / written["crl"] if "crl" in written else None,
        federated_crls={domain: base_dir / path for domain, path in written.get("federated_crls", {}).items()},
        **FILES.gather(dict(written), FilesSettings),
    )

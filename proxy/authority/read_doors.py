"""The parts of ``authority.yaml`` about its doors: the Workload API, the bundle endpoint, federation.

socket: /run/svidecar/workload.sock
refresh_hint_s: 300
jwt_svid_lifetime_s: 300
bundle_endpoint: {listen: 0.0.0.0:8444, profile: https_spiffe}
federation:
- {trust_domain: other.org, url: https://bundles.other.org/}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.authority.entries import InvalidSelector, Selectors, read_selectors
from proxy.authority.settings import BundleEndpointSettings, WorkloadSettings
from proxy.authority.shape import Errors, listen, only, text, texts
from proxy.federation.settings import Profile, RelationSettings, misfits
from proxy.identity.spiffe_id import InvalidSpiffeId, parse_trust_domain

_WEB = ("certificate", "key")


def read_socket(option: Path | None, fields: dict[str, Any], errors: Errors) -> Path | None:
    """Where the Workload API listens; None for the state folder."""
    if option is not None:
        return option
    if "socket" not in fields:
        return None
    path = text(fields, "socket", "the file", errors)
    if not path.startswith("/"):
        errors.append(("socket", "must be an absolute path"))
    return Path(path)


def read_bundle_endpoint(fields: dict[str, Any], errors: Errors) -> BundleEndpointSettings | None:
    """Where our bundle is fetched."""
    if "bundle_endpoint" not in fields:
        return None
    where = "bundle_endpoint"
    written = only(fields[where], {"listen", "profile", *_WEB}, where, errors)
    host, port = listen(written.get("listen"), f"{where}.listen", ("", 0), errors)
    if not host and not any(place.startswith(f"{where}.listen") for place, _ in errors):
        errors.append((f"{where}.listen", "is missing: write where it listens, as 0.0.0.0:8444"))
    profile = _profile(written, where, errors) if "profile" in written else Profile.SPIFFE
    for name in _WEB:
        if (name in written) != (profile is Profile.WEB):
            what = "is missing" if profile is Profile.WEB else "belongs to profile: https_web; remove it"
            errors.append((f"{where}.{name}", what))
    certificate, key = (Path(text(written, name, where, errors)) if name in written else None for name in _WEB)
    return BundleEndpointSettings(host=host, port=port, profile=profile, certificate=certificate, key=key)


def read_federation(own: str, fields: dict[str, Any], errors: Errors) -> tuple[RelationSettings, ...]:
    """Whose bundles are fetched."""
    value = fields.get("federation", [])
    if not isinstance(value, list):
        errors.append(("federation", "must be a list"))
        return ()
    found = [_relation(entry, f"federation[{at}]", errors) for at, entry in enumerate(value)]
    seen: set[str] = set()
    for at, relation in enumerate(found):
        errors += [(f"federation[{at}].{key}", what) for key, what in misfits(relation, own)]
        if relation.trust_domain in seen:
            errors.append((f"federation[{at}].trust_domain", "stands twice"))
        seen.add(relation.trust_domain)
    return tuple(found)


def check_federates_with(
    workloads: Sequence[WorkloadSettings], federation: Sequence[RelationSettings], errors: Errors
) -> None:
    """Note a workload that federates with whom the authority does not, or that would never hear of it."""
    known = {relation.trust_domain for relation in federation}
    for workload in workloads:
        if workload.federates_with is None:
            continue
        if workload.selectors is None:
            errors.append((f"workload {workload.name}", "federates_with is for workloads with selectors; remove it"))
        if not known.issuperset(workload.federates_with):
            errors.append(
                (f"workload {workload.name}", "federates_with names a trust domain that is not in federation")
            )


def read_entry_selectors(fields: dict[str, Any], where: str, errors: Errors) -> Selectors | None:
    """Which process a workload is."""
    raws = texts(fields, "selectors", where, errors)
    if not raws:
        return None
    try:
        return read_selectors(raws)
    except InvalidSelector as error:
        errors.append((f"{where}.selectors", str(error)))
        return None


def _relation(entry: object, where: str, errors: Errors) -> RelationSettings:
    fields = only(entry, {"trust_domain", "url", "profile", "spiffe_id", "bundle"}, where, errors)
    trust_domain = text(fields, "trust_domain", where, errors)
    try:
        parse_trust_domain(trust_domain)
    except InvalidSpiffeId as error:
        errors.append((f"{where}.trust_domain", str(error)))
    return RelationSettings(
        trust_domain=trust_domain,
        url=text(fields, "url", where, errors),
        profile=_profile(fields, where, errors) if "profile" in fields else Profile.WEB,
        spiffe_id=text(fields, "spiffe_id", where, errors) if "spiffe_id" in fields else None,
        bundle=Path(text(fields, "bundle", where, errors)) if "bundle" in fields else None,
    )


def _profile(fields: dict[str, Any], where: str, errors: Errors) -> Profile:
    try:
        return Profile(fields["profile"])
    except ValueError:
        errors.append((f"{where}.profile", f"must be {' or '.join(Profile)}"))
        return Profile.SPIFFE

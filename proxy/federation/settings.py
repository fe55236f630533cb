"""Which trust domains are federated, and where each publishes its bundle."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId


class Profile(StrEnum):
    """How the endpoint proves who it is (Federation 5.2)."""

    WEB = "https_web"
    SPIFFE = "https_spiffe"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationSettings:
    """One foreign trust domain. Its name is configured, never taken from the URL or from what is fetched.

    ``spiffe_id`` and ``bundle`` are of ``https_spiffe``: who must answer, and by which file (PEM, or a SPIFFE bundle)
    that one is known before anything was fetched. An endpoint of our own trust domain is known by our own bundle.
    """

    trust_domain: str
    url: str
    profile: Profile = Profile.WEB
    spiffe_id: str | None = None
    bundle: Path | None = None


def misfits(relation: RelationSettings, own: str) -> list[tuple[str, str]]:
    """Say what does not fit together, as (key, what to do)."""
    found = []
    if relation.trust_domain == own:
        found.append(("trust_domain", "is our own trust domain: its bundle comes with our SVID"))
    if not relation.url.startswith("https://"):
        found.append(("url", "must be an https URL: who publishes a bundle must prove who it is"))
    if relation.profile is Profile.WEB:
        found += [
            (key, "belongs to profile: https_spiffe; with https_web the endpoint is known by its host name; remove it")
            for key in ("spiffe_id", "bundle")
            if getattr(relation, key) is not None
        ]
        return found
    if relation.spiffe_id is None:
        return [*found, ("spiffe_id", "is missing: write who must answer, such as spiffe://other.org/spire/server")]
    try:
        known_by_us = SpiffeId.parse(relation.spiffe_id).trust_domain == own
    except InvalidSpiffeId as error:
        return [*found, ("spiffe_id", str(error))]
    if known_by_us and relation.bundle is not None:
        found.append(
            ("bundle", "is not needed: the endpoint is of our own trust domain, whose bundle we have; remove it")
        )
    if not known_by_us and relation.bundle is None:
        found.append(("bundle", "is missing: write the file with which the endpoint is known at first"))
    return found

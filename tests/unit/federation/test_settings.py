"""What does not fit together in a relation."""

from pathlib import Path

import pytest

from proxy.federation.settings import Profile, RelationSettings, misfits

WEB = RelationSettings(trust_domain="other.org", url="https://other.org/")


def spiffe(**changes: object) -> RelationSettings:
    """A good one by SVID."""
    given: dict[str, object] = {"spiffe_id": "spiffe://other.org/server", "bundle": Path("b.pem")} | changes
    return RelationSettings(trust_domain="other.org", url="https://x/", profile=Profile.SPIFFE, **given)  # type: ignore[arg-type]


def test_what_fits() -> None:
    """Both profiles; an endpoint of our own domain needs no file."""
    assert misfits(WEB, "example.org") == []
    assert misfits(spiffe(), "example.org") == []
    assert misfits(spiffe(spiffe_id="spiffe://third.org/server"), "example.org") == []
    assert misfits(spiffe(spiffe_id="spiffe://example.org/relay", bundle=None), "example.org") == []


@pytest.mark.parametrize(
    ("relation", "key"),
    [
        (RelationSettings(trust_domain="example.org", url="https://x/"), "trust_domain"),
        (RelationSettings(trust_domain="other.org", url="http://x/"), "url"),
        (RelationSettings(trust_domain="other.org", url="https://x/", spiffe_id="spiffe://other.org/x"), "spiffe_id"),
        (RelationSettings(trust_domain="other.org", url="https://x/", bundle=Path("x")), "bundle"),
        (spiffe(spiffe_id=None), "spiffe_id"),
        (spiffe(spiffe_id="other.org"), "spiffe_id"),
        (spiffe(bundle=None), "bundle"),
        (spiffe(spiffe_id="spiffe://example.org/relay"), "bundle"),
    ],
)
def test_what_does_not_fit(relation: RelationSettings, key: str) -> None:
    """It is told at its key."""
    assert [found for found, _ in misfits(relation, "example.org")] == [key]

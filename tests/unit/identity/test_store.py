"""The identity store: all of an identity, or the last good one."""

import time

import pytest
from support.pki import Authority, Svid

from proxy.errors import IdentityInvalid, NotReady
from proxy.identity.bundle import Bundle
from proxy.identity.store import Identity, IdentityStore
from proxy.identity.svid import X509Svid

NOW = time.time()
URI = "spiffe://example.org/orders"
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")


def own(svid: Svid) -> X509Svid:
    """Load it."""
    return X509Svid.from_pem(svid.chain_pem, svid.key_pem)


def bundle(authority: Authority) -> Bundle:
    """Its bundle."""
    return Bundle.from_pem(authority.trust_domain, authority.bundle_pem)


BUNDLES = {"example.org": bundle(CA), "other.org": bundle(OTHER)}
GOOD = own(CA.svid(URI))


def test_before_the_first() -> None:
    """Without an identity nothing is ready."""
    store = IdentityStore()
    assert store.current is None
    with pytest.raises(NotReady):
        store.require()


def test_replace() -> None:
    """Each identity that is taken has the next number and is told to those who listen, once it is current."""
    store = IdentityStore()
    told: list[tuple[Identity, Identity | None]] = []
    store.subscribe(lambda identity: told.append((identity, store.current)))
    first = store.replace(GOOD, BUNDLES, NOW)
    second = store.replace(own(CA.svid(URI)), BUNDLES, NOW + 1)
    assert (first.generation, second.generation) == (1, 2)
    assert (second.loaded_at, second.bundles) == (NOW + 1, BUNDLES)
    assert store.require() is second
    assert told == [(first, first), (second, second)]


@pytest.mark.parametrize(
    ("svid", "bundles"),
    [
        (GOOD, {}),
        (GOOD, {"other.org": BUNDLES["other.org"]}),
        (GOOD, {"example.org": BUNDLES["other.org"], "other.org": BUNDLES["other.org"]}),
        (GOOD, {"example.org": BUNDLES["example.org"], "third.org": BUNDLES["other.org"]}),
        (GOOD, {"example.org": Bundle(trust_domain="example.org", authorities=())}),
        (own(Authority.make("example.org").svid(URI)), BUNDLES),
        (own(OTHER.svid(URI)), BUNDLES),
        (own(CA.svid("spiffe://other.org/orders")), BUNDLES),
        (own(CA.svid(URI, lifetime_s=-1800.0)), BUNDLES),
        (own(CA.intermediate(lifetime_s=-1800.0).svid(URI)), BUNDLES),
    ],
)
def test_bad_identities_are_not_taken(svid: X509Svid, bundles: dict[str, Bundle]) -> None:
    """What does not fit together leaves the last good where it was, and nobody is told."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)
    told: list[Identity] = []
    store.subscribe(told.append)
    with pytest.raises(IdentityInvalid):
        store.replace(svid, bundles, NOW)
    assert store.current is good
    assert told == []


def test_prepare_may_refuse() -> None:
    """Whoever builds from an identity may refuse it before it is current."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)
    told: list[Identity] = []
    store.subscribe(told.append)

    def refuse(identity: Identity) -> None:
        assert identity.generation == 2
        assert store.current is good
        raise IdentityInvalid("no")

    store.prepare(refuse)
    with pytest.raises(IdentityInvalid):
        store.replace(own(CA.svid(URI)), BUNDLES, NOW)
    assert store.current is good
    assert told == []

"""The identity store: all of an identity, or the last good one."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from support.pki import Authority, Svid

from proxy.errors import IdentityInvalid, NotReady
from proxy.identity.bundle import Bundle
from proxy.identity.revocation import Revocations
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

    def refuse(identity: Identity) -> Callable[[], None]:
        assert identity.generation == 2
        assert store.current is good
        raise IdentityInvalid("no")

    store.prepare(refuse)
    with pytest.raises(IdentityInvalid):
        store.replace(own(CA.svid(URI)), BUNDLES, NOW)
    assert store.current is good
    assert told == []


THIRD = Authority.make("third.org")


async def test_a_federated_bundle_lies_over_what_the_source_gives() -> None:
    """At once, through every rotation, and for its own domain alone; the age is still that of our SVID."""
    store = IdentityStore()
    with pytest.raises(NotReady):
        await store.federate(bundle(THIRD))
    store.replace(GOOD, BUNDLES, NOW)
    told: list[Identity] = []
    store.subscribe(told.append)
    newer = Authority.make("other.org")
    await store.federate(bundle(THIRD))
    identity = await store.federate(bundle(newer))
    assert identity.bundles == {**BUNDLES, "other.org": bundle(newer), "third.org": bundle(THIRD)}
    assert (identity.svid, identity.loaded_at, identity.generation, len(told)) == (GOOD, NOW, 3, 2)
    rotated = own(CA.svid(URI))
    assert store.replace(rotated, BUNDLES, NOW + 1).bundles == identity.bundles
    assert store.holds(rotated, BUNDLES)
    assert not store.holds(rotated, identity.bundles)


async def test_the_same_bundle_again_is_nothing_new() -> None:
    """No new contexts, nobody told."""
    store = IdentityStore()
    store.replace(GOOD, BUNDLES, NOW)
    first = await store.federate(bundle(THIRD))
    assert await store.federate(bundle(THIRD)) is first


async def test_our_own_domain_cannot_be_federated() -> None:
    """Whoever could publish for us would be us."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)
    with pytest.raises(IdentityInvalid, match="not federated with itself"):
        await store.federate(bundle(Authority.make("example.org")))
    assert store.current is good


async def test_a_federated_bundle_that_is_refused_leaves_all_as_it_was() -> None:
    """And the next rotation does not meet it again: a foreign domain must not shut us out of our own."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)

    def refuse(identity: Identity) -> Callable[[], None]:
        if "third.org" in identity.bundles:
            raise IdentityInvalid("no")
        return lambda: None

    store.prepare(refuse)
    with pytest.raises(IdentityInvalid):
        await store.federate(bundle(THIRD))
    assert store.current is good
    assert store.replace(own(CA.svid(URI)), BUNDLES, NOW).bundles == BUNDLES


async def test_crls_of_a_domain_hold_on() -> None:
    """A bundle endpoint publishes none: what the source of our SVID says is revoked stays so."""
    crls = Revocations(next_update=NOW + 60)
    store = IdentityStore()
    store.replace(GOOD, {**BUNDLES, "other.org": replace(BUNDLES["other.org"], revocations=crls)}, NOW)
    identity = await store.federate(bundle(Authority.make("other.org")))
    assert identity.bundles["other.org"].revocations is crls


async def test_what_was_taken_away_comes_back_with_its_federation() -> None:
    """Withdrawn, nothing is federated; given again, all of it is there."""
    store = IdentityStore()
    store.replace(GOOD, BUNDLES, NOW)
    await store.federate(bundle(THIRD))
    store.withdraw()
    assert not store.holds(GOOD, BUNDLES)
    with pytest.raises(NotReady):
        await store.federate(bundle(OTHER))
    assert set(store.replace(GOOD, BUNDLES, NOW).bundles) == {"example.org", "other.org", "third.org"}


class Workshop:
    """Builds when it is let, and says what was built and what came into use."""

    def __init__(self, store: IdentityStore) -> None:
        self.began = asyncio.Event()
        self.may_end = threading.Event()
        self.in_use: list[Identity] = []
        self.threads: set[int] = set()
        self._loop = asyncio.get_running_loop()
        store.prepare(self.build)

    def build(self, identity: Identity) -> Callable[[], None]:
        """As TLS contexts are."""
        self.threads.add(threading.get_ident())
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.may_end.wait(5)
        return lambda: self.in_use.append(identity)


async def test_a_renewal_is_built_beside_the_loop() -> None:
    """The last good one serves until the new one is whole; then all of it is swapped at once."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)
    workshop = Workshop(store)

    async def look() -> None:
        await workshop.began.wait()
        assert store.current is good
        assert workshop.in_use == []
        workshop.may_end.set()

    newer, _ = await asyncio.gather(store.renew(own(CA.svid(URI)), BUNDLES, NOW + 1), look())
    assert store.current is newer
    assert (newer.generation, workshop.in_use) == (2, [newer])
    assert threading.get_ident() not in workshop.threads


async def test_a_renewal_is_checked_as_well() -> None:
    """Before anything is built."""
    store = IdentityStore()
    good = store.replace(GOOD, BUNDLES, NOW)
    with pytest.raises(IdentityInvalid, match="no bundle of our own"):
        await store.renew(GOOD, {}, NOW)
    assert store.current is good


async def test_changes_at_the_same_time_lose_nothing() -> None:
    """Each is built from what the one before has left, whoever is quicker, and also from one that took no thread."""
    store = IdentityStore()
    store.replace(GOOD, BUNDLES, NOW)
    workshop = Workshop(store)
    rotated, at_once = own(CA.svid(URI)), own(CA.svid(URI))

    async def interfere() -> None:
        await workshop.began.wait()
        workshop.may_end.set()
        store.replace(at_once, BUNDLES, NOW)

    await asyncio.gather(
        store.federate(bundle(THIRD)),
        interfere(),
        store.federate(bundle(Authority.make("fourth.org"))),
        store.renew(rotated, BUNDLES, NOW + 1),
    )
    identity = store.require()
    assert identity.svid is rotated
    assert set(identity.bundles) == {"example.org", "other.org", "third.org", "fourth.org"}
    assert workshop.in_use[-1] is identity
    generations = [one.generation for one in workshop.in_use]
    assert generations == [2, 3, 4, 5]


@pytest.mark.parametrize("what", ["renew", "federate"])
async def test_what_is_taken_away_meanwhile_stays_away(what: str) -> None:
    """A withdrawal waits for nobody: what is being built is of an identity that is not ours any more."""
    store = IdentityStore()
    store.replace(GOOD, BUNDLES, NOW)
    workshop = Workshop(store)

    async def take_away() -> None:
        await workshop.began.wait()
        store.withdraw()
        workshop.may_end.set()

    change = store.renew(own(CA.svid(URI)), BUNDLES, NOW) if what == "renew" else store.federate(bundle(THIRD))
    outcome, _ = await asyncio.gather(change, take_away(), return_exceptions=True)
    assert isinstance(outcome, IdentityInvalid if what == "renew" else NotReady)
    assert store.current is None
    assert workshop.in_use == []


async def test_no_federated_bundle_lies_over_our_own() -> None:
    """Also where a domain becomes ours that was a foreign one before."""
    store = IdentityStore()
    store.replace(GOOD, BUNDLES, NOW)
    await store.federate(bundle(Authority.make("other.org")))
    ours = store.replace(own(OTHER.svid("spiffe://other.org/orders")), {"other.org": bundle(OTHER)}, NOW)
    assert ours.bundles == {"other.org": bundle(OTHER)}

"""What the connections of one peer share."""

from dataclasses import replace

import pytest

from proxy.flow.acquaintance import MAX_PEERS, Acquaintances
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId

ORDERS = SpiffeId.parse("spiffe://example.org/orders")
EDGE = Peer(
    spiffe_id=SpiffeId.parse("spiffe://example.org/edge"),
    uri="spiffe://example.org/edge",
    certificate_sha256="ab" * 32,
    serial=7,
    not_after=2000.0,
    anchor=b"anchor",
)


def test_the_same_proof_is_held_once() -> None:
    """Of equal peers the first is kept, and the field is Envoy's (specs 6.11)."""
    known = Acquaintances()
    first = known.meet(EDGE, ORDERS)
    assert known.meet(replace(EDGE), ORDERS) is first
    assert first.peer is EDGE
    assert first.local == "spiffe://example.org/orders"
    hashed = "ab" * 32
    expected = f"By=spiffe://example.org/orders;Hash={hashed};URI=spiffe://example.org/edge"
    assert first.forwarded == b"X-Forwarded-Client-Cert: " + expected.encode()


@pytest.mark.parametrize(
    "other",
    [
        replace(EDGE, certificate_sha256="cd" * 32),
        replace(EDGE, serial=8),
        replace(EDGE, not_after=1999.0),
        replace(EDGE, anchor=b"another"),
        replace(EDGE, issued=((b"issuer", 7),)),
        replace(EDGE, spiffe_id=SpiffeId.parse("spiffe://example.org/mallory"), uri="spiffe://example.org/mallory"),
    ],
)
def test_whoever_differs_in_anything_is_somebody_else(other: Peer) -> None:
    """A certificate with an earlier end, or under another authority, must never get the longer life of the first."""
    known = Acquaintances()
    known.meet(EDGE, ORDERS)
    assert known.meet(other, ORDERS).peer is other


def test_our_own_new_name_is_told() -> None:
    """After our identity has changed, the app must not read the old one."""
    known = Acquaintances()
    known.meet(EDGE, ORDERS)
    assert known.meet(EDGE, SpiffeId.parse("spiffe://example.org/new")).local == "spiffe://example.org/new"


def test_few_are_remembered() -> None:
    """MAX_PEERS are; one more, and it begins anew: peers with ever new certificates cost no memory."""
    known = Acquaintances()
    for serial in range(MAX_PEERS):
        known.meet(replace(EDGE, serial=serial), ORDERS)
    assert len(known._known) == MAX_PEERS
    known.meet(replace(EDGE, serial=-1), ORDERS)
    assert len(known._known) == 1

"""Which authorities TLS is given: a federated domain cannot stand in the light of ours, or of another."""

import ssl
import time

import pytest
from cryptography import x509
from support.mtls import Wire, on_loop, store_of
from support.pki import Authority, der

from proxy.errors import IdentityInvalid
from proxy.identity.peer import identify
from proxy.net.transport import EventLoop
from proxy.tls.anchors import tls_anchors
from proxy.tls.contexts import TlsContexts, _load_anchors
from proxy.tls.handshake import verified_chain
from proxy.tls.settings import TlsSettings

NOW = time.time()
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
NAME = "CA of example.org"
OUR_IDENTIFIER = (x509.SubjectKeyIdentifier.from_public_key(CA.key.public_key()), False)

SHADOWS = {
    "our name, no key identifier": Authority.make("other.org", subject=NAME, identifiers=False),
    "our name, our key identifier": Authority.make(
        "other.org", subject=NAME, identifiers=False, extensions=[OUR_IDENTIFIER]
    ),
}


def anchors(*authorities: Authority) -> set[bytes]:
    """What TLS is given, by a sidecar of the first."""
    svid = authorities[0].svid(f"spiffe://{authorities[0].trust_domain}/orders")
    return set(tls_anchors(store_of(svid, *authorities, now=NOW).require()))


def test_all_domains() -> None:
    """Each authority of each domain, ours first."""
    assert anchors(CA, OTHER) == {der(CA.certificate), der(OTHER.certificate)}
    svid = CA.svid("spiffe://example.org/orders")
    whole = tls_anchors(store_of(svid, OTHER, CA, now=NOW).require())
    assert whole == [der(CA.certificate), der(OTHER.certificate)]


def test_one_authority_in_two_bundles() -> None:
    """An authority that two domains share is given once."""
    shared = Authority.make("example.org", uri="")
    same = Authority(trust_domain="other.org", certificate=shared.certificate, key=shared.key, anchors=shared.anchors)
    assert anchors(shared, same) == {der(shared.certificate)}


@pytest.mark.parametrize("shadow", SHADOWS)
def test_shadows_are_left_out(shadow: str) -> None:
    """What OpenSSL could take for our authority is not given to it."""
    assert anchors(CA, SHADOWS[shadow]) == {der(CA.certificate)}


def test_shadow_of_our_intermediate() -> None:
    """Nor what it could take for the intermediate above our own leaf."""
    below = CA.intermediate(subject="below")
    shadow = Authority.make("other.org", subject="below", identifiers=False)
    svid = below.svid("spiffe://example.org/orders")
    given = tls_anchors(store_of(svid, CA, shadow, now=NOW).require())
    assert given == [der(CA.certificate)]


def test_same_name_told_apart_by_key_identifier() -> None:
    """Every SPIRE authority has the same name: with key identifiers they stand side by side."""
    ours, theirs = (Authority.make(domain, subject="SPIFFE") for domain in ("example.org", "other.org"))
    assert anchors(ours, theirs) == {der(ours.certificate), der(theirs.certificate)}


def test_another_issue_of_our_key() -> None:
    """The same key in another certificate is no shadow: its signatures are ours."""
    again = CA.renewed(uri="", lifetime_s=7200.0)
    other = Authority(trust_domain="other.org", certificate=again.certificate, key=CA.key, anchors=again.anchors)
    assert anchors(CA, other) == {der(CA.certificate), der(again.certificate)}


@pytest.mark.parametrize("kind", EventLoop)
@pytest.mark.parametrize("shadow", SHADOWS)
def test_our_domain_lives_beside_a_shadow(kind: EventLoop, shadow: str) -> None:
    """A federated domain that publishes an authority under our name shuts nobody of ours out."""

    async def test(wire: Wire) -> None:
        store = store_of(CA.svid("spiffe://example.org/orders"), SHADOWS[shadow], CA, now=NOW)
        both = TlsContexts(store, TlsSettings())
        accepted, connected = await wire.handshake(both.server(), both.client())
        for side in (accepted, connected):
            chain = verified_chain(side.transport)
            assert identify(chain, store.require().bundles, NOW).uri == "spiffe://example.org/orders"

    on_loop(kind, test)


@pytest.mark.parametrize("kind", EventLoop)
def test_our_intermediate_in_another_bundle(kind: EventLoop) -> None:
    """A federated bundle that holds our intermediate ends the chain there: identify finds our own path."""
    below = CA.intermediate(uri="")
    meddling = Authority(
        trust_domain="other.org", certificate=below.certificate, key=below.key, anchors=(below.certificate,)
    )

    async def test(wire: Wire) -> None:
        store = store_of(below.svid("spiffe://example.org/orders"), CA, meddling, now=NOW)
        both = TlsContexts(store, TlsSettings())
        accepted, _ = await wire.handshake(both.server(), both.client())
        chain = verified_chain(accepted.transport)
        assert chain[-1] == der(below.certificate)
        assert identify(chain, store.require().bundles, NOW).uri == "spiffe://example.org/orders"

    on_loop(kind, test)


def test_openssl_has_taken_every_authority() -> None:
    """One that it passes over would be a domain that is refused, without a word: here the same one twice."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(IdentityInvalid, match="has not taken every authority"):
        _load_anchors(context, [der(CA.certificate)] * 2)

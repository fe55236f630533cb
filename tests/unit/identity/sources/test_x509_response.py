"""What is taken from a message of the agent, and what discards it."""

import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import Authority, Svid, der, new_key

from proxy.errors import CertificateRevoked, IdentityInvalid
from proxy.identity.peer import identify
from proxy.identity.revocation import NOTHING_REVOKED, Revocations
from proxy.identity.sources.x509_response import Given, SvidTakenBack, read_response
from proxy.workload_api.messages import X509SVID, X509SVIDResponse

DOMAIN = "example.org"
NOW = time.time()
CA = Authority.make(DOMAIN)
OTHER = Authority.make("other.org")


def one(name: str = "orders", ca: Authority = CA, **changes: Any) -> X509SVID:
    """A good SVID, changed."""
    svid = ca.svid(f"spiffe://{ca.trust_domain}/{name}")
    message = X509SVID(
        spiffe_id=f"spiffe://{ca.trust_domain}/{name}",
        x509_svid=b"".join(svid.chain_der),
        x509_svid_key=svid.key_der,
        bundle=b"".join(der(anchor) for anchor in ca.anchors),
    )
    return replace(message, **changes)


def named(*svids: X509SVID, hint: str = "", federated: dict[str, bytes] | None = None) -> str:
    """Who is taken from a message with these."""
    response = X509SVIDResponse(svids=svids, federated_bundles=federated or {})
    return str(read_response(response, DOMAIN, hint, NOW).svid.spiffe_id)


def test_the_first_is_the_default() -> None:
    """Whatever hints there are, where we have none."""
    assert named(one("a", hint="internal"), one("b")) == "spiffe://example.org/a"


def test_a_hint_chooses() -> None:
    """Of two with the same hint, the first counts."""
    svids = one("a"), one("b", hint="x"), one("c", hint="internal"), one("d", hint="internal")
    assert named(*svids, hint="internal") == "spiffe://example.org/c"


def test_a_hint_that_nobody_has() -> None:
    """The identity that we are to use was taken away, or never given: another one is not used in its place."""
    with pytest.raises(SvidTakenBack, match=r"2 SVID\(s\), and none has the hint 'internal'"):
        named(one("a"), one("b", hint="Internal"), hint="internal")


def test_an_intermediate_comes_with_the_leaf() -> None:
    """DER fields are certificates one after the other."""
    below = CA.intermediate()
    message = one(ca=below, bundle=der(CA.certificate))
    given = read_response(X509SVIDResponse(svids=(message,)), DOMAIN, "", NOW)
    assert len(given.svid.certificates) == 2
    assert given.bundles[DOMAIN].ders == {der(CA.certificate)}


@pytest.mark.parametrize("field", ["spiffe_id", "x509_svid", "x509_svid_key", "bundle"])
def test_a_mandatory_field_is_missing(field: str) -> None:
    """Of any SVID, also of one that we do not use: the message is discarded whole (Workload API 4.5)."""
    empty: Any = "" if field == "spiffe_id" else b""
    with pytest.raises(IdentityInvalid, match="SVID 2 of the agent's message lacks a mandatory field"):
        named(one("a"), one("b", **{field: empty}))


def test_no_svid_at_all() -> None:
    """The standard has PermissionDenied for that."""
    with pytest.raises(IdentityInvalid, match="holds no SVID"):
        named()


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (one(spiffe_id="spiffe://example.org/other"), "of another SPIFFE ID than the agent says"),
        (one(ca=OTHER), "of trust domain other.org, but trust_domain is example.org"),
        (one(x509_svid=b"garbage"), "its chain or key is not concatenated DER"),
        (one(x509_svid=one().x509_svid[:-1]), "cut off"),
        (one(x509_svid_key=b"garbage"), "holds no unencrypted PKCS#8 private key"),
        (one(x509_svid_key=one().x509_svid_key), "the key does not belong to the certificate"),
        (one(x509_svid=der(CA.certificate)), "is not an X509-SVID: a leaf must not have cA"),
        (one(bundle=b"garbage"), "the bundle of example.org that the agent gives is not concatenated DER"),
        (one(bundle=der(OTHER.certificate)), "holds an authority of another trust domain"),
    ],
)
def test_what_is_ours_and_cannot_be_used(message: X509SVID, why: str) -> None:
    """Discards the message, with words that hold nothing of it."""
    with pytest.raises(IdentityInvalid, match=why):
        named(message)


def test_an_encrypted_or_foreign_key_is_not_told() -> None:
    """Nothing of a key is in an error."""
    secret = new_key().private_numbers().private_value.to_bytes(32)
    with pytest.raises(IdentityInvalid) as refused:
        named(one(x509_svid_key=secret))
    assert repr(secret)[2:-1] not in repr(refused.value)


def test_a_foreign_bundle_that_cannot_be_used_costs_its_own_domain() -> None:
    """Whoever federates badly must not end our identity; what is left out is told."""
    federated = {
        "spiffe://other.org": der(OTHER.certificate),
        "spiffe://broken.org": b"garbage",
        "spiffe://empty.org": b"",
        "spiffe://thief.org": der(OTHER.certificate),  # another domain's authority under its name
        "spiffe://other.org/workload": der(OTHER.certificate),
        "other.net": b"",
        "spiffe://example.org": der(OTHER.certificate),  # under our own name
    }
    given = read_response(X509SVIDResponse(svids=(one(),), federated_bundles=federated), DOMAIN, "", NOW)
    assert set(given.bundles) == {DOMAIN, "other.org"}
    assert given.bundles[DOMAIN].ders == {der(CA.certificate)}
    assert len(given.remarks) == 6
    assert any("the federated bundle of broken.org is not concatenated DER" in remark for remark in given.remarks)


def given_with(*crls: bytes) -> Given:
    """What is taken from a good message with these CRLs and a federated domain."""
    federated = {"spiffe://other.org": der(OTHER.certificate)}
    return read_response(X509SVIDResponse(svids=(one(),), crl=crls, federated_bundles=federated), DOMAIN, "", NOW)


def crl(ca: Authority, *revoked: Svid, **shape: Any) -> bytes:
    """A CRL as an agent sends it."""
    found = x509.load_pem_x509_crl(ca.crl(*(svid.certificate for svid in revoked), **shape))
    return found.public_bytes(Encoding.DER)


def test_each_crl_counts_for_the_domain_whose_authority_signed_it() -> None:
    """The message has one list for all domains, and the names of roots repeat."""
    ours, theirs = CA.svid("spiffe://example.org/gone"), OTHER.svid("spiffe://other.org/gone")
    bundles = given_with(crl(OTHER, theirs), crl(CA, ours)).bundles
    for ca, gone in ((CA, ours), (OTHER, theirs)):
        serials = bundles[ca.trust_domain].revocations.serials
        assert set(serials.values()) == {frozenset({gone.certificate.serial_number})}


def test_the_names_of_authorities_may_be_the_same() -> None:
    """As of every SPIRE root: then the signature says whose it is."""
    same = Authority.make("other.org", subject="CA of example.org")
    theirs = same.svid("spiffe://other.org/gone")
    federated = {"spiffe://other.org": der(same.certificate)}
    message = X509SVIDResponse(svids=(one(),), crl=(crl(same, theirs),), federated_bundles=federated)
    bundles = read_response(message, DOMAIN, "", NOW).bundles
    assert bundles["other.org"].revocations.serials
    assert not bundles[DOMAIN].revocations.serials


def test_a_crl_of_nobody_we_know() -> None:
    """It may concern nobody whom we let in: it is told, and waits."""
    given = given_with(crl(Authority.make("third.org")))
    (remark,) = given.remarks
    assert "it counts once a peer shows that authority in its chain" in remark
    assert not given.bundles[DOMAIN].revocations.serials


def test_a_crl_of_an_intermediate_of_others() -> None:
    """Of whatever domain, beside those of the authorities: whom it names is refused as soon as it comes."""
    for ca in (CA, OTHER):
        below = ca.intermediate()
        gone, stays = (below.svid(f"spiffe://{ca.trust_domain}/{name}") for name in ("gone", "stays"))
        revoked = ca.svid(f"spiffe://{ca.trust_domain}/x")
        bundles = given_with(crl(below, gone), crl(ca, revoked)).bundles
        assert identify([*stays.chain_der, der(ca.certificate)], bundles, NOW)
        for svid in (gone, revoked):
            with pytest.raises(CertificateRevoked):
                identify([*svid.chain_der, der(ca.certificate)], bundles, NOW)


def test_a_bad_crl_of_nobody_we_know_costs_its_like_alone() -> None:
    """It may be of a domain that we do not federate with: our own state must not wait for it."""
    revoked = CA.svid("spiffe://example.org/x")
    delta = crl(Authority.make("third.org"), extensions=[(x509.DeltaCRLIndicator(1), True)])
    given = given_with(delta, crl(CA, revoked))
    (remark,) = given.remarks
    assert "none is used: what the agent gives holds a CRL that is not whole" in remark
    with pytest.raises(CertificateRevoked):
        identify([*revoked.chain_der, der(CA.certificate)], given.bundles, NOW)


@pytest.mark.parametrize(
    "broken",
    [
        b"garbage",
        crl(Authority.make("example.org")),  # the name of our authority, and another key
        crl(CA, extensions=[(x509.DeltaCRLIndicator(1), True)]),
    ],
)
def test_a_crl_of_ours_that_cannot_be_used_discards_the_message(broken: bytes) -> None:
    """Whom an earlier one named must not come in again by a mistake in this one: the last good state stays."""
    with pytest.raises(IdentityInvalid, match="the message is discarded"):
        given_with(broken)


def test_the_same_authorities_are_not_parsed_again() -> None:
    """A rotation brings every bundle again; what is equal byte for byte is what it was, without CRLs at least."""
    response = X509SVIDResponse(svids=(one(),), federated_bundles={"spiffe://other.org": der(OTHER.certificate)})
    known = read_response(response, DOMAIN, "", NOW).bundles
    again = read_response(response, DOMAIN, "", NOW, known).bundles
    assert all(again[name] is known[name] for name in (DOMAIN, "other.org"))
    newer = Authority.make("other.org")
    changed = replace(response, federated_bundles={"spiffe://other.org": der(newer.certificate)})
    assert read_response(changed, DOMAIN, "", NOW, known).bundles["other.org"].ders == {der(newer.certificate)}
    revoked = {DOMAIN: replace(known[DOMAIN], revocations=Revocations(next_update=NOW))}
    assert read_response(response, DOMAIN, "", NOW, revoked).bundles[DOMAIN].revocations is NOTHING_REVOKED
    assert set(read_response(replace(response, federated_bundles={}), DOMAIN, "", NOW, known).bundles) == {DOMAIN}


def test_a_federated_bundle_under_our_own_name_is_left_out() -> None:
    """Whatever its authorities say of themselves: they would be ours."""
    thief = Authority.make(DOMAIN)
    federated = {f"spiffe://{DOMAIN}": der(thief.certificate)}
    given = read_response(X509SVIDResponse(svids=(one(),), federated_bundles=federated), DOMAIN, "", NOW)
    assert given.bundles[DOMAIN].ders == {der(CA.certificate)}
    assert any("of our own domain: it is left out" in remark for remark in given.remarks)


def test_a_crl_of_our_own_intermediate() -> None:
    """It is known by our own chain: whom it names is refused, also where the leaf's issuer is not in the bundle."""
    below = CA.intermediate()
    theirs = below.svid("spiffe://example.org/edge")
    message = one(ca=below, bundle=der(CA.certificate))
    given = read_response(X509SVIDResponse(svids=(message,), crl=(crl(below, theirs),)), DOMAIN, "", NOW)
    assert given.remarks == ()
    with pytest.raises(CertificateRevoked):
        identify([*theirs.chain_der, der(CA.certificate)], given.bundles, NOW)
    other = X509SVIDResponse(svids=(message,))
    with pytest.raises(IdentityInvalid, match="no authority of the bundle has signed"):  # one of the same name
        read_response(replace(other, crl=(crl(CA.intermediate()),)), DOMAIN, "", NOW)

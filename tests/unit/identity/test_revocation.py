"""CRLs: whose certificates they take back, when they are old, and what is no whole CRL."""

import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pki import Authority, Svid, der

from proxy.errors import CertificateRevoked, IdentityInvalid, RevocationUnknown
from proxy.identity import revocation
from proxy.identity.bundle import Bundle
from proxy.identity.peer import Peer, confirm, identify
from proxy.identity.revocation import Revocations, key_id, read_crls_der, read_crls_pem

NOW = time.time()
TD = "example.org"
CA = Authority.make(TD)
GOOD, BAD = CA.svid("spiffe://example.org/good"), CA.svid("spiffe://example.org/bad")


def read(*crls: bytes, authority: Authority = CA, now: float = NOW, is_strict: bool = True) -> Revocations:
    """Read CRLs as those of an authority's bundle."""
    return read_crls_pem(b"".join(crls), authority.anchors, now, is_strict=is_strict)


def bundle(*crls: bytes, authority: Authority = CA, is_strict: bool = True) -> dict[str, Bundle]:
    """The bundle of an authority with CRLs."""
    made = Bundle.from_der(TD, authority.bundle_der)
    return {TD: replace(made, revocations=read(*crls, authority=authority, is_strict=is_strict)) if crls else made}


def prove(svid: Svid, known: dict[str, Bundle], authority: Authority = CA, now: float = NOW) -> Peer:
    """Identify an SVID."""
    return identify([*svid.chain_der, der(authority.anchors[0])], known, now)


def test_the_revoked_serial_alone_is_refused() -> None:
    """At once, and nobody else."""
    known = bundle(CA.crl(BAD.certificate, now=NOW))
    assert prove(GOOD, known).uri == "spiffe://example.org/good"
    with pytest.raises(CertificateRevoked):
        prove(BAD, known)


def test_an_open_connection_is_judged_by_newer_lists() -> None:
    """It was good when it came; an authority that left is another matter, which may have another path."""
    peer = prove(BAD, bundle())
    confirm(peer, bundle(CA.crl(GOOD.certificate)))
    with pytest.raises(CertificateRevoked):
        confirm(peer, bundle(CA.crl(BAD.certificate)))


def test_an_intermediate_that_was_revoked_takes_all_below_with_it() -> None:
    """Its issuer has named it; what it signed is not in any list."""
    below = CA.intermediate()
    svid = below.svid("spiffe://example.org/below")
    assert prove(svid, bundle(CA.crl()))
    with pytest.raises(CertificateRevoked):
        prove(svid, bundle(CA.crl(below.certificate)))


def test_a_serial_counts_for_its_issuer_alone() -> None:
    """Two authorities of one domain may give the same number to two certificates."""
    other = Authority.make(TD)
    both = (*CA.anchors, *other.anchors)
    known = Bundle(trust_domain=TD, authorities=both, revocations=read_crls_pem(other.crl(BAD.certificate), both, NOW))
    assert prove(BAD, {TD: known}), "the list is of the other authority"
    known = replace(known, revocations=read_crls_pem(other.crl() + CA.crl(BAD.certificate), both, NOW))
    with pytest.raises(CertificateRevoked):
        prove(BAD, {TD: known})


def test_an_authority_that_was_issued_again_has_the_same_list() -> None:
    """The key signs, not the certificate: one with the same key must not wash a serial clean."""
    again = CA.renewed()
    known = bundle(CA.crl(BAD.certificate), authority=again)
    with pytest.raises(CertificateRevoked):
        prove(BAD, known, again)


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_list_that_is_old(*, is_strict: bool) -> None:
    """Strict: nobody new comes in. Else as it says. What it names is refused either way, and open connections stay."""
    old = bundle(CA.crl(BAD.certificate, now=NOW, next_update_s=-1), is_strict=is_strict)
    with pytest.raises(CertificateRevoked):
        prove(BAD, old)
    if is_strict:
        with pytest.raises(RevocationUnknown):
            prove(GOOD, old)
    else:
        assert prove(GOOD, old)
    confirm(prove(GOOD, bundle()), old)


def test_the_last_second_of_a_list() -> None:
    """At its next update it still counts; one second later it is old."""
    known = bundle(CA.crl(now=NOW, next_update_s=60))
    end = known[TD].revocations.next_update
    assert prove(GOOD, known, now=end)
    with pytest.raises(RevocationUnknown):
        prove(GOOD, known, now=end + 1)


def test_of_several_lists_the_first_to_grow_old_counts() -> None:
    """Nobody can tell which of them would have named a certificate."""
    found = read(CA.crl(now=NOW, next_update_s=600), CA.crl(BAD.certificate, now=NOW, next_update_s=60))
    assert found.next_update == int(NOW + 60)
    with pytest.raises(CertificateRevoked):
        found.check_serials([(next(iter(found.serials)), BAD.certificate.serial_number)])


FORGER = Authority.make(TD)
NO_CRL_SIGN = Authority.make(TD, usage=frozenset({"key_cert_sign"}))
POINT = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)


@pytest.mark.parametrize(
    ("crl", "authority", "why"),
    [
        (FORGER.crl(GOOD.certificate), CA, "no authority of the bundle"),
        (CA.intermediate(subject="CA of example.org").crl(), CA, "no authority of the bundle"),
        (NO_CRL_SIGN.crl(), NO_CRL_SIGN, "cRLSign"),
        (CA.crl(now=NOW + 7200), CA, "future"),
        (CA.crl(extensions=[(x509.DeltaCRLIndicator(1), True)]), CA, "not whole"),
        (CA.crl(extensions=[(POINT, True)]), CA, "not whole"),
        (CA.crl(extensions=[(POINT, False)]), CA, "not whole"),
        (
            CA.crl(BAD.certificate, entry=x509.CertificateIssuer([x509.DNSName("x")])),
            CA,
            "other issuers",
        ),
        (b"", CA, "no PEM CRL"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", CA, "cannot be read"),
        (CA.crl() + CA.crl()[:-40], CA, "cut off"),
    ],
)
def test_what_is_no_crl_of_the_bundle(crl: bytes, authority: Authority, why: str) -> None:
    """All of it is refused: a list that is left out silently would let in whom it names."""
    with pytest.raises(IdentityInvalid, match=why):
        read(CA.crl() if authority is CA and crl else b"", crl, authority=authority)


def test_other_pem_is_no_crl() -> None:
    """The bundle in the place of the CRLs, for one."""
    with pytest.raises(IdentityInvalid, match="no PEM CRL"):
        read(CA.bundle_pem)


def test_a_changed_byte_is_no_signature() -> None:
    """The one that hides the serial, for one."""
    raw = x509.load_pem_x509_crl(CA.crl(BAD.certificate)).public_bytes(Encoding.DER)
    serial = BAD.certificate.serial_number.to_bytes(20).lstrip(b"\0")
    with pytest.raises(IdentityInvalid):
        read_crls_der([raw.replace(serial, bytes(len(serial)))], CA.anchors, NOW)
    assert read_crls_der([raw], CA.anchors, NOW).serials


_RICH = x509.load_pem_x509_crl(
    CA.crl(
        BAD.certificate,
        now=NOW,
        extensions=[(x509.AuthorityKeyIdentifier.from_issuer_public_key(CA.certificate.public_key()), False)],  # type: ignore[arg-type]
    )
).public_bytes(Encoding.DER)


@pytest.mark.filterwarnings("ignore")
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=1000, deadline=None)
@given(st.integers(0, len(_RICH) - 1), st.binary(min_size=1, max_size=4))
def test_damaged_lists(at: int, damage: bytes) -> None:
    """However a list is damaged, it is refused, or is of nobody here and names nobody: nothing else comes out."""
    raw = (_RICH[:at] + damage + _RICH[at + len(damage) :])[: len(_RICH)]
    try:
        found = read_crls_der([raw], CA.anchors, NOW)
    except IdentityInvalid:
        return
    if raw != _RICH:
        assert found.serials == {}
        found.place(CA.anchors)
        found.check_serials([(key_id(CA.certificate), BAD.certificate.serial_number)])


def test_certificates_n_and_n_plus_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all lists together."""
    monkeypatch.setattr(revocation, "MAX_REVOKED", 2)
    assert read(CA.crl(BAD.certificate), CA.crl(GOOD.certificate)).serials
    with pytest.raises(IdentityInvalid, match="more than 2"):
        read(CA.crl(BAD.certificate), CA.crl(GOOD.certificate, CA.svid("spiffe://example.org/x").certificate))


def test_the_name_of_the_issuer_counts_too() -> None:
    """A CA that was issued again under another name has not signed what its key signed under the first (RFC 5280 6.3.3)."""
    renamed = CA.renewed(subject="another name")
    known = bundle(CA.crl(BAD.certificate), authority=renamed)
    assert prove(renamed.svid(f"spiffe://{TD}/x"), known, renamed)
    known[TD].revocations.check_serials([(key_id(renamed.certificate), BAD.certificate.serial_number)])
    assert read(renamed.crl(), authority=renamed).next_update < float("inf")


# ---- lists of those whom we do not know


def test_a_list_of_an_intermediate_waits_for_its_chain() -> None:
    """It names only what that one has issued; who comes by another way is not concerned."""
    below = CA.intermediate()
    bad, good = below.svid(f"spiffe://{TD}/bad"), below.svid(f"spiffe://{TD}/good")
    known = bundle(below.crl(bad.certificate))
    assert known[TD].revocations.waiting
    assert prove(GOOD, known)
    with pytest.raises(CertificateRevoked):
        prove(bad, known)
    assert prove(good, known)


@pytest.mark.parametrize(
    "liar",
    [
        CA.intermediate(),  # the same name, another key: of two intermediates none has signed for the other
        CA.intermediate(usage=frozenset({"key_cert_sign"})),
    ],
    ids=["another key", "no cRLSign"],
)
def test_what_the_intermediate_has_not_signed_names_nobody(liar: Authority) -> None:
    """Or may not sign."""
    below = (
        CA.intermediate() if liar.above[0].extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign else liar
    )
    svid = below.svid(f"spiffe://{TD}/x")
    assert prove(svid, bundle(liar.crl(svid.certificate)))


def test_an_intermediate_of_a_domain_speaks_of_its_own_certificates_alone() -> None:
    """Its list may hold any serial: of the root's certificates it takes back none."""
    below = CA.intermediate()
    known = bundle(below.crl(GOOD.certificate))
    assert prove(below.svid(f"spiffe://{TD}/x"), known)
    assert prove(GOOD, known)


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_list_that_waited_grows_old_for_whom_it_would_name(*, is_strict: bool) -> None:
    """And for nobody else."""
    below = CA.intermediate()
    svid = below.svid(f"spiffe://{TD}/x")
    known = bundle(below.crl(now=NOW, next_update_s=60), is_strict=is_strict)
    assert known[TD].revocations.grows_old_at == int(NOW + 60)
    assert prove(svid, known)
    assert prove(GOOD, known, now=NOW + 120)
    if is_strict:
        with pytest.raises(RevocationUnknown):
            prove(svid, known, now=NOW + 120)
    else:
        assert prove(svid, known, now=NOW + 120)


def test_a_domain_whose_authorities_are_not_known_yet() -> None:
    """As one that is fetched: its lists are read before its bundle, and find their authority when a peer shows it."""
    lists = read_crls_pem(CA.crl(BAD.certificate), (), NOW)
    assert (len(lists.waiting), lists.serials) == (1, {})
    known = {TD: replace(Bundle.from_der(TD, CA.bundle_der), revocations=lists)}
    with pytest.raises(CertificateRevoked):
        prove(BAD, known)
    assert prove(GOOD, known)


def test_a_root_and_its_intermediate_of_one_name_are_told_apart() -> None:
    """By the key identifier, which every list should have (RFC 5280 5.2.1); without it the name counts."""
    below = CA.intermediate(subject="CA of example.org")
    bad = below.svid(f"spiffe://{TD}/bad")
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(below.key.public_key())
    with pytest.raises(CertificateRevoked):
        prove(bad, bundle(below.crl(bad.certificate, extensions=[(aki, False)])))
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(CA.key.public_key())
    with pytest.raises(IdentityInvalid, match="no authority of the bundle"):
        read(below.crl(bad.certificate, extensions=[(own, False)]))


def test_who_was_shown_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten is found again at the next chain."""
    below = CA.intermediate()
    bad = below.svid(f"spiffe://{TD}/bad")
    known = bundle(below.crl(bad.certificate))
    lists, peer = known[TD].revocations, prove(below.svid(f"spiffe://{TD}/x"), known)
    assert not lists.misses(peer.issued)
    for room in (1, 2, 3):
        monkeypatch.setattr(revocation, "MAX_SHOWN", room)
        assert prove(GOOD, known)
        assert lists.misses(peer.issued) is (room < 3)
        with pytest.raises(CertificateRevoked):
            prove(bad, known)


@pytest.mark.parametrize("crl", [CA.intermediate().crl(now=NOW + 7200), CA.intermediate().crl() * 2])
def test_a_list_that_waits_is_held_to_the_same_rules(crl: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the future, or too many."""
    monkeypatch.setattr(revocation, "MAX_REVOKED", 0)
    if crl.count(b"BEGIN") == 1:
        with pytest.raises(IdentityInvalid, match="future"):
            read(crl)
    else:
        assert len(read(crl).waiting) == 2
    with pytest.raises(IdentityInvalid, match="more than 0"):
        read(CA.intermediate().crl(GOOD.certificate))


def test_the_earliest_of_several_lists_decides_when_they_are_old() -> None:
    """In whatever order they stand."""
    early, late = CA.crl(now=NOW, next_update_s=60.0), CA.crl(now=NOW, next_update_s=3600.0)
    for crls in ((early, late), (late, early)):
        assert read(*crls).next_update == pytest.approx(NOW + 60, abs=1)


def test_a_list_without_an_end_is_refused() -> None:
    """Nobody could tell when it is old (RFC 5280 5.1.2.5). Our library writes none such, so it is cut out and signed anew."""
    whole = x509.load_pem_x509_crl(CA.crl(now=NOW))
    tbs = whole.tbs_certlist_bytes
    dates = [start for start in range(len(tbs)) if tbs[start : start + 2] == b"\x17\x0d"]
    assert len(dates) == 2, "thisUpdate and nextUpdate, in UTCTime"
    content = tbs[2 + (tbs[1] & 0x7F if tbs[1] & 0x80 else 0) :]
    cut = dates[1] - (len(tbs) - len(content))
    endless = _sequence(content[:cut] + content[cut + 15 :])
    algorithm = whole.public_bytes(Encoding.DER)[_head_bytes(whole) + len(tbs) :][:12]
    assert isinstance(CA.key, ec.EllipticCurvePrivateKey)
    signature = b"\x00" + CA.key.sign(endless, ec.ECDSA(hashes.SHA256()))
    raw = _sequence(endless + algorithm + b"\x03" + bytes([len(signature)]) + signature)
    assert x509.load_der_x509_crl(raw).next_update_utc is None
    with pytest.raises(IdentityInvalid, match="without nextUpdate"):
        read_crls_der([raw], CA.anchors, NOW)


def _sequence(content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2)
    return b"\x30" + length + content


def _head_bytes(crl: x509.CertificateRevocationList) -> int:
    return crl.public_bytes(Encoding.DER).index(crl.tbs_certlist_bytes)

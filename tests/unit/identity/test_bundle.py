"""Trust bundles in their three forms, whole or cut off."""

import base64
import json
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pki import Authority, der, pem

from proxy.errors import IdentityInvalid
from proxy.identity.bundle import Bundle, split_der

ONE = Authority.make("example.org")
TWO = Authority.make("example.org")
FOREIGN = Authority.make("other.org")
BOTH_PEM = pem([ONE.certificate, TWO.certificate])
BOTH_DER = der(ONE.certificate) + der(TWO.certificate)


def jwks(*entries: object) -> bytes:
    """A SPIFFE bundle with these keys."""
    return json.dumps({"keys": entries, "spiffe_sequence": 1}).encode()


def entry(authority: Authority, **more: object) -> dict[str, object]:
    """The x509-svid entry of an authority."""
    return {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(der(authority.certificate)).decode()], **more}


@pytest.mark.parametrize(
    "bundle",
    [
        Bundle.from_pem("example.org", BOTH_PEM),
        Bundle.from_der("example.org", BOTH_DER),
        Bundle.from_jwks("example.org", jwks(entry(ONE), entry(TWO))),
    ],
)
def test_three_forms(bundle: Bundle) -> None:
    """PEM, concatenated DER and JWKS hold the same authorities."""
    assert bundle.trust_domain == "example.org"
    assert bundle.authorities == (ONE.certificate, TWO.certificate)
    assert bundle.ders == {der(ONE.certificate), der(TWO.certificate)}


def test_repeated_authority_counts_once() -> None:
    """The same certificate twice is one authority."""
    assert len(Bundle.from_pem("example.org", BOTH_PEM + BOTH_PEM).authorities) == 2


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"no PEM", ONE.bundle_pem.replace(b"M", b"!"), b"-----BEGIN CERTIFICATE-----"]
)
def test_not_pem(raw: bytes) -> None:
    """What holds no certificate is refused."""
    with pytest.raises(IdentityInvalid):
        Bundle.from_pem("example.org", raw)


@given(st.integers(0, len(BOTH_PEM) - 2))
def test_pem_cut_off(length: int) -> None:
    """A file that was being written is refused, unless it ends just behind its first certificate."""
    try:
        bundle = Bundle.from_pem("example.org", BOTH_PEM[:length])
    except IdentityInvalid:
        return
    assert bundle.authorities == (ONE.certificate,)
    assert length - len(ONE.bundle_pem) in range(-1, len(b"-----BEGIN CERTIFICATE-----"))


def test_a_date_that_is_none() -> None:
    """It is found when the bundle is read, in every form; later it would be where nobody expects it."""
    raw = der(ONE.certificate)
    month = raw.index(b"\x17\x0d") + 4
    bad = raw[:month] + b"99" + raw[month + 2 :]
    for read, form in (
        (Bundle.from_der, bad),
        (Bundle.from_pem, ssl.DER_cert_to_PEM_cert(bad).encode()),
        (Bundle.from_jwks, jwks({**entry(ONE), "x5c": [base64.b64encode(bad).decode()]})),
    ):
        with pytest.raises(IdentityInvalid):
            read("example.org", form)


@given(st.integers(0, len(BOTH_DER) - 1))
def test_der_cut_off(length: int) -> None:
    """Concatenated DER is refused wherever it is cut, but at the border of two certificates."""
    if length == len(der(ONE.certificate)):
        assert Bundle.from_der("example.org", BOTH_DER[:length]).authorities == (ONE.certificate,)
        return
    with pytest.raises(IdentityInvalid):
        Bundle.from_der("example.org", BOTH_DER[:length])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x31\x00",
        b"\x30",
        b"\x30\x80\x00\x00",  # the indefinite length of BER
        b"\x30\x85\x00\x00\x00\x00\x01\x00",
        b"\x30\x84\xff\xff\xff\xff\x00",
        b"\x30\x00",
    ],
)
def test_not_der(raw: bytes) -> None:
    """Lengths that promise too much, or nothing, are refused."""
    with pytest.raises(IdentityInvalid):
        Bundle.from_der("example.org", raw)


@given(st.binary(max_size=40))
def test_any_bytes_as_der(raw: bytes) -> None:
    """The splitter gives back what it was given, or refuses."""
    try:
        assert b"".join(split_der(raw)) == raw
    except IdentityInvalid:
        return


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "EC", "use": "jwt-svid", "kid": "1"},
        {"kty": "EC", "x5c": ["AAAA"]},
        {"kty": "EC", "use": "X509-SVID", "x5c": ["AAAA"]},
        {"kty": "EC", "use": "x509-svid"},
        {"kty": "EC", "use": "x509-svid", "x5c": []},
        {"kty": "?", "use": "new"},
        entry(TWO, kty="?"),
        entry(TWO, kty="ec"),
        entry(TWO, kty=["EC"]),
        {key: value for key, value in entry(TWO).items() if key != "kty"},
    ],
)
def test_entries_that_are_not_ours(other: object) -> None:
    """Entries of another use or type of key, or without x5c, are left out (Trust Domain and Bundle 4.2)."""
    assert Bundle.from_jwks("example.org", jwks(other, entry(ONE))).authorities == (ONE.certificate,)


def test_first_value_of_x5c() -> None:
    """Of several values the first counts (X509-SVID 6.2): a second cannot add an authority."""
    both = [base64.b64encode(der(a.certificate)).decode() for a in (ONE, TWO)]
    assert Bundle.from_jwks("example.org", jwks(entry(ONE, x5c=both))).authorities == (ONE.certificate,)


def test_no_keys() -> None:
    """An empty array is legal and trusts nobody; no array is not a bundle."""
    assert Bundle.from_jwks("example.org", jwks()).authorities == ()
    with pytest.raises(IdentityInvalid):
        Bundle.from_jwks("example.org", b'{"spiffe_sequence": 1}')


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'{"keys": null}',
        b'{"keys": [1]}',
        b'{"keys": {"use": "x509-svid"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        jwks(entry(ONE, x5c=["!!!!"])),
        jwks(entry(ONE, x5c=["AAAA"])),
        jwks(entry(ONE, x5c=[5])),
        jwks(entry(ONE, x5c={"0": "AAAA"})),
    ],
)
def test_not_a_spiffe_bundle(raw: bytes) -> None:
    """What is not the JSON of a bundle is refused, and nothing else comes out."""
    with pytest.raises(IdentityInvalid):
        Bundle.from_jwks("example.org", raw)


def test_pooled_roots() -> None:
    """A bundle that holds another domain's root is refused where the root says so, and the message tells what to do."""
    pooled = pem([ONE.certificate, FOREIGN.certificate])
    with pytest.raises(IdentityInvalid, match="include_federated_domains = false"):
        Bundle.from_pem("example.org", pooled)


def test_pooled_roots_without_a_name() -> None:
    """Roots that name no domain cannot be told apart: this is known, and written down."""
    nameless = Authority.make("other.org", uri="")
    assert len(Bundle.from_pem("example.org", pem([ONE.certificate, nameless.certificate])).authorities) == 2

"""A published bundle, as strangers write it."""

import base64
import json

import pytest
from support import pki

from proxy.errors import IdentityInvalid
from proxy.federation.document import (
    DEFAULT_REFRESH_S,
    MAX_KEYS,
    MAX_REFRESH_S,
    MIN_REFRESH_S,
    read_bootstrap,
    read_document,
)

TD = "other.org"
CA = pki.Authority.make(TD)
X509 = {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(pki.der(CA.certificate)).decode()]}
JWT = {"use": "jwt-svid", "kty": "EC", "kid": "k", "crv": "P-256", "x": "x", "y": "y"}


def written(*keys: object, **more: object) -> bytes:
    """A bundle."""
    return json.dumps({"keys": list(keys), **more}).encode()


def test_what_is_read() -> None:
    """Authorities for X.509, keys for JWT, and neither for the other; sequence; hint."""
    document = read_document(
        TD, written(X509, JWT, {"kty": "EC", "use": "sig"}, spiffe_sequence=2**62, spiffe_refresh_hint=60)
    )
    assert document.bundle.authorities == (CA.certificate,)
    assert json.loads(document.jwt_keys) == {"keys": [JWT]}
    assert (document.sequence, document.refresh_s) == (2**62, 60)


def test_what_may_be_missing() -> None:
    """No keys is legal and trusts nobody; no hint is five minutes."""
    document = read_document(TD, written())
    assert (document.bundle.authorities, json.loads(document.jwt_keys)) == ((), {"keys": []})
    assert (document.sequence, document.refresh_s) == (None, DEFAULT_REFRESH_S)


@pytest.mark.parametrize(
    ("hint", "refresh"),
    [(0, DEFAULT_REFRESH_S), (1, MIN_REFRESH_S), (3600, 3600), (3601, MAX_REFRESH_S), (2**62, MAX_REFRESH_S)],
)
def test_a_hint_is_bounded(hint: int, refresh: float) -> None:
    """It must neither make us ask all the time nor keep us from asking."""
    assert read_document(TD, written(spiffe_refresh_hint=hint)).refresh_s == refresh


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [], "keys": []}',
        b'{"keys": []} x',
        written(spiffe_sequence=-1),
        written(spiffe_sequence=True),
        written(spiffe_sequence="1"),
        written(spiffe_refresh_hint=1.5),
        written({**X509, "x5c": ["%"]}),
        written({**X509, "x5c": [base64.b64encode(b"no certificate").decode()]}),
        written({**JWT, "d": "secret"}),
        written(*[X509] * (MAX_KEYS + 1)),
        b'{"keys": ' + b"[" * 100,
    ],
)
def test_what_is_refused(raw: bytes) -> None:
    """As a whole: the last good one stays."""
    with pytest.raises(IdentityInvalid):
        read_document(TD, raw)


def test_as_many_keys_as_may_be() -> None:
    """Law 8, at n."""
    assert len(read_document(TD, written(*[X509] * MAX_KEYS)).bundle.authorities) == 1


def test_a_domain_publishes_for_itself_alone() -> None:
    """An authority that names another domain is refused: it could only be meant to speak for that one."""
    with pytest.raises(IdentityInvalid, match="another trust domain"):
        read_document("example.org", written(X509))


def test_the_file_by_which_an_endpoint_is_known() -> None:
    """PEM, or a SPIFFE bundle."""
    assert read_bootstrap(TD, CA.bundle_pem).authorities == (CA.certificate,)
    assert read_bootstrap(TD, b"\n " + written(X509)).authorities == (CA.certificate,)
    with pytest.raises(IdentityInvalid):
        read_bootstrap(TD, b"x")

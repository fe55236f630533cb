"""Signing keys: their names, their rotation, and what our own verifier says of their tokens."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.authority.keys import AHEAD_S, KEEP_S, ROTATE_S, SigningKey, jwks, load_key, make_key, sign, signer, tended
from proxy.errors import TokenUnknownKey
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, kid_of, verify

NOW = 1_700_000_000.0
CLAIMS = {
    "iss": "spiffe://example.org/tts",
    "aud": "example.org",
    "iat": int(NOW),
    "exp": int(NOW) + 300,
    "txn": "t-1",
    "sub": "user:7",
    "scope": "orders.read",
    "req_wl": "spiffe://example.org/edge",
}


def test_our_verifier_takes_what_is_signed() -> None:
    """The same reader that the sidecars have; typ, kid and all."""
    key = make_key(NOW)
    raw = sign(key, CLAIMS).encode()
    token = verify(raw, KeySet.parse(jwks([key])), NOW, Expect(audience="example.org", issuer=str(CLAIMS["iss"])))
    assert (token.txn, token.sub, token.scopes) == ("t-1", "user:7", frozenset({"orders.read"}))
    assert kid_of(raw) == key.kid


def test_another_key_does_not_verify() -> None:
    """A key set without the key that signed."""
    with pytest.raises(TokenUnknownKey):
        verify(
            sign(make_key(NOW), CLAIMS).encode(),
            KeySet.parse(jwks([make_key(NOW)])),
            NOW,
            Expect(audience="example.org"),
        )


def test_the_kid_is_the_thumbprint() -> None:
    """RFC 7638: the same key has the same name after a restart, and the published set nothing private."""
    key = make_key(NOW)
    assert load_key(key.pem, NOW).kid == key.kid
    (published,) = json.loads(jwks([key]))["keys"]
    assert set(published) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert published["kid"] == key.kid
    assert "PRIVATE" not in repr(key)


def test_coordinates_keep_their_leading_zeros() -> None:
    """RFC 7518 section 6.2.1.2: always 32 octets; a scalar with a short x was looked for."""
    for scalar in range(1, 2000):
        private = ec.derive_private_key(scalar, ec.SECP256R1())
        numbers = private.public_key().public_numbers()
        if min(numbers.x, numbers.y).bit_length() <= 248:
            KeySet.parse(jwks([SigningKey(private=private, signs_from=NOW)]))
            return
    pytest.fail("no short coordinate in 2000 scalars")


def test_a_file_with_another_kind_of_key_is_refused() -> None:
    """The signature would not be ES256."""
    other = ec.generate_private_key(ec.SECP384R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(ValueError, match="not a P-256 key"):
        load_key(pem, 0.0)


def test_a_new_authority_has_one_key_at_once() -> None:
    """It signs from now on."""
    (key,) = tended((), NOW)
    assert signer((key,), NOW) is key


def test_nothing_changes_before_its_time() -> None:
    """The same keys are given back, not copies: whoever compares sees that nothing is to be done."""
    keys = tended((), NOW)
    assert tended(keys, NOW + ROTATE_S - AHEAD_S - 1) == keys


def test_a_rotation_is_never_a_refusal() -> None:
    """Through a year, looking every ten minutes: whatever signs has been published for AHEAD_S, and stays for KEEP_S after."""
    keys = tended((), NOW)
    published = {keys[0].kid: NOW - AHEAD_S}
    last_signed: dict[str, float] = {}
    for step in range(1, 4000):
        now = NOW + step * 600.0
        keys = tended(keys, now)
        assert len(keys) <= 3
        for key in keys:
            published.setdefault(key.kid, now)
        signing = signer(keys, now)
        assert now - published[signing.kid] >= AHEAD_S
        last_signed[signing.kid] = now
        for kid, when in last_signed.items():
            assert when + KEEP_S <= now or kid in {key.kid for key in keys}
    assert len(last_signed) == 4


def test_an_authority_that_was_off_for_long_signs_with_a_known_key_first() -> None:
    """It publishes the next key, and goes on with the old one until that is known."""
    keys = tended((), NOW)
    later = NOW + 10 * ROTATE_S
    two = tended(keys, later)
    assert len(two) == 2
    assert signer(two, later) is keys[0]
    assert signer(two, later + AHEAD_S) is two[1]
    assert tended(two, later + AHEAD_S + KEEP_S) == (two[1],)


def test_a_clock_that_was_set_back_still_signs() -> None:
    """With the oldest key, and without making another."""
    keys = tended((), NOW)
    assert tended(keys, NOW - 5000) == keys
    assert signer(keys, NOW - 5000) is keys[0]

"""keys.py: a JWK Set, and the choice of a key."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import TokenMint, compact_json

from proxy.errors import KeysInvalid, TokenUnknownKey
from proxy.tokens.keys import MAX_KEYS, MAX_SET_BYTES, KeySet

ONE = TokenMint(kid="one")
TWO = TokenMint(kid="two", algorithm="RS256")
NAMELESS = TokenMint(kid=None)


def test_find_by_kid() -> None:
    """The kid names the key, exactly."""
    keys = KeySet.parse(ONE.jwks(TWO))
    assert keys.find("one").algorithm == "ES256"
    assert keys.find("two").algorithm == "RS256"
    for kid in ("One", "one ", "", "three"):
        assert not keys.knows(kid)
        with pytest.raises(TokenUnknownKey):
            keys.find(kid)


def test_no_kid_only_where_there_is_no_choice() -> None:
    """A token without a kid is answered by the only key, and by none of two."""
    for mint in (ONE, NAMELESS):
        only = KeySet.parse(mint.jwks())
        assert only.knows(None)
        assert only.find(None) is only.keys[0]
    several = KeySet.parse(ONE.jwks(NAMELESS))
    assert not several.knows(None)
    with pytest.raises(TokenUnknownKey):
        several.find(None)


def test_a_kid_never_finds_a_key_without_one() -> None:
    """A key that has no name is not the key of that name."""
    with pytest.raises(TokenUnknownKey):
        KeySet.parse(NAMELESS.jwks()).find("one")


def test_bad_keys_cost_the_others_nothing() -> None:
    """What cannot be used is left out with its number and its rule."""
    bad = [{"kty": "oct", "k": "AAAA"}, "x", {"kty": "PQC"}, ONE.jwk | {"use": "enc"}, TWO.jwk | {"d": "AAAA"}]
    keys = KeySet.parse(compact_json({"keys": [*bad, TWO.jwk], "spiffe_sequence": 1}))
    assert [key.kid for key in keys.keys] == ["two"]
    assert [reason.partition(":")[0] for reason in keys.refused] == ["key 1", "key 2", "key 3", "key 4", "key 5"]


def test_a_refused_key_does_not_hold_its_name() -> None:
    """Two keys with one kid are ambiguous only if both could be chosen."""
    keys = KeySet.parse(compact_json({"keys": [ONE.jwk | {"use": "enc"}, ONE.jwk]}))
    assert keys.find("one").algorithm == "ES256"


@pytest.mark.parametrize("second", [ONE, ONE.forger(), TokenMint(kid="one", algorithm="EdDSA")])
def test_two_keys_with_one_kid(second: TokenMint) -> None:
    """The set is refused whole, also if the key is the same: which of them counts is nobody's guess."""
    with pytest.raises(KeysInvalid, match="same kid"):
        KeySet.parse(ONE.jwks(second))


@pytest.mark.parametrize(
    "jwks",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[]}',
        b'{"keys":[1,null,"x",[],{}]}',
        b'{"keys":[],"keys":[' + compact_json(ONE.jwk) + b"]}",
        b'{"Keys":[' + compact_json(ONE.jwk) + b"]}",
        compact_json(ONE.jwk),
        compact_json([ONE.jwk]),
        ONE.jwks()[:-1],
        ONE.jwks() + b"x",
        ONE.jwks().decode().encode("utf-16"),
        b"<html>",
        b'{"keys":' + b"[" * 100_000,
        compact_json({"keys": [TokenMint(algorithm="RS256").jwk | {"alg": "HS256"}]}),
    ],
)
def test_invalid(jwks: bytes) -> None:
    """What is no JWK Set, or has no usable key, is KeysInvalid."""
    with pytest.raises(KeysInvalid):
        KeySet.parse(jwks)


def test_keys_n_and_n_plus_1() -> None:
    """``MAX_KEYS`` keys, not one more."""
    named = [ONE.jwk | {"kid": str(number)} for number in range(MAX_KEYS + 1)]
    assert len(KeySet.parse(compact_json({"keys": named[:-1]})).keys) == MAX_KEYS
    with pytest.raises(KeysInvalid, match="more than"):
        KeySet.parse(compact_json({"keys": named}))


def test_bytes_n_and_n_plus_1() -> None:
    """``MAX_SET_BYTES`` bytes, not one more."""
    padded = ONE.jwks().ljust(MAX_SET_BYTES)
    assert KeySet.parse(padded).knows("one")
    with pytest.raises(KeysInvalid, match="larger"):
        KeySet.parse(padded + b" ")


def test_equal_sets_are_equal() -> None:
    """White space and keys that are not used do not make another set; another key does."""
    again = json.dumps({"keys": [{"kty": "oct"}, ONE.jwk]}, indent=2).encode()
    assert KeySet.parse(again) == KeySet.parse(ONE.jwks())
    assert KeySet.parse(ONE.jwks()) != KeySet.parse(ONE.forger().jwks())
    assert KeySet.parse(ONE.jwks()) != KeySet.parse(ONE.jwks(TWO))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_but_keys_invalid_is_raised(jwks: bytes) -> None:
    """Random bytes are KeysInvalid and nothing else."""
    with pytest.raises(KeysInvalid):
        KeySet.parse(jwks)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "kids", "refused"),
    [
        ("spiffe-go/bundle/jwtbundle/testdata/jwks_valid_1.json", 1, 0),
        ("spiffe-go/bundle/jwtbundle/testdata/jwks_valid_2.json", 2, 0),
        ("spiffe-go/exp/bundle/witbundle/testdata/jwks_valid_1.json", 1, 0),
        ("spiffe-go/exp/bundle/witbundle/testdata/jwks_valid_2.json", 2, 0),
        ("spiffe-java/testdata/jwtbundle/jwks_valid_EC_1.json", 1, 0),
        ("spiffe-py/jwks/jwks_1_ec_key.json", 1, 0),
        ("spiffe-py/jwks/jwks_3_keys.json", 3, 0),
        # RFC 7517 makes kid optional, SPIFFE's JWT bundle does not: the key stays, and no kid finds it.
        ("spiffe-go/bundle/jwtbundle/testdata/jwks_missing_kid.json", 2, 0),
        ("spiffe-go/exp/bundle/witbundle/testdata/jwks_missing_kid.json", 2, 0),
        ("spiffe-java/testdata/jwtbundle/jwks_missing_kid.json", 2, 0),
        ("spiffe-py/jwks/jwks_missing_kid.json", 2, 0),
        # The RSA key of these two is published with its private parts.
        ("spiffe-java/testdata/jwtbundle/jwks_valid_RSA_EC.json", 1, 1),
        ("spiffe-java/testdata/jwtbundle/jwks_valid_RSA_1.json", 0, 1),
        ("spiffe-java/testdata/jwtbundle/jwks_invalid_keytype.json", 0, 1),
        ("spiffe-py/jwks/jwks_ec_missing_x.json", 0, 1),
        # SPIFFE bundles: x509-svid, jwt-svid and wit-svid keys, of which none may sign transaction tokens.
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_missing_kid.json", 0, 2),
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_multiple_x509.json", 0, 2),
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_no_keys.json", 0, 0),
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_1.json", 0, 2),
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_2.json", 0, 7),
        ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_with_wit.json", 0, 5),
        ("spiffe-java/testdata/workloadapi/bundle.json", 0, 3),
    ],
)
def test_spiffe_fixtures(shared_testdata: Path, file: str, kids: int, refused: int) -> None:
    """Their JWK Sets, by our rules: how many keys are usable, and how many are left out."""
    jwks = (shared_testdata / file).read_bytes()
    if kids == 0:
        with pytest.raises(KeysInvalid) as caught:
            KeySet.parse(jwks)
        assert caught.value.detail.count("key ") == refused + ("no key " in caught.value.detail)
        return
    keys = KeySet.parse(jwks)
    assert (len(keys.keys), len(keys.refused)) == (kids, refused)


@pytest.mark.shared
def test_every_jwks_fixture_is_named_above(shared_testdata: Path) -> None:
    """No file of these folders that looks like a JWK Set is left out of the count."""
    files = [
        path
        for folder in ("spiffe-go", "spiffe-java", "spiffe-py")
        for path in (shared_testdata / folder).rglob("*.json")
    ]
    assert sum("jwks" in path.name or "bundle" in path.name for path in files) == 22

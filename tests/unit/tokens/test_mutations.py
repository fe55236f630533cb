"""No mutation of a valid token verifies: one bit, one character, a part of another, a claim or a header re-encoded."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import TokenMint, compact_json

from proxy.errors import TokenRefusal
from proxy.tokens.cache import TokenCache
from proxy.tokens.encoding import decode_base64url, encode_base64url
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, verify

NOW = 1_700_000_000.0
EXPECT = Expect(audience="example.org")
MINTS = [TokenMint(algorithm=name, kid=f"of-{name}") for name in ("ES256", "RS256", "PS256", "Ed25519")]
KEYS = KeySet.parse(MINTS[0].jwks(*MINTS[1:]))
TOKENS = {mint.token(NOW, sub=sub) for mint in MINTS for sub in ("alice", "bob")}
ANY = st.sampled_from(sorted(TOKENS))
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/, \n\0\xff"
OFTEN = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def refused(mutant: bytes) -> None:
    """It does not verify, or it is one of the tokens that were signed."""
    if mutant in TOKENS:
        return
    with pytest.raises(TokenRefusal):
        verify(mutant, KEYS, NOW, EXPECT)


def test_the_tokens_are_valid() -> None:
    """Otherwise the rest would show nothing."""
    for token in TOKENS:
        assert verify(token, KEYS, NOW, EXPECT).txn


@OFTEN
@given(ANY, st.data())
def test_one_bit(token: bytes, data: st.DataObject) -> None:
    """Anywhere."""
    at = data.draw(st.integers(0, len(token) * 8 - 1))
    mutant = bytearray(token)
    mutant[at // 8] ^= 1 << at % 8
    refused(bytes(mutant))


@OFTEN
@given(ANY, st.data())
def test_characters(token: bytes, data: st.DataObject) -> None:
    """Another, one more, one less, some cut out, some doubled, a few at random places."""
    mutant = bytearray(token)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutant) - 1))
        match data.draw(st.integers(0, 4)):
            case 0:
                mutant[at] = data.draw(st.sampled_from(ALPHABET))
            case 1:
                mutant.insert(at, data.draw(st.sampled_from(ALPHABET)))
            case 2:
                del mutant[at]
            case 3:
                del mutant[at : at + data.draw(st.integers(1, 50))]
            case _:
                mutant[at:at] = mutant[at : at + data.draw(st.integers(1, 50))]
        if not mutant:
            break
    refused(bytes(mutant))


@OFTEN
@given(ANY, ANY, ANY)
def test_parts_of_others(one: bytes, two: bytes, three: bytes) -> None:
    """A header, claims and a signature that are each good, of different tokens."""
    refused(b".".join([one.split(b".")[0], two.split(b".")[1], three.split(b".")[2]]))


@OFTEN
@given(
    ANY,
    st.sampled_from(["sub", "scope", "txn", "aud", "exp", "iat", "act", "tctx"]),
    st.sampled_from(["mallory", "orders.read admin", "example.org", 2_000_000_000, {"sub": "agent"}, None, True]),
)
def test_another_claim_under_the_old_signature(token: bytes, name: str, value: object) -> None:
    """What is signed is the bytes."""
    header, payload, signature = token.split(b".")
    claims = json.loads(bytes_of(payload)) | {name: value}
    refused(b".".join([header, encode_base64url(compact_json(claims)), signature]))


@OFTEN
@given(
    ANY,
    st.sampled_from(["alg", "kid", "typ", "jwk", "crit", "b64"]),
    st.sampled_from(["none", "HS256", "of-RS256", [], None, False]),
)
def test_another_header_under_the_old_signature(token: bytes, name: str, value: object) -> None:
    """It is signed too; and what it says decides nothing."""
    header, payload, signature = token.split(b".")
    changed = json.loads(bytes_of(header)) | {name: value}
    refused(b".".join([encode_base64url(compact_json(changed)), payload, signature]))


@OFTEN
@given(ANY, st.sampled_from([b" ", b"\t", b"\n"]))
def test_the_same_claims_written_otherwise(token: bytes, blank: bytes) -> None:
    """Equal as JSON is not equal as bytes."""
    header, payload, signature = token.split(b".")
    refused(b".".join([header, encode_base64url(bytes_of(payload) + blank), signature]))


@OFTEN
@given(ANY, st.data())
def test_the_cache_holds_none_either(token: bytes, data: st.DataObject) -> None:
    """What is remembered is these bytes, and no others that look alike."""
    cache = TokenCache(10)
    cache.remember(token, verify(token, KEYS, NOW, EXPECT))
    at = data.draw(st.integers(0, len(token) - 1))
    mutant = token[:at] + bytes([token[at] ^ 0x20]) + token[at + 1 :]
    assert cache.recall(mutant) is None
    assert cache.recall(token) is not None


def bytes_of(part: bytes) -> bytes:
    """Decode a part."""
    return decode_base64url(part)

"""verify.py: what a transaction token must be (specs 1.5)."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import ABSENT, TokenMint, compact_json

from proxy.errors import (
    ProxyError,
    TokenAlgorithmRefused,
    TokenBadSignature,
    TokenClaimsInvalid,
    TokenExpired,
    TokenFromFuture,
    TokenLifetimeTooLong,
    TokenMalformed,
    TokenRefusal,
    TokenTooLarge,
    TokenUnknownKey,
    TokenWrongAudience,
    TokenWrongIssuer,
    TokenWrongType,
)
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import TokenSettings
from proxy.tokens.verify import MAX_VALUES, Expect, kid_of, verify

NOW = 1_700_000_000.0
MINT = TokenMint()
KEYS = KeySet.parse(MINT.jwks())
EXPECT = Expect(audience="example.org")
ISSUED = Expect(audience="example.org", issuer="https://tts.example")


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_valid(algorithm: str) -> None:
    """A valid token becomes a TxnToken; its digest is the hash of what came."""
    mint = TokenMint(algorithm=algorithm)
    raw = mint.token(NOW)
    token = verify(raw, KeySet.parse(mint.jwks()), NOW, EXPECT)
    assert token.scopes == {"orders.read", "orders.write"}
    assert token.digest == sha256(raw).hexdigest()


@pytest.mark.parametrize(
    "typ", ["txntoken+jwt", "TxnToken+JWT", "application/txntoken+jwt", "APPLICATION/TXNTOKEN+JWT"]
)
def test_typ(typ: str) -> None:
    """A media type, so its case does not matter, and ``application/`` may be left out."""
    assert verify(MINT.token(NOW, header={"typ": typ}), KEYS, NOW, EXPECT)


@pytest.mark.parametrize(
    ("typ"),
    [
        *(ABSENT, None, "", 1, ["txntoken+jwt"], {"txntoken+jwt": 1}, True),
        *("JWT", "jwt", "at+jwt", "wit+jwt", "jwt-svid", "txn_token", "text/txntoken+jwt", "txntoken+jwt;q=1"),
        *(" txntoken+jwt", "txntoken+jwt ", "application/application/txntoken+jwt"),
        "txnto\u212aen+jwt",  # the Kelvin sign, which lower() makes a k
    ],
)
def test_typ_refused(typ: object) -> None:
    """Every other kind of JWT that the same keys may have signed is refused."""
    with pytest.raises(TokenWrongType):
        verify(MINT.token(NOW, header={"typ": typ}), KEYS, NOW, EXPECT)


@pytest.mark.parametrize(
    ("refusal", "expect", "claims"),
    [
        (TokenExpired, EXPECT, {"exp": NOW - 2}),
        (TokenExpired, EXPECT, {"iat": NOW - 100, "exp": NOW - 50}),
        (TokenExpired, EXPECT, {"iat": 0, "exp": 1}),
        (TokenClaimsInvalid, EXPECT, {"exp": NOW}),  # not after iat: it was never valid
        (TokenClaimsInvalid, EXPECT, {"iat": NOW + 1, "exp": NOW - 1}),
        (TokenFromFuture, EXPECT, {"iat": NOW + 2.001}),
        (TokenFromFuture, EXPECT, {"nbf": NOW + 60}),
        (TokenClaimsInvalid, EXPECT, {"nbf": "soon"}),
        (TokenLifetimeTooLong, EXPECT, {"exp": NOW + 3600.001}),
        (TokenLifetimeTooLong, EXPECT, {"iat": 0}),
        (TokenClaimsInvalid, EXPECT, {"exp": (NOW + 300) * 1000}),  # milliseconds
        (TokenWrongAudience, EXPECT, {"aud": "other.org"}),
        (TokenWrongAudience, EXPECT, {"aud": "Example.org"}),
        (TokenWrongAudience, EXPECT, {"aud": "example.org."}),
        (TokenWrongAudience, EXPECT, {"aud": "example.org.evil.org"}),
        (TokenWrongAudience, EXPECT, {"aud": ["other.org"]}),
        (TokenClaimsInvalid, EXPECT, {"aud": ["example.org", "other.org"]}),
        (TokenClaimsInvalid, EXPECT, {"aud": ABSENT}),
        (TokenClaimsInvalid, EXPECT, {"scope": ABSENT}),
        (TokenClaimsInvalid, EXPECT, {"iss": 1}),
        (TokenWrongIssuer, ISSUED, {}),
        (TokenWrongIssuer, ISSUED, {"iss": "https://tts.example/"}),
        (TokenWrongIssuer, ISSUED, {"iss": "https://TTS.example"}),
        (TokenClaimsInvalid, ISSUED, {"iss": ""}),
    ],
)
def test_claims_refused(refusal: type[TokenRefusal], expect: Expect, claims: dict[str, Any]) -> None:
    """Each rule has its own reason, and no detail says what stood in the token."""
    with pytest.raises(TokenRefusal) as caught:
        verify(MINT.token(NOW, **claims), KEYS, NOW, expect)
    assert type(caught.value) is refusal
    for outside in ("other.org", "evil", str(int(NOW)), "soon", "key-1", "orders"):
        assert outside not in str(caught.value)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 1.999, "iat": NOW - 100},
        {"iat": NOW + 2},
        {"nbf": NOW + 2},
        {"exp": NOW + 3600},
        {"aud": ["example.org"]},
        {"iss": "anyone"},
    ],
)
def test_claims_at_the_edge(claims: dict[str, Any]) -> None:
    """The last value that is still right, for the same rules."""
    assert verify(MINT.token(NOW, **claims), KEYS, NOW, EXPECT)


def test_issuer() -> None:
    """Where an issuer is configured, exactly that one."""
    assert verify(MINT.token(NOW, iss="https://tts.example"), KEYS, NOW, ISSUED).iss == "https://tts.example"


def test_size_n_and_n_plus_1() -> None:
    """``max_bytes`` bytes, not one more; larger ones are not even split."""
    raw = MINT.token(NOW)
    assert verify(raw, KEYS, NOW, Expect(audience="example.org", max_bytes=len(raw)))
    with pytest.raises(TokenTooLarge):
        verify(raw, KEYS, NOW, Expect(audience="example.org", max_bytes=len(raw) - 1))
    with pytest.raises(TokenTooLarge):
        verify(b"." * 16385, KEYS, NOW, EXPECT)


def _with_values(count: int) -> bytes:
    """A token whose claims hold so many values, by what stands between them."""
    claims = MINT.claims(NOW, tctx={"x": []})
    have = sum(compact_json(claims).count(mark) for mark in (b",", b"{", b"["))
    claims["tctx"] = {"x": [0] * (count - have + 1)}
    payload = compact_json(claims)
    assert sum(payload.count(mark) for mark in (b",", b"{", b"[")) == count
    return MINT.sign(MINT.header(), payload)


def test_values_n_and_n_plus_1() -> None:
    """A token of many small values would hold twenty times its size in memory."""
    assert verify(_with_values(MAX_VALUES), KEYS, NOW, EXPECT)
    with pytest.raises(TokenMalformed, match="values"):
        verify(_with_values(MAX_VALUES + 1), KEYS, NOW, EXPECT)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"aud":"example.org","aud":"other.org"}', b'{"a":NaN}', b"{}{}"],
)
def test_payload_is_one_object(payload: bytes) -> None:
    """Claims that are no JSON object, or can be read in two ways, are no token."""
    with pytest.raises(TokenMalformed):
        verify(MINT.sign(MINT.header(), payload), KEYS, NOW, EXPECT)


def test_a_second_claim_of_the_same_name() -> None:
    """A duplicate that another parser might prefer is refused, at any depth."""
    claims = compact_json(MINT.claims(NOW))
    for changed in (
        claims[:-1] + b',"scope":"admin"}',
        b'{"scope":"admin",' + claims[1:],
        claims.replace(b'"action":"BUY"', b'"action":"BUY","action":"SELL"'),
    ):
        with pytest.raises(TokenMalformed):
            verify(MINT.sign(MINT.header(), changed), KEYS, NOW, EXPECT)


def test_forged_unknown_and_foreign_keys() -> None:
    """Another key under the same name, under a name that we do not know, and a token of another kind of key."""
    with pytest.raises(TokenBadSignature):
        verify(MINT.forger().token(NOW), KEYS, NOW, EXPECT)
    with pytest.raises(TokenUnknownKey):
        verify(MINT.token(NOW, header={"kid": "key-2"}), KEYS, NOW, EXPECT)
    with pytest.raises(TokenAlgorithmRefused):
        verify(TokenMint(algorithm="EdDSA").token(NOW), KEYS, NOW, EXPECT)
    assert kid_of(MINT.token(NOW, header={"kid": "key-2"})) == "key-2"
    assert kid_of(MINT.token(NOW, header={"kid": ABSENT})) is None


def test_claims_in_the_header_count_for_nothing() -> None:
    """RFC 7519 section 5.3 lets claims be copied there; ours are those of the payload."""
    raw = MINT.token(NOW, header={"aud": "example.org"}, aud="other.org")
    with pytest.raises(TokenWrongAudience):
        verify(raw, KEYS, NOW, EXPECT)


def test_garbage() -> None:
    """None of the mint's garbage is a token."""
    for name, raw in MINT.garbage(NOW).items():
        with pytest.raises(TokenRefusal) as caught:
            verify(raw, KEYS, NOW, EXPECT)
        assert type(caught.value) in {TokenMalformed, TokenBadSignature, TokenAlgorithmRefused}, name


def test_expect_of_the_settings() -> None:
    """The settings say all of it, with the same defaults."""
    assert Expect.of(TokenSettings(audience="example.org", keys="/jwks.json")) == EXPECT


TOKENS = {
    alg: (TokenMint(algorithm=alg).token(NOW), KeySet.parse(TokenMint(algorithm=alg).jwks()))
    for alg in ("ES256", "RS256", "EdDSA")
}


@pytest.mark.parametrize("algorithm", TOKENS)
def test_no_byte_can_be_changed(algorithm: str) -> None:
    """At every place of a valid token, the neighbours of its byte in the alphabet and in ASCII are refused."""
    raw, keys = TOKENS[algorithm]
    for place, byte in enumerate(raw):
        for other in {byte ^ 1, byte ^ 0x20, (byte + 1) % 256, ord("A") if byte != ord("A") else ord("B")}:
            with pytest.raises(ProxyError):
                verify(raw[:place] + bytes([other]) + raw[place + 1 :], keys, NOW, EXPECT)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(TOKENS)), st.data())
def test_no_mutation_verifies(algorithm: str, data: st.DataObject) -> None:
    """Bytes replaced, put in, taken out, or swapped between the parts: never the token, and never another error."""
    raw, keys = TOKENS[algorithm]
    begin = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(begin, min(len(raw), begin + 4)))
    mutated = (
        raw[:begin] + data.draw(st.binary(max_size=4) | st.text("AQgw-_.=", max_size=3).map(str.encode)) + raw[end:]
    )
    if mutated != raw:
        with pytest.raises(ProxyError):
            verify(mutated, keys, NOW, EXPECT)


def test_the_last_character_has_one_spelling() -> None:
    """Loose bits at the end of the signature would be a second token with the same meaning."""
    raw, keys = TOKENS["ES256"]  # 64 bytes are 86 characters: four loose bits
    spellings = [raw[:-1] + bytes([last]) for last in range(256)]
    accepted = [spelling for spelling in spellings if is_valid(spelling, keys)]
    assert accepted == [raw]


def is_valid(raw: bytes, keys: KeySet) -> bool:
    """Whether it verifies."""
    try:
        verify(raw, keys, NOW, EXPECT)
    except TokenRefusal:
        return False
    return True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "x"]), json_values, max_size=3),
    claims=json_values,
)
def test_random_json_raises_proxy_errors_alone(header: dict[str, Any], claims: object) -> None:
    """Signed with the right key, whatever it says."""
    raw = MINT.sign(MINT.header(**header), json.dumps(claims).encode())
    with pytest.raises(ProxyError):
        verify(raw, KEYS, NOW, EXPECT)


def figures(text: str) -> dict[str, Any]:
    """Return the JSON of the draft's figures by title, without their comments."""
    found = re.findall(r'~~~ json\n([^~]*)~~~\n\{: #\w+ title="([^"]+)"\}', text)
    return {title: json.loads(re.sub(r"//[^\n]*", "", body)) for body, title in found}


@pytest.mark.shared
def test_the_example_of_the_draft(shared_testdata: Path) -> None:
    """Its header and its claims, signed, are a token while its six minutes last."""
    found = figures((shared_testdata / "txn-tokens/draft-ietf-oauth-transaction-tokens.md").read_text())
    assert set(found) == {"Example: Txn-Token Header", "Example: Txn-Token Body"}
    mint = TokenMint(algorithm="RS256", kid="identifier-to-key")
    claims = found["Example: Txn-Token Body"]
    raw = mint.sign(found["Example: Txn-Token Header"], compact_json(claims))
    keys, expect = KeySet.parse(mint.jwks()), Expect(audience="trust-domain.example")
    token = verify(raw, keys, claims["iat"] + 1, expect)
    assert token.txn == claims["txn"]
    assert token.scopes == {"trade.stocks"}
    assert token.req_wl == "apigateway.trust-domain.example"
    with pytest.raises(TokenExpired):
        verify(raw, keys, claims["exp"] + 2, expect)
    with pytest.raises(TokenWrongAudience):
        verify(raw, keys, claims["iat"] + 1, EXPECT)


@pytest.mark.shared
def test_tokens_of_wimse_are_no_transaction_tokens(shared_testdata: Path) -> None:
    """Workload identity and proof tokens are told apart by typ, before their keys are looked for."""
    for name in ("wit.txt", "wpt.txt"):
        with pytest.raises(TokenWrongType):
            verify((shared_testdata / "wimse/includes" / name).read_bytes(), KEYS, NOW, EXPECT)

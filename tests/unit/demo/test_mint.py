"""Each kind of token is refused for its own reason and no other."""

import json

import pytest

from proxy.authority.keys import jwks, make_key
from proxy.demo import mint
from proxy.errors import ProxyError, TokenBadSignature, TokenExpired, TokenUnknownKey, TokenWrongAudience
from proxy.tokens.claims import TxnToken
from proxy.tokens.encoding import decode_base64url
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, verify

NOW = 1_800_000_000.0
KEY = make_key(NOW)
MINT = mint.Mint(key=KEY, trust_domain="example.org", now=NOW)
EXPECT = Expect(
    audience="example.org", issuer="spiffe://example.org/tts", skew_s=2, max_lifetime_s=3600, max_bytes=16384
)


def verified(token: str) -> TxnToken:
    """What a sidecar makes of it."""
    return verify(token.encode(), KeySet.parse(jwks([KEY])), NOW, EXPECT)


def test_the_good_one_is_good() -> None:
    """A refusal of the others is then about what makes them bad."""
    assert verified(mint.good(MINT)).scopes == {"orders.read"}
    assert verified(mint.with_scope("a b")(MINT)).scopes == {"a", "b"}


def test_each_is_a_transaction_of_its_own() -> None:
    """Or two rows of the table would look like one."""
    assert verified(mint.good(MINT)).txn != verified(mint.good(MINT)).txn


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (mint.expired, TokenExpired),
        (mint.for_another_audience, TokenWrongAudience),
        (mint.forged, TokenBadSignature),
        (mint.of_an_unknown_key, TokenUnknownKey),
    ],
)
def test_each_bad_one_has_its_reason(kind: mint.Kind, reason: type[ProxyError]) -> None:
    """Exactly that class."""
    with pytest.raises(ProxyError) as caught:
        verified(kind(MINT))
    assert caught.type is reason


def test_the_forged_one_wants_more() -> None:
    """Else nobody would forge it."""
    payload = mint.forged(MINT).split(".")[1]
    assert json.loads(decode_base64url(payload.encode()))["scope"] == "orders.read orders.write"

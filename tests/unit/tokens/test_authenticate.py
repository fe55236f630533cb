"""authenticate.py: remembered or verified, and never anything without keys."""

import pytest
from support.fetch import Clock, Web, json_answer
from support.revocation import entry
from support.tokens import ABSENT, TokenMint

from proxy.errors import (
    KeysUnavailable,
    ProxyError,
    TokenBadSignature,
    TokenExpired,
    TokenMalformed,
    TokenRefusal,
    TokenRevoked,
    TokenUnknownKey,
)
from proxy.policy.revocation import Revoked
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.cache import TokenCache
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings

NOW = 1_700_000_000.0
SETTINGS = TokenSettings(audience="example.org", keys="https://tts/jwks")
MINT = TokenMint()


class Bench:
    """An authenticator with its keys, and what it counted."""

    def __init__(self, *mints: TokenMint) -> None:
        self.web = Web(json_answer(b""))
        self.publish(*mints)
        self.keys = KeyStore(SETTINGS, self.web, Clock(NOW))
        self.counted: list[object] = []
        self.ticks = iter(range(1000))
        self.authenticator = Authenticator(
            SETTINGS,
            self.keys,
            TokenCache(SETTINGS.cache_entries),
            on_hit=lambda: self.counted.append("hit"),
            on_miss=lambda: self.counted.append("miss"),
            on_verify=lambda result, seconds: self.counted.append((result, seconds)),
            clock=lambda: float(next(self.ticks)),
        )

    def publish(self, *mints: TokenMint) -> None:
        """Publish these keys, or none."""
        self.web.answer = json_answer(mints[0].jwks(*mints[1:])) if mints else json_answer(b"{}")


async def bench(*mints: TokenMint) -> Bench:
    """Make one with its keys loaded."""
    made = Bench(*mints)
    await made.keys.load()
    return made


async def test_first_verified_then_remembered() -> None:
    """The same bytes are verified once; what is counted says so, with the seconds that it took."""
    made = await bench(MINT)
    raw = MINT.token(NOW)
    token = made.authenticator.authenticate(raw, NOW)
    assert made.counted == ["miss", ("verified", 1.0)]
    assert made.authenticator.authenticate(bytes(bytearray(raw)), NOW + 1) is token
    assert made.counted[2:] == ["hit"]


async def test_what_is_revoked() -> None:
    """Is refused when it is verified, and once all are doubted also where it is remembered; the others stay so."""
    made, revoked = await bench(MINT), Revoked([entry(txn="revoked")])
    counted: list[str] = []
    authenticator = Authenticator(
        SETTINGS,
        made.keys,
        TokenCache(SETTINGS.cache_entries, revoked.passes),
        on_verify=lambda result, _seconds: counted.append(result),
        check=revoked.check,
    )
    with pytest.raises(TokenRevoked):
        authenticator.authenticate(MINT.token(NOW, txn="revoked"), NOW)
    one, other = MINT.token(NOW, txn="one"), MINT.token(NOW, txn="other")
    for raw in (one, other):
        authenticator.authenticate(raw, NOW)
    revoked.add(entry(txn="one"))
    authenticator.doubt()
    with pytest.raises(TokenRevoked):
        authenticator.authenticate(one, NOW)
    assert authenticator.authenticate(other, NOW).txn == "other"
    assert counted == ["token_revoked", "verified", "verified", "token_revoked"]


async def test_exp_is_compared_on_every_request() -> None:
    """A token that was remembered is refused from exp and the skew on, and so is one that was not."""
    made = await bench(MINT)
    raw = MINT.token(NOW)
    assert made.authenticator.authenticate(raw, NOW)
    assert made.authenticator.authenticate(raw, NOW + 301.999)
    with pytest.raises(TokenExpired):
        made.authenticator.authenticate(raw, NOW + 302)
    made.counted.clear()
    with pytest.raises(TokenExpired):
        made.authenticator.authenticate(MINT.token(NOW, txn="x"), NOW + 302)
    assert made.counted == ["miss", ("token_expired", 1.0)]


async def test_a_refusal_is_not_remembered() -> None:
    """Each time anew: a token from the future becomes valid."""
    made = await bench(MINT)
    raw = MINT.token(NOW + 10)
    for _ in range(2):
        with pytest.raises(ProxyError):
            made.authenticator.authenticate(raw, NOW)
    assert made.counted == ["miss", ("token_from_future", 1.0)] * 2
    assert made.authenticator.authenticate(raw, NOW + 8)


async def test_a_byte_beside_a_remembered_token_is_not_it() -> None:
    """Only the exact bytes are known."""
    made = await bench(MINT)
    raw = MINT.token(NOW)
    assert made.authenticator.authenticate(raw, NOW)
    for other in (raw + b"=", raw + b" ", raw[:-1], raw.swapcase(), b" " + raw):
        with pytest.raises(TokenRefusal):
            made.authenticator.authenticate(other, NOW)
    assert "hit" not in made.counted


async def test_without_keys() -> None:
    """Nothing can be said: never an unknown key, whatever the token, so that the answer is 503 and not 401."""
    made = await bench()
    for raw in (MINT.token(NOW), b"garbage", b""):
        with pytest.raises(KeysUnavailable):
            made.authenticator.authenticate(raw, NOW)
    assert made.counted[:2] == ["miss", ("keys_unavailable", 1.0)]


async def test_new_keys_forget_everything() -> None:
    """A token whose key was withdrawn is refused from then on, though its exp is far."""
    made = await bench(MINT)
    raw = MINT.token(NOW)
    assert made.authenticator.authenticate(raw, NOW)
    made.publish(MINT.forger())
    await made.keys.load()
    with pytest.raises(TokenBadSignature):
        made.authenticator.authenticate(raw, NOW)


async def test_the_same_keys_forget_nothing() -> None:
    """A refresh that brings what we have costs no verification."""
    made = await bench(MINT)
    raw = MINT.token(NOW)
    assert made.authenticator.authenticate(raw, NOW)
    await made.keys.load()
    made.counted.clear()
    assert made.authenticator.authenticate(raw, NOW)
    assert made.counted == ["hit"]


async def test_learn_an_unknown_key() -> None:
    """The door that the slow way comes back to: refused, learned, accepted."""
    made = await bench(MINT)
    new = TokenMint(kid="key-2")
    raw = new.token(NOW)
    with pytest.raises(TokenUnknownKey):
        made.authenticator.authenticate(raw, NOW)
    made.publish(MINT, new)
    assert await made.authenticator.learn(raw)
    assert made.authenticator.authenticate(raw, NOW)
    assert not await made.authenticator.learn(TokenMint(kid="key-3").token(NOW))


async def test_learn_without_a_kid() -> None:
    """A token without a kid among several keys cannot be learned, and costs no fetch."""
    made = await bench(MINT, TokenMint(kid="key-2"))
    raw = MINT.token(NOW, header={"kid": ABSENT})
    with pytest.raises(TokenUnknownKey):
        made.authenticator.authenticate(raw, NOW)
    assert not await made.authenticator.learn(raw)
    with pytest.raises(TokenMalformed):
        await made.authenticator.learn(b"garbage")
    assert len(made.web.sent) == 1


async def test_a_small_cache_stays_small() -> None:
    """``cache_entries`` bounds what is remembered; what fell out is verified again, with the same result."""
    made = await bench(MINT)
    cache = TokenCache(4)
    authenticator = Authenticator(SETTINGS, made.keys, cache)
    tokens = [MINT.token(NOW, txn=str(number)) for number in range(20)]
    for _ in range(2):
        assert [authenticator.authenticate(raw, NOW).txn for raw in tokens] == [str(number) for number in range(20)]
        assert len(cache) <= 4

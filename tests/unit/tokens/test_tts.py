"""tts.py: one flight for equal wants, nothing past exp, and no storm on a service in trouble."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from support.fetch import Clock, Web, json_answer
from support.tokens import TokenMint, compact_json

from proxy.errors import (
    ConfigInvalid,
    Internal,
    KeysUnavailable,
    Overloaded,
    ProxyError,
    TtsBadAnswer,
    TtsRefused,
    TtsUnavailable,
    UpstreamBadResponse,
    UpstreamDown,
    UpstreamTimeout,
    UpstreamUntrusted,
)
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.fetch import Answer
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.tts import FAILURE_S, MAX_WANTS, TokenService, Want

SETTINGS = TokenSettings(
    audience="example.org",
    keys="https://tts/jwks",
    service=ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts", timeout_s=3.0),
)
MINT = TokenMint()
WANT = Want(subject="spiffe://example.org/orders", scopes=("ledger.write",))
OTHER = Want(subject="spiffe://example.org/orders", scopes=("ledger.read",))


def answer(token: bytes | str) -> Answer:
    """Make the answer that brings this token."""
    kind = "urn:ietf:params:oauth:token-type:txn_token"
    text = token if isinstance(token, str) else token.decode()
    return json_answer(compact_json({"token_type": "N_A", "issued_token_type": kind, "access_token": text}))


class Bench:
    """A token service in memory, and our client of it."""

    def __init__(self, *, jitter: float = 0.5) -> None:
        self.clock = Clock()
        self.web = Web(answer(b""))
        self.jwks = Web(json_answer(MINT.jwks()))
        self.keys = KeyStore(SETTINGS, self.jwks, self.clock)
        self.results: list[str] = []
        self.service = TokenService(
            SETTINGS,
            self.web,
            self.keys,
            self.clock,
            lambda: jitter,
            on_exchange=lambda result, _seconds: self.results.append(result),
        )
        self.publish()

    def publish(self, mint: TokenMint = MINT, **claims: Any) -> bytes:
        """Let the service answer with this token from now on."""
        token = mint.token(self.clock.now, **claims)
        self.web.answer = answer(token)
        return token

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while any(entry.flight is not None for entry in self.service._entries.values()):
            await asyncio.sleep(0)


async def bench(*, jitter: float = 0.5) -> Bench:
    """Make one with its keys loaded."""
    made = Bench(jitter=jitter)
    await made.keys.load()
    return made


async def test_obtain_and_recall() -> None:
    """Asked for once, over mTLS to the workload that is named, then held."""
    made = await bench()
    token = made.publish()
    assert made.service.recall(WANT, made.clock.now) is None
    assert await made.service.obtain(WANT) == token
    assert made.service.recall(WANT, made.clock.now) == token
    assert await made.service.obtain(WANT) == token
    assert made.service.recall(OTHER, made.clock.now) is None
    (sent,) = made.web.sent
    assert (sent.method, sent.url, sent.timeout_s) == ("POST", "https://tts/token", 3.0)
    assert sent.fields == {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    assert sent.expect == SpiffeId.parse("spiffe://example.org/tts")
    assert b"scope=ledger.write&" in sent.body
    assert made.results == ["obtained"]


async def test_equal_wants_share_a_flight() -> None:
    """A hundred at once are one request; another want is another."""
    made = await bench()
    token = made.publish()
    equal = [Want(WANT.subject, tuple(WANT.scopes)) for _ in range(100)]
    assert await asyncio.gather(*map(made.service.obtain, [*equal, OTHER])) == [token] * 101
    assert len(made.web.sent) == 2


async def test_a_failure_is_shared_too() -> None:
    """One request, and each caller its own exception."""
    made = await bench()
    made.web.answer = UpstreamDown()
    failures = await asyncio.gather(*(made.service.obtain(WANT) for _ in range(50)), return_exceptions=True)
    assert {type(failure) for failure in failures} == {TtsUnavailable}
    assert len({id(failure) for failure in failures}) == 50
    assert len(made.web.sent) == 1


async def test_the_first_who_asked_goes_away() -> None:
    """The others get the token that it asked for."""
    made = await bench()
    token = made.publish()
    made.web.gate.clear()
    loop = asyncio.get_running_loop()
    first, *others = [loop.create_task(made.service.obtain(WANT)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    made.web.gate.set()
    assert await asyncio.gather(*others) == [token] * 3
    assert len(made.web.sent) == 1


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 225.0), (0.5, 240.0), (1.0, 255.0)])
async def test_refresh_ahead(jitter: float, seconds: float) -> None:
    """From about 80 % of its life on, whoever recalls it starts one request, and the old one still serves."""
    made = await bench(jitter=jitter)
    old = made.publish()
    await made.service.obtain(WANT)
    made.clock.now += seconds - 0.001
    assert made.service.recall(WANT, made.clock.now) == old
    assert len(made.web.sent) == 1
    made.clock.now += 0.001
    new = made.publish(txn="next")
    made.web.gate.clear()
    for _ in range(10):
        assert made.service.recall(WANT, made.clock.now) == old
        assert await made.service.obtain(WANT) == old
        await asyncio.sleep(0)
    made.web.gate.set()
    await made.settled()
    assert made.service.recall(WANT, made.clock.now) == new
    assert len(made.web.sent) == 2


async def test_a_refresh_that_fails() -> None:
    """The old one serves to its end, asked about once a second; then the failure is told."""
    made = await bench()
    old = made.publish()
    await made.service.obtain(WANT)
    made.web.answer = UpstreamDown()
    made.clock.now += 240
    for _ in range(60):
        for _ in range(3):
            assert made.service.recall(WANT, made.clock.now) == old
            await made.settled()
        made.clock.now += FAILURE_S
    assert len(made.web.sent) == 1 + 60
    assert made.service.recall(WANT, made.clock.now) is None
    with pytest.raises(TtsUnavailable):
        await made.service.obtain(WANT)


async def test_never_past_exp() -> None:
    """Not for a moment, though the peers would allow for skew."""
    made = await bench()
    old = made.publish()
    await made.service.obtain(WANT)
    assert made.service.recall(WANT, made.clock.now + 299.999) == old
    assert made.service.recall(WANT, made.clock.now + 300) is None
    await made.settled()
    made.clock.now += 300
    new = made.publish(txn="next")
    assert await made.service.obtain(WANT) == new


async def test_a_token_that_ends_at_once() -> None:
    """Expired on arrival, though within the skew: a bad answer, and not held."""
    made = await bench()
    made.publish(iat=made.clock.now - 100, exp=made.clock.now)
    with pytest.raises(TtsBadAnswer, match="expired"):
        await made.service.obtain(WANT)
    assert made.service.recall(WANT, made.clock.now) is None


async def test_failures_are_remembered_for_a_second() -> None:
    """Who asks within it gets the same refusal without a request; who asks after it, a new try."""
    made = await bench()
    made.web.answer = json_answer(b'{"error":"invalid_scope"}', 400)
    for _ in range(20):
        with pytest.raises(TtsRefused, match="invalid_scope"):
            await made.service.obtain(WANT)
        assert made.service.recall(WANT, made.clock.now) is None
    assert len(made.web.sent) == 1
    made.clock.now += FAILURE_S - 0.001
    with pytest.raises(TtsRefused):
        await made.service.obtain(WANT)
    assert len(made.web.sent) == 1
    made.clock.now += 0.002
    token = made.publish()
    assert await made.service.obtain(WANT) == token
    assert len(made.web.sent) == 2


@pytest.mark.parametrize(
    ("failure", "refusal", "said"),
    [
        (UpstreamDown("x"), TtsUnavailable, "upstream_down"),
        (UpstreamTimeout("x"), TtsUnavailable, "upstream_timeout"),
        (UpstreamUntrusted("x"), TtsUnavailable, "upstream_untrusted"),
        (UpstreamBadResponse("x"), TtsBadAnswer, "not HTTP"),
        (Answer(503, {}, b""), TtsUnavailable, "503"),
        (json_answer(b'{"error":"invalid_client"}', 401), TtsRefused, "invalid_client"),
        (json_answer(b"{}"), TtsBadAnswer, "token_type"),
        (answer("eyJCI6IjllciJ9...Qedw6rx"), TtsBadAnswer, "token_malformed"),
        (answer(""), TtsBadAnswer, "token_malformed"),
        (answer(b"x" * 16385), TtsBadAnswer, "token_too_large"),
        (answer(MINT.forger().token(1_700_000_000)), TtsBadAnswer, "token_bad_signature"),
        (answer(MINT.token(1_700_000_000, aud="other.org")), TtsBadAnswer, "token_wrong_audience"),
        (answer(MINT.token(1_700_000_000, header={"typ": "at+jwt"})), TtsBadAnswer, "token_wrong_type"),
        (answer(MINT.token(1_600_000_000)), TtsBadAnswer, "token_expired"),
        (answer(TokenMint(kid="key-2").token(1_700_000_000)), TtsBadAnswer, "token_unknown_key"),
    ],
)
async def test_failures(failure: Answer | Exception, refusal: type[ProxyError], said: str) -> None:
    """Each has its class and says what a person needs; nothing of it is held."""
    made = await bench()
    made.web.answer = failure
    with pytest.raises(refusal, match=said) as caught:
        await made.service.obtain(WANT)
    assert type(caught.value) is refusal
    assert "eyJ" not in str(caught.value)
    assert made.results == [refusal.reason]
    assert made.service.recall(WANT, made.clock.now) is None


async def test_a_new_key_is_learned() -> None:
    """The service has rotated its key: the first token that it signs with the new one is verified all the same."""
    made = await bench()
    new = TokenMint(kid="key-2")
    token = made.publish(new)
    made.jwks.answer = json_answer(MINT.jwks(new))
    assert await made.service.obtain(WANT) == token
    assert len(made.jwks.sent) == 2


async def test_without_keys() -> None:
    """A token that nobody can verify is not asked for."""
    made = Bench()
    with pytest.raises(KeysUnavailable):
        await made.service.obtain(WANT)
    assert made.web.sent == []
    await made.keys.load()
    made.clock.now += FAILURE_S
    assert await made.service.obtain(WANT)


async def test_a_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, told as internal, and not tried again within the second."""
    made = await bench()
    made.web.answer = ZeroDivisionError()
    for _ in range(3):
        with pytest.raises(Internal):
            await made.service.obtain(WANT)
    assert len(made.web.sent) == 1
    assert "ZeroDivisionError" in caplog.text
    made.clock.now += FAILURE_S
    token = made.publish()
    assert await made.service.obtain(WANT) == token


async def test_wants_n_and_n_plus_1() -> None:
    """``MAX_WANTS`` are held; for one more the oldest goes."""
    made = await bench()
    token = made.publish()
    wants = [Want("me", (str(number),)) for number in range(MAX_WANTS + 1)]
    for want in wants[:-1]:
        await made.service.obtain(want)
    assert made.service.recall(wants[0], made.clock.now) == token
    await made.service.obtain(wants[-1])
    assert len(made.service._entries) == MAX_WANTS
    assert made.service.recall(wants[0], made.clock.now) is None
    assert made.service.recall(wants[1], made.clock.now) == token


async def test_flights_n_and_n_plus_1() -> None:
    """``MAX_WANTS`` under way, and one more is refused: none of them can be given up for it."""
    made = await bench()
    made.publish()
    made.web.gate.clear()
    loop = asyncio.get_running_loop()
    asking = [loop.create_task(made.service.obtain(Want("me", (str(number),)))) for number in range(MAX_WANTS)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await made.service.obtain(WANT)
    made.web.gate.set()
    await asyncio.gather(*asking)
    assert await made.service.obtain(WANT)


async def test_close() -> None:
    """What is under way ends, and who waits is told."""
    made = await bench()
    made.web.gate.clear()
    asking = asyncio.get_running_loop().create_task(made.service.obtain(WANT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await made.service.close()
    with pytest.raises(Internal):
        await asking
    assert made.web.ended == 0


@pytest.mark.parametrize(
    "service",
    [
        None,
        ServiceSettings(url="http://tts/token", spiffe_id="spiffe://example.org/tts"),
        ServiceSettings(url="tts:443", spiffe_id="spiffe://example.org/tts"),
        ServiceSettings(url="https://tts/token", spiffe_id="example.org/tts"),
    ],
)
async def test_settings_refused(service: ServiceSettings | None) -> None:
    """Without TLS, or without the name of a workload, nobody would know whom it asks."""
    clock, web = Clock(), Web(answer(b""))
    settings = replace(SETTINGS, service=service)
    with pytest.raises(ConfigInvalid, match=r"tokens\.service"):
        TokenService(settings, web, KeyStore(SETTINGS, web, clock), clock, lambda: 0.5)

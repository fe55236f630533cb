"""tts.py: one flight for equal wants, nothing past exp, and no storm on a service in trouble."""

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from support.fetch import Clock, Web, json_answer
from support.tokens import ABSENT, TokenMint, compact_json

from proxy.errors import (
    AccessTokenRefused,
    ConfigInvalid,
    Internal,
    KeysUnavailable,
    Overloaded,
    ProxyError,
    TokenRevoked,
    TtsBadAnswer,
    TtsRefused,
    TtsRefusedUs,
    TtsUnavailable,
    UpstreamBadResponse,
    UpstreamDown,
    UpstreamTimeout,
    UpstreamUntrusted,
)
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.fetch import Answer
from proxy.tokens.jwks import KeyStore
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.subject import TYPES, subject
from proxy.tokens.tts import FAILURE_S, MAX_TRIES, TokenService, Want, check_replacement
from proxy.tokens.verify import Expect, verify

SERVICE = ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts", timeout_s=3.0)
SETTINGS = TokenSettings(audience="example.org", keys="https://tts/jwks", service=SERVICE)
MINT = TokenMint()
WANT = Want(client="spiffe://example.org/orders", scopes=("ledger.write",))
OTHER = Want(client="spiffe://example.org/orders", scopes=("ledger.read",))


def answer(token: bytes | str) -> Answer:
    """Make the answer that brings this token."""
    kind = "urn:ietf:params:oauth:token-type:txn_token"
    text = token if isinstance(token, str) else token.decode()
    return json_answer(compact_json({"token_type": "N_A", "issued_token_type": kind, "access_token": text}))


class Bench:
    """A token service in memory, and our client of it."""

    def __init__(self, *, jitter: float = 0.5, entries: int = 4096) -> None:
        self.clock = Clock()
        self.web = Web(answer(b""))
        self.jwks = Web(json_answer(MINT.jwks()))
        self.keys = KeyStore(SETTINGS, self.jwks, self.clock)
        self.results: list[str] = []
        self.service = TokenService(
            replace(SETTINGS, service=replace(SERVICE, cache_entries=entries)),
            self.web,
            self.keys,
            self.clock,
            lambda: jitter,
            on_exchange=lambda result, _seconds: self.results.append(result),
            is_revoked=lambda raw: raw in self.revoked,
        )
        self.revoked: set[bytes] = set()
        self.publish()

    def publish(self, mint: TokenMint = MINT, **claims: Any) -> bytes:
        """Let the service answer with this token from now on."""
        token = mint.token(self.clock.now, **claims)
        self.web.answer = answer(token)
        return token

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        entries = self.service._held | self.service._tried
        while any(entry.flight is not None for entry in entries.values()):
            await asyncio.sleep(0)


async def bench(*, jitter: float = 0.5, entries: int = 4096) -> Bench:
    """Make one with its keys loaded."""
    made = Bench(jitter=jitter, entries=entries)
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
    assert b"client_id=spiffe%3A%2F%2Fexample.org%2Forders" in sent.body
    assert b"client_assertion" not in sent.body
    assert made.results == ["obtained"]


async def test_equal_wants_share_a_flight() -> None:
    """A hundred at once are one request; another want is another."""
    made = await bench()
    token = made.publish()
    equal = [Want(WANT.client, tuple(WANT.scopes)) for _ in range(100)]
    assert await asyncio.gather(*map(made.service.obtain, [*equal, OTHER])) == [token] * 101
    assert len(made.web.sent) == 2


async def test_what_a_key_has_signed_goes_with_the_key() -> None:
    """A held token is verified by the keys that are: the service has another one now, and gives a token of it."""
    made = await bench()
    await made.service.obtain(WANT)
    other = TokenMint(kid="other")
    made.jwks.answer = json_answer(other.jwks())
    await made.keys.load()
    token = made.publish(other)
    assert made.service.recall(WANT, made.clock.now) is None
    assert await made.service.obtain(WANT) == token
    assert made.service.recall(WANT, made.clock.now) == token
    assert len(made.web.sent) == 2


async def test_what_the_newer_keys_prove_too_is_held_on() -> None:
    """One key more costs no exchange; nor do keys that nobody has: the token was good when it came."""
    made = await bench()
    token = await made.service.obtain(WANT)
    made.jwks.answer = json_answer(MINT.jwks(TokenMint(kid="other")))
    await made.keys.load()
    assert made.service.recall(WANT, made.clock.now) == token
    made.keys.current = None
    assert made.service.recall(WANT, made.clock.now) == token
    assert len(made.web.sent) == 1


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
    await asyncio.sleep(0)
    await made.settled()
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


async def test_a_token_that_ends_while_its_successor_is_asked_for() -> None:
    """Whoever wants it then waits for that one, and asks for no other."""
    made = await bench()
    made.publish()
    await made.service.obtain(WANT)
    made.web.gate.clear()
    made.clock.now += 290
    assert made.service.recall(WANT, made.clock.now) is not None
    made.clock.now += 10
    assert made.service.recall(WANT, made.clock.now) is None
    newer = made.publish(jti=2)
    waiting = asyncio.get_running_loop().create_task(made.service.obtain(WANT))
    await asyncio.sleep(0)
    made.web.gate.set()
    assert await waiting == newer
    assert len(made.web.sent) == 2


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
        (json_answer(b'{"error":"invalid_client"}', 401), TtsRefusedUs, "invalid_client"),
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


async def test_keys_that_are_given_up_while_the_service_is_asked() -> None:
    """What it gave cannot be verified any more: the trouble is ours, for a moment, and no fault of its."""
    made = await bench()
    made.publish()
    made.web.gate.clear()
    asking = asyncio.get_running_loop().create_task(made.service.obtain(WANT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    made.keys.current = None
    made.web.gate.set()
    with pytest.raises(KeysUnavailable):
        await asking


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


async def test_tokens_n_and_n_plus_1() -> None:
    """``cache_entries`` are held; for one more the oldest goes. One that was renewed is new."""
    made = await bench(entries=3)
    token = made.publish()
    wants = [Want("me", (str(number),)) for number in range(5)]
    for want in wants[:3]:
        await made.service.obtain(want)
    made.clock.now += 240
    assert made.service.recall(wants[0], made.clock.now) == token
    renewed = made.publish(txn="next")
    await made.settled()
    await made.service.obtain(wants[3])
    assert len(made.service._held) == 3
    assert made.service.recall(wants[0], made.clock.now) == renewed
    assert made.service.recall(wants[1], made.clock.now) is None


async def test_a_refresh_at_the_bound_pushes_nobody_out() -> None:
    """It takes its own place, and is the newest from then on."""
    made = await bench(entries=2)
    made.publish()
    for want in (WANT, OTHER):
        await made.service.obtain(want)
    made.clock.now += 245
    newer = made.publish(jti=2)
    assert made.service.recall(WANT, made.clock.now) is not None
    await made.settled()
    assert made.service.recall(WANT, made.clock.now) == newer
    assert list(made.service._held) == [OTHER, WANT]


async def test_tries_n_and_n_plus_1() -> None:
    """``MAX_TRIES`` under way, and one more is refused: none of them can be given up for it."""
    made = await bench()
    made.publish()
    made.web.gate.clear()
    loop = asyncio.get_running_loop()
    asking = [loop.create_task(made.service.obtain(Want("me", (str(number),)))) for number in range(MAX_TRIES)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await made.service.obtain(WANT)
    made.web.gate.set()
    await asyncio.gather(*asking)
    assert await made.service.obtain(WANT)
    assert not made.service._tried


async def test_a_flood_of_bad_tokens_pushes_no_good_one_out() -> None:
    """Who comes with thousands of access tokens that the service refuses fills a place of its own, which is bounded."""
    made = await bench(entries=2)
    token = made.publish()
    await made.service.obtain(WANT)
    made.web.answer = json_answer(b'{"error":"invalid_request"}', 400)
    for number in range(MAX_TRIES + 10):
        with pytest.raises(AccessTokenRefused):
            await made.service.obtain(Want("me", ("a",), subject(TYPES["access_token"], f"t{number}")))
    assert len(made.service._tried) == MAX_TRIES
    assert made.service.recall(WANT, made.clock.now) == token


async def test_what_a_token_is_bound_to() -> None:
    """Another client, subject, kind of subject, scope, detail or context is another want."""
    made = await bench()
    base = Want("me", ("a",), subject(TYPES["access_token"], "alice"), details='{"q":1}', context='{"ip":"1"}')
    await made.service.obtain(base)
    for other in (
        replace(base, client="you"),
        replace(base, scopes=("b",)),
        replace(base, subject=subject(TYPES["access_token"], "bob")),
        replace(base, subject=subject(TYPES["id_token"], "alice")),
        replace(base, subject=None),
        replace(base, scopes=("a", "b")),
        replace(base, details='{"q":2}'),
        replace(base, context='{"ip":"2"}'),
    ):
        assert made.service.recall(other, made.clock.now) is None
    assert made.service.recall(replace(base), made.clock.now) is not None
    assert replace(base, subject=subject(TYPES["access_token"], "alice", "https://tts")) != base
    assert "alice" not in repr(base)


async def test_a_token_that_is_revoked() -> None:
    """A held one is given up at once and asked for anew; one that is revoked already is not taken."""
    made = await bench()
    first = await made.service.obtain(WANT)
    made.revoked.add(first)
    assert made.service.recall(WANT, made.clock.now) is None
    with pytest.raises(TokenRevoked):
        await made.service.obtain(WANT)
    made.clock.now += FAILURE_S
    second = made.publish(txn="second")
    assert await made.service.obtain(WANT) == second
    assert made.service.recall(WANT, made.clock.now) == second


async def test_a_failure_answers_nobody_else() -> None:
    """Not who wants the same for another subject, from another fact, or for less; and they share no flight."""
    made = await bench()
    alice = Want("me", ("a", "b"), subject(TYPES["access_token"], "alice"), details='{"q":1}')
    others = [
        replace(alice, subject=subject(TYPES["access_token"], "bob")),
        replace(alice, details='{"q":2}'),
        replace(alice, scopes=("a",)),
    ]
    made.web.answer = json_answer(b'{"error":"invalid_request"}', 400)
    with pytest.raises(AccessTokenRefused):
        await made.service.obtain(alice)
    tokens = []
    for number, one in enumerate(others):
        tokens.append(made.publish(txn=str(number)))
        assert await made.service.obtain(one) == tokens[-1]
    with pytest.raises(AccessTokenRefused):
        await made.service.obtain(alice)
    assert [made.service.recall(one, made.clock.now) for one in others] == tokens
    assert len(made.web.sent) == 1 + len(others)


async def test_a_subject_that_the_service_refuses() -> None:
    """Our own refused is our configuration; one from outside is the caller's to mend."""
    made = await bench()
    for code in ("invalid_request", "invalid_grant"):
        made.web.answer = json_answer(compact_json({"error": code}), 400)
        made.clock.now += FAILURE_S
        with pytest.raises(TtsRefused):
            await made.service.obtain(WANT)
        with pytest.raises(AccessTokenRefused):
            await made.service.obtain(replace(WANT, subject=subject(TYPES["access_token"], "x")))
    made.web.answer = json_answer(b'{"error":"invalid_scope"}', 400)
    with pytest.raises(TtsRefused):
        await made.service.obtain(replace(WANT, subject=subject(TYPES["id_token"], "x")))


async def test_an_assertion_instead_of_a_certificate() -> None:
    """A JWT-SVID says who asks (specs 5.9); client_id is not sent beside it."""
    made = Bench()

    async def assertion() -> str:
        return "eyJ.svid.sig"

    made.service._assertion = assertion
    await made.keys.load()
    await made.service.obtain(WANT)
    form = dict(parse_qsl(made.web.sent[0].body.decode()))
    assert form["client_assertion"] == "eyJ.svid.sig"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
    assert "client_id" not in form


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"scope": "orders.write"}, False),  # not asked for
        ({"scope": "orders.read admin"}, False),
        ({"txn": "another"}, False),
        ({"sub": "mallory"}, False),
        ({"act": {"sub": "agent"}}, False),
        ({"tctx": {"quantity": 3, "hop": 1}}, True),  # values may be added,
        ({"tctx": {"hop": 1}}, True),  # and left out: that allows nothing
        ({"tctx": ABSENT}, True),
        ({"tctx": {"quantity": 4}}, False),
        ({"tctx": {"quantity": "3"}}, False),
        ({"tctx": {"quantity": True}}, False),
    ],
)
async def test_a_replacement(changes: dict[str, Any], holds: bool) -> None:  # noqa: FBT001
    """It may do less in the same transaction, and nothing else."""
    made = await bench()
    old = MINT.token(made.clock.now, scope="orders.read orders.write", tctx={"quantity": 3})
    want = Want("me", ("orders.read",), subject(TYPES["txn_token"], old.decode()))
    token = made.publish(**({"scope": "orders.read"} | changes))
    if holds:
        assert await made.service.obtain(want) == token
        return
    with pytest.raises(TtsBadAnswer, match="replacement"):
        await made.service.obtain(want)
    assert made.service.recall(want, made.clock.now) is None


def test_a_replacement_that_is_as_wide_as_was_asked() -> None:
    """And wider than what it replaces: who asks for too much by mistake does not get it either."""
    keys, expect, now = KeySet.parse(MINT.jwks()), Expect(audience="example.org"), Clock().now
    old, new = (verify(MINT.token(now, scope=scope), keys, now, expect) for scope in ("a b", "a c"))
    check_replacement(old, old, ("a", "b", "c"))
    check_replacement(replace(old, tctx=None), old, ("a", "b"))
    with pytest.raises(TtsBadAnswer, match="may do more"):
        check_replacement(old, new, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("act", "holds"),
    [
        ({"sub": "a", "iss": "https://one.example", "act": {"sub": "b"}}, True),
        ({"sub": "a", "iss": "https://one.example", "act": {"sub": "b"}, "note": 1}, True),  # names nobody
        ({"sub": "a", "iss": "https://two.example", "act": {"sub": "b"}}, False),
        ({"sub": "a", "act": {"sub": "b"}}, False),
        ({"sub": "a", "iss": "https://one.example", "act": {"sub": "b", "iss": "https://one.example"}}, False),
        ({"sub": "a", "iss": "https://one.example"}, False),
        (ABSENT, False),
    ],
)
def test_a_replacement_keeps_who_acts(act: object, holds: bool) -> None:  # noqa: FBT001
    """Every actor, by name and by who has named it: the same name from another issuer is another."""
    keys, expect, now = KeySet.parse(MINT.jwks()), Expect(audience="example.org"), Clock().now
    before = {"sub": "a", "iss": "https://one.example", "act": {"sub": "b"}}
    old, new = (verify(MINT.token(now, act=who), keys, now, expect) for who in (before, act))
    if holds:
        check_replacement(new, old, list(old.scopes))
        return
    with pytest.raises(TtsBadAnswer, match="act"):
        check_replacement(new, old, list(old.scopes))


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


async def test_a_jwt_svid_is_never_traded_unverified() -> None:
    """Without an agent's keys it is refused, and each time it is checked anew, whatever is held for it."""
    made = await bench()
    made.publish()
    want = Want("me", ("a",), subject(TYPES["jwt"], "a.b.c", "spiffe://example.org/tts"))
    for ask in (made.service.obtain(want), _recalled(made.service, want, made.clock.now)):
        with pytest.raises(KeysUnavailable, match="keys of an agent"):
            await ask
    assert made.web.sent == []
    checked: list[tuple[str, str]] = []
    made.service._check_svid = lambda token, audience: checked.append((token, audience))
    assert await made.service.obtain(want)
    assert made.service.recall(want, made.clock.now)
    assert set(checked) == {("a.b.c", "spiffe://example.org/tts")}
    made.service._check_svid = None
    with pytest.raises(KeysUnavailable):
        made.service.recall(want, made.clock.now)


async def _recalled(service: TokenService, want: Want, now: float) -> bytes | None:
    return service.recall(want, now)

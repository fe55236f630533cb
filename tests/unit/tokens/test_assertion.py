"""JWT-SVIDs for a token service: kept to half their life, asked for once, and never shown when they are bad."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pki import Authority
from support.tokens import TokenMint, compact_json

from proxy.errors import KeysUnavailable, TtsUnavailable
from proxy.identity.bundle import Bundle
from proxy.identity.settings import FilesSettings, IdentitySettings, WorkloadApiSettings
from proxy.identity.sources.files import FilesSource
from proxy.identity.sources.source import Told
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid
from proxy.tokens.assertion import Assertions, make_assertions
from proxy.tokens.exchange import Want, request_body
from proxy.tokens.settings import ServiceSettings
from proxy.workload_api.failure import CallFailed, Failure
from proxy.workload_api.messages import JWTSVID, JWTBundlesResponse, JWTSVIDResponse

AUDIENCE = "https://tts.example.org"
URI = "spiffe://example.org/orders"
MINT = TokenMint()


class Bench:
    """An agent in memory, and what we ask of it."""

    def __init__(self, **claims: Any) -> None:
        self.now = 1_800_000_000.0
        self.claims = claims
        self.asked: list[str] = []
        self.failure: CallFailed | None = None
        self.assertions = Assertions(AUDIENCE, self.ask, self.follow, lambda: self.now)
        self.assertions.take_bundles(self.bundles)

    @property
    def bundles(self) -> JWTBundlesResponse:
        """What the agent says of keys."""
        bundle = compact_json({"keys": [{**MINT.jwk, "use": "jwt-svid"}]})
        return JWTBundlesResponse(bundles={"spiffe://example.org": bundle})

    async def follow(self, take: Callable[[JWTBundlesResponse], None]) -> None:
        """The agent's stream."""
        take(self.bundles)

    async def ask(self, audience: str) -> JWTSVIDResponse:
        """The agent's call."""
        self.asked.append(audience)
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        claims = {"sub": URI, "aud": [AUDIENCE], "exp": int(self.now) + 300, "jti": len(self.asked), **self.claims}
        token = MINT.sign({"alg": "ES256", "kid": MINT.kid}, compact_json(claims))
        return JWTSVIDResponse(svids=(JWTSVID(spiffe_id=URI, svid=token.decode()),))


async def test_kept_to_half_its_life() -> None:
    """Then another one is asked for; for our audience alone."""
    bench = Bench()
    first = await bench.assertions.obtain()
    bench.now += 149
    assert await bench.assertions.obtain() == first
    bench.now += 1
    assert await bench.assertions.obtain() != first
    assert bench.asked == [AUDIENCE, AUDIENCE]


async def test_one_flight() -> None:
    """Whoever wants it meanwhile gets the same one."""
    bench = Bench()
    assert len(set(await asyncio.gather(*(bench.assertions.obtain() for _ in range(5))))) == 1
    assert len(bench.asked) == 1


async def test_forgotten_with_the_identity() -> None:
    """What was made for who we were is not shown by who we are."""
    bench = Bench()
    first = await bench.assertions.obtain()
    bench.assertions.forget()
    assert await bench.assertions.obtain() != first


async def test_one_that_was_asked_for_before_is_not_shown_after() -> None:
    """The identity becomes another one while the agent makes a JWT-SVID of the old one."""
    bench = Bench()

    async def forget() -> None:
        assert bench.asked == [AUDIENCE]
        bench.assertions.forget()

    shown, _ = await asyncio.gather(bench.assertions.obtain(), forget())
    assert bench.asked == [AUDIENCE, AUDIENCE]
    assert await bench.assertions.obtain() == shown


async def test_an_agent_that_gives_none() -> None:
    """Is asked again the next time."""
    bench = Bench()
    bench.failure = CallFailed(Failure.PERMISSION_DENIED, "it has none")
    with pytest.raises(TtsUnavailable, match="the agent gave no JWT-SVID: it has none"):
        await bench.assertions.obtain()
    bench.failure = None
    assert await bench.assertions.obtain()


async def test_without_keys() -> None:
    """It cannot be verified yet, so it is not shown."""
    bench = Bench()
    bench.assertions.take_bundles(JWTBundlesResponse())
    with pytest.raises(KeysUnavailable):
        await bench.assertions.obtain()
    assert bench.asked == []
    await bench.assertions.keep()
    assert await bench.assertions.obtain()


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": ["https://other"]}, "token_wrong_audience"),
        ({"aud": [AUDIENCE, "https://other"]}, "names other audiences too"),
        ({"exp": 1_700_000_000}, "token_expired"),
        ({"exp": 1_800_000_000}, "has ended"),
        ({"sub": "spiffe://other.org/orders"}, "unknown_trust_domain"),
    ],
)
async def test_what_its_receiver_would_refuse(claims: dict[str, Any], why: str) -> None:
    """Is told here; and the token is in no error."""
    with pytest.raises(TtsUnavailable, match=why) as refused:
        await Bench(**claims).assertions.obtain()
    assert "ey" not in refused.value.detail


def test_in_the_form() -> None:
    """Under the type of SPIFFE client authentication; without one, nothing of it."""
    want = Want(client=URI, scopes=("a",))
    assert b"client_assertion" not in request_body(want, "example.org")
    body = request_body(want, "example.org", assertion="x.y.z")
    kind = b"urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-spiffe"
    assert b"client_assertion_type=" + kind + b"&client_assertion=x.y.z" in body


async def test_where_they_are_made() -> None:
    """Where the token service asks for them and an agent can give them; another identity is not shown the old one's."""
    authority, store, now = Authority.make("example.org"), IdentityStore(), time.time()
    told = Told(
        loaded=lambda _ok, _detail: None,
        taken_back=lambda _why: None,
        stream=lambda _name, _up: None,
        failed=lambda _name, _kind: None,
    )
    agent = IdentitySettings(trust_domain="example.org", workload_api=WorkloadApiSettings(socket="unix:///agent.sock"))
    source = WorkloadApiSource(agent, store, time.time, lambda: 0.0, told)
    paths = FilesSettings(svid=Path("/c"), key=Path("/k"), bundle=Path("/b"))
    files = FilesSource(
        IdentitySettings(trust_domain="example.org", files=paths), store, time.time, lambda _ok, _why: None
    )
    asking = ServiceSettings(url="https://tts/", spiffe_id="spiffe://example.org/tts", jwt_svid_audience=AUDIENCE)
    silent = ServiceSettings(url="https://tts/", spiffe_id="spiffe://example.org/tts")
    for service, of in ((None, source), (silent, source), (asking, files)):
        assert make_assertions(service, of, store, time.time) is None
    made = make_assertions(asking, source, store, time.time)
    assert made is not None
    given = authority.svid(URI)
    bundle = Bundle.from_pem("example.org", authority.bundle_pem)
    for change in (
        lambda: store.replace(X509Svid.from_pem(given.chain_pem, given.key_pem), {"example.org": bundle}, now),
        store.withdraw,
    ):
        made._held, made._renew_at = "old", now + 1000
        assert await made.obtain() == "old"
        change()
        with pytest.raises(KeysUnavailable):
            await made.obtain()

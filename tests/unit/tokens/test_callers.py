"""JWT-SVIDs that are brought to be traded: believed by the keys of now, for the one audience, or refused."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
from support.tokens import TokenMint, compact_json

from proxy.errors import AccessTokenRefused, KeysUnavailable
from proxy.identity.settings import FilesSettings, IdentitySettings, WorkloadApiSettings
from proxy.identity.sources.files import FilesSource
from proxy.identity.sources.source import Told
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.identity.store import IdentityStore
from proxy.tokens import callers as module
from proxy.tokens.assertion import make_assertions
from proxy.tokens.callers import Callers, make_callers
from proxy.tokens.settings import AskSettings, ServiceSettings, SubjectSettings
from proxy.workload_api.messages import JWTBundlesResponse

TTS = "spiffe://example.org/tts"
URI = "spiffe://example.org/batch"
OWN, OTHER = TokenMint(number=1), TokenMint(number=2)


def bundle(*mints: TokenMint, use: str = "jwt-svid") -> bytes:
    """A JWK Set of a trust domain."""
    return compact_json({"keys": [{**mint.jwk, "use": use} for mint in mints]})


class Bench:
    """Callers of an agent that gives the keys of both domains."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.foreign: dict[str, bytes] = {}
        self.follows = 0
        self.callers = Callers(self.follow, lambda: self.foreign, lambda: self.now)

    async def follow(self, take: Callable[[JWTBundlesResponse], None]) -> None:
        """The agent's stream."""
        self.follows += 1
        self.give(take=take)

    def give(self, *mints: TokenMint, take: Callable[[JWTBundlesResponse], None] | None = None) -> None:
        """Give the keys of our own domain, and those of the other."""
        bundles = {"spiffe://example.org": bundle(*(mints or (OWN,))), "spiffe://other.org": bundle(OTHER)}
        (take or self.callers.take_bundles)(JWTBundlesResponse(bundles=bundles))

    def token(self, mint: TokenMint = OWN, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good JWT-SVID, changed."""
        head = {"alg": "ES256", "kid": mint.kid, "typ": "JWT", **(header or {})}
        return mint.sign(head, compact_json({"sub": URI, "aud": [TTS], "exp": int(self.now) + 300, **claims})).decode()

    def refusal(self, token: str, audience: str = TTS) -> str:
        """The detail of its refusal."""
        with pytest.raises(AccessTokenRefused) as refused:
            self.callers.check(token, audience)
        return refused.value.detail.removeprefix("the JWT-SVID is refused: ")


@pytest.fixture(name="bench")
def _bench() -> Bench:
    made = Bench()
    made.give()
    return made


def test_a_good_one(bench: Bench) -> None:
    """It says whose it is, again and again; one of a foreign domain by that domain's keys."""
    token = bench.token()
    assert str(bench.callers.check(token, TTS).spiffe_id) == URI
    assert bench.callers.check(token, TTS) is bench.callers.check(token, TTS)
    foreign = bench.token(OTHER, sub="spiffe://other.org/batch")
    assert bench.callers.check(foreign, TTS).spiffe_id.trust_domain == "other.org"


def test_what_is_not_believed(bench: Bench) -> None:
    """Each rule of specs 2.3 that a stranger could try, with its reason."""
    assert bench.refusal(bench.token(aud=["spiffe://example.org/edge"])) == "token_wrong_audience"
    assert bench.refusal(bench.token(), "spiffe://example.org/other") == "token_wrong_audience"
    assert bench.refusal(bench.token(exp=int(bench.now) - 11)) == "token_expired"
    assert bench.refusal(bench.token(exp=None)) == "token_claims_invalid"
    assert bench.refusal(bench.token(header={"typ": "txntoken+jwt"})) == "token_wrong_type"
    assert bench.refusal(bench.token(header={"jwk": {}})) == "token_malformed"
    assert bench.refusal(bench.token(header={"alg": "none"})).startswith("token_")
    assert bench.refusal(bench.token(OTHER)) in {"token_bad_signature", "token_unknown_key"}
    assert bench.refusal(bench.token(sub="spiffe://other.org/batch")) in {"token_bad_signature", "token_unknown_key"}
    assert bench.refusal(bench.token(sub="spiffe://third.org/batch")) == "unknown_trust_domain"
    assert bench.refusal(bench.token(sub="batch")) == "token_claims_invalid"
    assert bench.refusal("a.b.c") == "token_malformed"


def test_what_was_believed_ends_with_it_and_with_its_key(bench: Bench) -> None:
    """Its end is compared each time; a key that is gone takes all that it signed with it, at once."""
    token = bench.token()
    bench.callers.check(token, TTS)
    bench.give(TokenMint(kid="key-2", number=3))
    assert bench.refusal(token) == "token_unknown_key"
    bench.give()
    bench.callers.check(token, TTS)
    bench.now += 309
    bench.callers.check(token, TTS)
    bench.now += 1
    assert bench.refusal(token) == "token_expired"


def test_what_is_fetched_lies_over_what_the_agent_gives(bench: Bench) -> None:
    """And comes into use when it does: the newest keys of a foreign domain are those that it publishes."""
    newer = TokenMint(kid="key-2", number=4)
    token = bench.token(newer, sub="spiffe://other.org/batch")
    assert bench.refusal(token) in {"token_bad_signature", "token_unknown_key"}
    bench.foreign = {"other.org": bundle(newer)}
    bench.callers.check(token, TTS)
    assert bench.refusal(bench.token(OTHER, sub="spiffe://other.org/batch")).startswith("token_")


def test_what_is_fetched_and_cannot_be_used_leaves_nothing(bench: Bench) -> None:
    """The agent's keys of that domain do not come back for it: they may be those that were taken back."""
    bench.callers.check(bench.token(OTHER, sub="spiffe://other.org/batch"), TTS)
    bench.foreign = {"other.org": b"{}"}
    assert bench.refusal(bench.token(OTHER, sub="spiffe://other.org/batch")) == "unknown_trust_domain"
    bench.callers.check(bench.token(), TTS)


def test_who_gives_the_keys() -> None:
    """An agent, by a stream of ours or by the one that assertions follow already; files give none."""
    store = IdentityStore()
    agent = IdentitySettings(trust_domain="example.org", workload_api=WorkloadApiSettings(socket="unix:///agent.sock"))
    told = Told(
        loaded=lambda _ok, _detail: None,
        taken_back=lambda _why: None,
        stream=lambda _name, _up: None,
        failed=lambda _name, _kind: None,
    )
    source = WorkloadApiSource(agent, store, lambda: 0.0, lambda: 0.0, told)
    files = IdentitySettings(
        trust_domain="example.org", files=FilesSettings(svid=Path("/c"), key=Path("/k"), bundle=Path("/b"))
    )
    bench = Bench()
    assert make_callers(FilesSource(files, store, lambda: 0.0, lambda _ok, _why: None), None, dict, time) is None
    alone = make_callers(source, None, lambda: bench.foreign, lambda: bench.now)
    assert alone is not None
    with pytest.raises(KeysUnavailable):
        alone.check(bench.token(), TTS)
    assertions = make_assertions(
        ServiceSettings(url="https://tts/", spiffe_id=TTS, jwt_svid_audience=TTS), source, store, lambda: bench.now
    )
    assert assertions is not None
    shared = make_callers(source, assertions, lambda: bench.foreign, lambda: bench.now)
    assert shared is not None
    bench.give(take=assertions.take_bundles)
    assert str(shared.check(bench.token(), TTS).spiffe_id) == URI


def test_without_keys_nobody_is_believed() -> None:
    """Not yet told is another reason than an empty bundle."""
    bench = Bench()
    with pytest.raises(KeysUnavailable):
        bench.callers.check(bench.token(), TTS)
    bench.callers.take_bundles(JWTBundlesResponse(bundles={}))
    assert bench.refusal(bench.token()) == "unknown_trust_domain"


@pytest.mark.parametrize("by", ["settings", "first token"])
async def test_the_keys_are_followed_when_they_are_wanted(by: str) -> None:
    """By a route that takes JWT-SVIDs, or by the first one that is brought; nobody else pays for the stream."""
    bench = Bench()
    keeping = asyncio.get_running_loop().create_task(bench.callers.keep())
    await asyncio.sleep(0.01)
    bench.callers.want([None, AskSettings(scope=("a",)), AskSettings(scope=("a",), subject=SubjectSettings())])
    await asyncio.sleep(0.01)
    assert bench.follows == 0
    if by == "settings":
        subject = SubjectSettings(type="jwt_svid", audience=TTS)
        bench.callers.want([AskSettings(scope=("a",), subject=subject)])
    else:
        with pytest.raises(KeysUnavailable):
            bench.callers.check(bench.token(), TTS)
    await keeping
    assert bench.follows == 1
    bench.callers.check(bench.token(), TTS)


def test_what_is_remembered_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """At n all are; one more, and it begins anew."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    tokens = [bench.token(jti=str(number)) for number in range(3)]
    first, second = (bench.callers.check(token, TTS) for token in tokens[:2])
    assert [bench.callers.check(token, TTS) for token in tokens[:2]] == [first, second]
    assert bench.callers.check(tokens[0], TTS) is first
    bench.callers.check(tokens[2], TTS)
    assert bench.callers.check(tokens[0], TTS) is not first

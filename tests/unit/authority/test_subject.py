"""Subject tokens, replacement and their issuers: each rule of specs 1.9 and 1.12, from the side of who would break it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.fetch import Clock, Web, json_answer
from support.tokens import ABSENT, TokenMint

from proxy.authority.issue import EXCHANGE, ClientRules, Rules, issue
from proxy.authority.issuers import IssuerSettings, Subjects
from proxy.authority.keys import jwks, make_key, sign
from proxy.authority.refusal import TokenRefused
from proxy.authority.subject import (
    ACCESS_TOKEN,
    ID_TOKEN,
    JWT,
    MAX_BYTES,
    SELF_SIGNED,
    Brought,
    IssuerRules,
    verify_subject,
)
from proxy.errors import KeysUnavailable, TokenExpired, UpstreamDown
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.keys import KeySet
from proxy.tokens.subject import REFRESH_TOKEN, TXN_TOKEN, TYPES
from proxy.tokens.verify import Expect, verify

TD = "example.org"
EDGE, ORDERS = f"spiffe://{TD}/edge", f"spiffe://{TD}/orders"
NOW = 1_700_000_000.0
LOGIN = "https://login.example.com"
TTS = f"spiffe://{TD}/tts"
IDP = TokenMint(kid="idp", audience="https://orders.example.com")
SELF = TokenMint(kid="self", audience=TTS)
KEY = make_key(NOW - 100)
RULES = Rules(
    trust_domain=TD,
    issuer=TTS,
    lifetime_s=300,
    clients={
        EDGE: ClientRules(
            scopes=frozenset({"orders.read", "orders.write", "admin"}),
            context=True,
            issuers=frozenset({LOGIN}),
            svids=True,
            subjects=("robot",),
        ),
        ORDERS: ClientRules(scopes=frozenset({"orders.read"}), replaces=True, context=True, issuers=frozenset({EDGE})),
    },
)
ISSUER = IssuerRules(
    issuer=LOGIN,
    kinds=frozenset({ACCESS_TOKEN, ID_TOKEN}),
    audience="https://orders.example.com",
    prefix="user:",
    scopes={"orders": frozenset({"orders.read", "orders.write"}), "profile": frozenset()},
)
OF_EDGE = IssuerRules(issuer=EDGE, kinds=frozenset({SELF_SIGNED}), audience=TTS, prefix="")


def peer(uri: str) -> Peer:
    """A verified workload of the domain."""
    return Peer(spiffe_id=SpiffeId.parse(uri), uri=uri, certificate_sha256="0" * 64, serial=1, not_after=NOW + 60)


def access(mint: TokenMint = IDP, typ: object = "at+jwt", **claims: object) -> str:
    """A good access token, changed."""
    good: dict[str, object] = {"iss": LOGIN, "sub": "7", "scope": "orders profile", "client_id": "web", "jti": "1"}
    return mint.token(NOW, header={"typ": typ}, **(good | claims)).decode()


class Bench:
    """A token service in memory, with an issuer whose keys come from a web in memory."""

    def __init__(self, rules: IssuerRules = ISSUER) -> None:
        self.clock = Clock(NOW)
        self.web = Web(json_answer(IDP.jwks()))
        self.subjects = Subjects(
            [
                IssuerSettings(rules=rules, keys=f"{LOGIN}/jwks"),
                IssuerSettings(rules=OF_EDGE, keys="https://edge/jwks"),
            ],
            self.web,
            self.clock,
            own_keys=lambda: jwks([KEY]),
            trust_domain=TD,
            issuer=TTS,
            svid=self.svid,
        )

    def svid(self, raw: bytes, now: float) -> Brought:
        """Read a JWT-SVID of a workload that may ask for one thing."""
        if b"expired" in raw:
            raise TokenExpired
        exp = now if b"ends-now" in raw else now + 60  # within the leeway of whoever verifies JWT-SVIDs
        return Brought(sub=f"spiffe://{TD}/batch", exp=exp, scopes=frozenset({"orders.read"}))

    async def ask(self, token: str, kind: str = ACCESS_TOKEN, who: str = EDGE, **form: str) -> dict[str, Any]:
        """Bring a token; give the claims of what it was traded for."""
        for _, keys in self.subjects._issuers.values():
            if keys.current is None:
                await keys.load()
        brought = await self.subjects.read(kind, token.encode(), RULES.clients[who], who, self.clock.now)
        asked = {
            "grant_type": EXCHANGE,
            "requested_token_type": TXN_TOKEN,
            "audience": TD,
            "scope": "orders.read",
            "subject_token": token,
            "subject_token_type": kind,
        } | form
        return issue(asked, peer(who), RULES, self.clock.now, "txn-1", brought)


async def refused(bench: Bench, *arguments: Any, **form: Any) -> str:
    """The code of the refusal."""
    with pytest.raises(TokenRefused) as caught:
        await bench.ask(*arguments, **form)
    assert "eyJ" not in caught.value.description
    return caught.value.error


async def test_an_access_token() -> None:
    """It becomes a transaction of that person, under our name for them, and ends with it."""
    claims = await Bench().ask(access(exp=int(NOW) + 60))
    assert claims == {
        "iss": TTS,
        "aud": TD,
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "txn": "txn-1",
        "sub": "user:7",
        "scope": "orders.read",
        "req_wl": EDGE,
    }


async def test_scope_is_bounded_by_both() -> None:
    """What the workload may ask for, and what the token carries; unknown is never unlimited."""
    bench = Bench()
    assert (await bench.ask(access(), scope="orders.read orders.write"))["scope"] == "orders.read orders.write"
    assert await refused(bench, access(), scope="admin") == "invalid_scope"  # the workload may, the token may not
    for scope in ("profile", "orders.read", "ORDERS", "", ABSENT):
        assert await refused(bench, access(scope=scope)) == "invalid_scope"
    assert await refused(bench, access(scope=["orders"])) == "invalid_request"
    always = Bench(replace(ISSUER, always=frozenset({"orders.read"})))
    assert (await always.ask(access(typ="JWT", scope=ABSENT), ID_TOKEN))["scope"] == "orders.read"


@pytest.mark.parametrize(
    "token",
    [
        access(TokenMint(kid="idp", number=5, audience=IDP.audience)),  # forged
        access(iss="https://other.example.com"),
        access(iss=ABSENT),
        access(iss=""),
        access(iss=[LOGIN]),
        access(iss={}),
        access(aud="https://other.example.com"),
        access(aud=ABSENT),
        access(aud=TD),
        access(aud=[]),
        access(aud=[TD]),
        access(aud=[[ISSUER.audience]]),
        access(aud={ISSUER.audience: 1}),
        access(aud=ISSUER.audience + "/more"),
        access(aud=ISSUER.audience[:-1]),
        access(exp=int(NOW)),
        access(exp=NOW + 0.5),  # good now, and nothing could be issued that ends with it
        access(exp=ABSENT),
        access(exp="never"),
        access(iat=int(NOW) + 60),
        access(iat=ABSENT),
        access(nbf=int(NOW) + 60),
        access(iat=NOW + 2.5),
        access(nbf=NOW + 2.5),
        access(iat=True),
        access(exp=True),
        access(exp=str(int(NOW) + 60)),
        access(sub=ABSENT),
        access(sub=""),
        access(sub=7),
        access(sub="a\nb"),
        access(sub="x" * 255),  # with the prefix too long
        access(typ="JWT"),
        access(typ=ABSENT),
        access(typ="txntoken+jwt"),
        access(typ=1),
        access(act={}),
        access(act={"sub": "a", "act": {"sub": "a"}}),
        "opaque",
        "a.b.c",
        *(token.decode("latin-1") for token in IDP.garbage(NOW).values() if token.isascii()),
    ],
)
async def test_access_tokens_that_are_refused(token: str) -> None:
    """All of them alike: a bad subject token is an invalid request (RFC 8693 section 2.2.2)."""
    assert await refused(Bench(), token) == "invalid_request"


async def test_times_and_audiences_that_are_taken() -> None:
    """The last second of the leeway at the beginning; none at the end; one audience of several."""
    bench = Bench()
    for claims in ({"iat": NOW + 2}, {"nbf": NOW + 2}, {"exp": NOW + 1}, {"aud": [TD, ISSUER.audience]}):
        assert await bench.ask(access(**claims))
    keys = KeySet.parse(IDP.jwks())
    for exp in (NOW, NOW - 1):  # by the token's own end, whatever would come of it
        with pytest.raises(TokenRefused, match="expired"):
            verify_subject(access(exp=exp).encode(), ACCESS_TOKEN, keys, ISSUER, NOW)


async def test_the_size_of_a_subject_token() -> None:
    """The last byte that is read, and one more that is not."""
    for size, why in ((MAX_BYTES, "not a JWT"), (MAX_BYTES + 1, "larger than")):
        with pytest.raises(TokenRefused, match=why):
            await Bench().ask("x" * size)


async def test_kinds_are_not_swapped() -> None:
    """A token is taken as what its typ says it is, and a refresh token as nothing."""
    bench = Bench()
    for kind in (ID_TOKEN, JWT, TYPES["saml2"], REFRESH_TOKEN, "urn:unknown"):
        assert await refused(bench, access(), kind) == "invalid_request"
    assert (await Bench(replace(ISSUER, plain_typ=True)).ask(access(typ=ABSENT)))["sub"] == "user:7"
    assert await refused(Bench(replace(ISSUER, plain_typ=True)), access(typ="txntoken+jwt")) == "invalid_request"


async def test_kinds_that_the_issuer_does_not_sign() -> None:
    """A token that is good as what it is: the configuration says what is taken of this issuer, and it is not that."""
    plain = access(typ="JWT", scope="orders")
    assert (await Bench(replace(ISSUER, kinds=frozenset({ID_TOKEN}))).ask(plain, ID_TOKEN))["sub"] == "user:7"
    for kinds, asked in (((ACCESS_TOKEN,), ID_TOKEN), ((ACCESS_TOKEN, ID_TOKEN), JWT), ((JWT,), ID_TOKEN)):
        assert await refused(Bench(replace(ISSUER, kinds=frozenset(kinds))), plain, asked) == "invalid_request"


def test_the_keys_of_one_issuer_sign_for_no_other() -> None:
    """Whatever keys it is verified with, ``iss`` must be the issuer whose they are."""
    keys = KeySet.parse(IDP.jwks())
    assert verify_subject(access().encode(), ACCESS_TOKEN, keys, ISSUER, NOW).sub == "user:7"
    with pytest.raises(TokenRefused, match="another issuer"):
        verify_subject(access(iss="https://b").encode(), ACCESS_TOKEN, keys, ISSUER, NOW)


async def test_who_may_bring_what() -> None:
    """Only the workload that the configuration names for that issuer."""
    assert await refused(Bench(), access(), ACCESS_TOKEN, ORDERS) == "invalid_request"


async def test_keys_of_an_issuer() -> None:
    """Missing is our trouble and no fault of the token's; a new one is learned; an unknown one is refused."""
    bench = Bench()
    bench.web.answer = UpstreamDown()
    with pytest.raises(KeysUnavailable):
        await bench.ask(access())
    bench.web.answer = json_answer(IDP.jwks())
    bench.clock.now += 10
    assert await bench.ask(access())
    new = TokenMint(kid="new", audience=IDP.audience)
    assert await refused(bench, access(new)) == "invalid_request"
    bench.web.answer = json_answer(IDP.jwks(new))
    bench.clock.now += 10
    assert await bench.ask(access(new))
    bench.web.answer = UpstreamDown()
    bench.clock.now += 10
    with pytest.raises(KeysUnavailable):
        await bench.ask(access(TokenMint(kid="newest", audience=IDP.audience)))


async def test_agents() -> None:
    """The actors of the token stay; where the client is an agent it acts, and the person stays the subject."""
    act = {"sub": "agent-2", "act": {"sub": "agent-1"}}
    assert (await Bench().ask(access(act=act)))["act"] == act
    agents = Bench(replace(ISSUER, client_acts=True))
    claims = await agents.ask(access(client_id="agent-7"))
    assert (claims["sub"], claims["act"]) == ("user:7", {"sub": "agent-7"})
    assert (await agents.ask(access(act=act)))["act"] == act
    for client in (ABSENT, "", "a\nb", 7, ["agent-7"]):
        assert await refused(agents, access(client_id=client)) == "invalid_request"


async def test_self_signed() -> None:
    """A workload's own word: for whom it may speak, what it may ask for, and nobody else's."""
    bench = Bench()
    bench.web.answer = json_answer(IDP.jwks(SELF))
    own = {"iss": EDGE, "sub": "robot", "scope": ABSENT}
    assert (await bench.ask(access(SELF, "JWT", **own), SELF_SIGNED))["sub"] == "robot"
    assert await refused(bench, access(SELF, "JWT", **(own | {"sub": "alice"})), SELF_SIGNED) == "invalid_request"
    for_orders = access(SELF, "JWT", **(own | {"sub": ORDERS}))  # whom orders may name, but nobody else vouches for
    assert await refused(bench, for_orders, SELF_SIGNED, ORDERS) == "invalid_request"
    assert await refused(bench, access(SELF, "JWT", **(own | {"aud": TD})), SELF_SIGNED) == "invalid_request"
    unknown = access(SELF, "JWT", **(own | {"iss": ORDERS}))  # its own word, and no key of it is configured
    assert await refused(bench, unknown, SELF_SIGNED, ORDERS) == "invalid_request"


async def test_a_jwt_svid() -> None:
    """Of another workload, where this one may bring such; it carries what that workload may ask for itself."""
    bench = Bench()
    token = access(TokenMint(kid="svid"), "JWT", iss=ABSENT)
    assert (await bench.ask(token, JWT))["sub"] == f"spiffe://{TD}/batch"
    assert await refused(bench, token, JWT, scope="orders.write") == "invalid_scope"
    assert await refused(bench, "expired.a.b", JWT) == "invalid_request"
    with pytest.raises(TokenRefused, match="expired"):
        await bench.ask("ends-now.a.b", JWT)
    assert await refused(bench, token, JWT, ORDERS) == "invalid_request"


def txn_token(**claims: object) -> str:
    """One of our own tokens."""
    good: dict[str, object] = {
        "iss": TTS,
        "aud": TD,
        "iat": int(NOW),
        "exp": int(NOW) + 100,
        "txn": "txn-0",
        "sub": "user:7",
        "scope": "orders.read orders.write",
        "req_wl": EDGE,
        "tctx": {"quantity": 100},
        "rctx": {"req_ip": "192.0.2.1"},
        "act": {"sub": "agent-1"},
    }
    return sign(KEY, {name: value for name, value in (good | claims).items() if value is not ABSENT})


async def test_a_replacement() -> None:
    """Less scope; the same transaction of the same person through the same agent; who asked before is kept."""
    claims = await Bench().ask(txn_token(), TXN_TOKEN, ORDERS, request_details='{"hop":2}')
    assert claims["scope"] == "orders.read"
    assert (claims["txn"], claims["sub"], claims["aud"], claims["act"]) == ("txn-0", "user:7", TD, {"sub": "agent-1"})
    assert claims["tctx"] == {"quantity": 100, "hop": 2}
    assert claims["rctx"] == {"req_ip": "192.0.2.1", "req_wl": [EDGE]}
    assert (claims["req_wl"], claims["exp"]) == (ORDERS, int(NOW) + 100)
    again = await Bench().ask(sign(KEY, claims), TXN_TOKEN, ORDERS)
    assert again["rctx"]["req_wl"] == [EDGE, ORDERS]
    verified = verify(sign(KEY, again).encode(), KeySet.parse(jwks([KEY])), NOW, Expect(audience=TD, issuer=TTS))
    assert verified.txn == "txn-0"


async def test_replacements_at_their_limits() -> None:
    """The last requester, hop and agent that have room; a fact that is said again stays as it stands."""
    chain = {"txn_path": [f"agent-{number}" for number in range(15)], "hop_count": 15}
    token = txn_token(rctx={"req_wl": [EDGE] * 15}, agentic_ctx={"chain_metadata": chain}, tctx={"a": 1, "b": [1]})
    claims = await Bench().ask(token, TXN_TOKEN, ORDERS, request_details='{"a":1.0,"b":[1]}')
    assert len(claims["rctx"]["req_wl"]) == 16
    assert claims["agentic_ctx"]["chain_metadata"] == {"txn_path": [*chain["txn_path"], ORDERS], "hop_count": 16}  # type: ignore[misc]
    assert json.dumps(claims["tctx"]) == '{"a": 1, "b": [1]}'
    claims = await Bench().ask(txn_token(rctx={"req_wl": "first,second"}), TXN_TOKEN, ORDERS)
    assert claims["rctx"]["req_wl"] == ["first,second", EDGE]


@pytest.mark.parametrize(
    ("token", "form", "code"),
    [
        (txn_token(), {"scope": "orders.write"}, "invalid_scope"),  # the token has it, the workload has not
        (txn_token(scope="orders.write"), {}, "invalid_scope"),  # the workload has it, the token has not
        (txn_token(exp=int(NOW)), {}, "invalid_request"),
        (txn_token(exp=int(NOW) - 1), {}, "invalid_request"),
        (txn_token(aud="other.org"), {}, "invalid_request"),
        (txn_token(iss="spiffe://other.org/tts"), {}, "invalid_request"),
        (txn_token(iss=ABSENT), {}, "invalid_request"),
        (txn_token(), {"request_details": '{"quantity":1}'}, "invalid_request"),
        (txn_token(tctx={"n": 1}), {"request_details": '{"n":true}'}, "invalid_request"),
        (txn_token(tctx={"n": True}), {"request_details": '{"n":1}'}, "invalid_request"),
        (txn_token(tctx={"n": [0]}), {"request_details": '{"n":[false]}'}, "invalid_request"),
        (txn_token(tctx={"n": {"m": 1}}), {"request_details": '{"n":{"m":1,"o":2}}'}, "invalid_request"),
        (txn_token(tctx={"n": None}), {"request_details": '{"n":1}'}, "invalid_request"),
        (txn_token(), {"request_context": '{"req_ip":"1"}'}, "invalid_request"),
        (txn_token(), {"request_context": '{"req_wl":[]}'}, "invalid_request"),
        (txn_token(agentic_ctx={"chain_metadata": {"txn_path": [ORDERS]}}), {}, "invalid_request"),
        (txn_token(agentic_ctx={"chain_metadata": {"hop_count": 16}}), {}, "invalid_request"),
        (txn_token(agentic_ctx={"chain_metadata": {"txn_path": [f"a{n}" for n in range(16)]}}), {}, "invalid_request"),
        (txn_token(rctx={"req_wl": [EDGE] * 16}), {}, "invalid_request"),
        (access(), {}, "invalid_request"),
        (TokenMint(kid=KEY.kid).token(NOW, iss=TTS).decode(), {}, "invalid_request"),
    ],
)
async def test_replacements_that_are_refused(token: str, form: dict[str, str], code: str) -> None:
    """Wider, dead, foreign, forged, changed, in a circle."""
    assert await refused(Bench(), token, TXN_TOKEN, ORDERS, **form) == code


async def test_who_may_replace() -> None:
    """Only who the configuration says."""
    assert await refused(Bench(), txn_token(), TXN_TOKEN, EDGE) == "invalid_request"


async def test_an_agent_that_hands_on() -> None:
    """It is appended to the path, once."""
    context = {"chain_metadata": {"txn_path": ["agent-1"], "hop_count": 1, "min_assurance_level": "low"}}
    claims = await Bench().ask(txn_token(agentic_ctx=context), TXN_TOKEN, ORDERS)
    chain = claims["agentic_ctx"]["chain_metadata"]
    assert chain == {"txn_path": ["agent-1", ORDERS], "hop_count": 2, "min_assurance_level": "low"}
    assert await refused(Bench(), sign(KEY, claims), TXN_TOKEN, ORDERS) == "invalid_request"
    assert json.dumps(claims)

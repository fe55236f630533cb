"""The endpoints, as a handler: methods, media types, words of the standards."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from support.fetch import Clock, Web, json_answer
from support.tokens import TokenMint

from proxy.authority.bundle import publish
from proxy.authority.ca import make_root
from proxy.authority.issue import EXCHANGE, TXN_TOKEN, UNSIGNED_JSON, ClientRules, Rules
from proxy.authority.issuers import IssuerSettings, Subjects
from proxy.authority.keys import make_key
from proxy.authority.server import FORM, Endpoints
from proxy.authority.subject import ACCESS_TOKEN, IssuerRules
from proxy.control.message import Request, Response
from proxy.identity.bundle import Bundle
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.exchange import read_answer
from proxy.tokens.fetch import Answer
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, kid_of, verify

TD = "example.org"
NOW = 1_700_000_000.0
EDGE = SpiffeId.parse(f"spiffe://{TD}/edge")
ROOT = make_root(TD, NOW)
KEYS = (make_key(NOW - 10), make_key(NOW + 10))
PEER = Peer(spiffe_id=EDGE, uri=str(EDGE), certificate_sha256="0" * 64, serial=1, not_after=NOW + 60)
ENDPOINTS = Endpoints(
    rules=Rules(
        trust_domain=TD,
        issuer=f"spiffe://{TD}/tts",
        lifetime_s=120,
        clients={str(EDGE): ClientRules(scopes=frozenset({"a"}))},
    ),
    bundle=lambda: publish(ROOT, KEYS, None, NOW).document(300),
    keys=lambda: KEYS,
    now=lambda: NOW,
    txn=lambda: "txn-1",
)
GOOD = {
    "grant_type": EXCHANGE,
    "requested_token_type": TXN_TOKEN,
    "audience": TD,
    "scope": "a",
    "subject_token": json.dumps({"sub": str(EDGE)}),
    "subject_token_type": UNSIGNED_JSON,
}


async def post(
    body: bytes | None = None, *, kind: str | None = FORM, query: str = "", peer: Peer | None = PEER, **fields: str
) -> Response:
    """Ask for a token."""
    given = fields | ({"content-type": kind} if kind is not None else {})
    return await ENDPOINTS(
        Request("POST", "/token", query, given, urlencode(GOOD).encode() if body is None else body, peer)
    )


def error(response: Response) -> str:
    """The code of a refusal, whose form is that of RFC 6749 section 5.2."""
    document = json.loads(response.body)
    assert (response.status, response.content_type) == (400, "application/json")
    assert ("Cache-Control", "no-store") in response.fields
    assert set(document) == {"error", "error_description"}
    return str(document["error"])


async def test_a_token_end_to_end() -> None:
    """Our own client reads the answer, our own verifier the token; it is signed by the key whose time has come."""
    response = await post()
    assert (response.status, response.content_type) == (200, "application/json")
    assert ("Cache-Control", "no-store") in response.fields
    assert json.loads(response.body)["expires_in"] == 120
    raw = read_answer(Answer(200, {"content-type": response.content_type}, response.body))
    published = await ENDPOINTS(Request("GET", "/jwks"))
    assert published.content_type == "application/jwk-set+json"
    assert [key["kid"] for key in json.loads(published.body)["keys"]] == [key.kid for key in KEYS]
    token = verify(raw, KeySet.parse(published.body), NOW, Expect(audience=TD))
    assert (token.txn, token.exp - token.iat) == ("txn-1", 120)
    assert kid_of(raw) == KEYS[0].kid


async def test_a_subject_token_that_ends_while_its_key_is_fetched() -> None:
    """It has ended when something would be issued for it (specs 1.9), whatever it was when it came."""
    clock, first, second = (
        Clock(NOW),
        TokenMint(kid="1", audience="https://a"),
        TokenMint(kid="2", audience="https://a"),
    )
    web = Web(json_answer(first.jwks()))
    rules = IssuerRules(
        issuer="https://login", kinds=frozenset({ACCESS_TOKEN}), audience="https://a", prefix="", always=frozenset("a")
    )
    subjects = Subjects(
        [IssuerSettings(rules=rules, keys="https://login/jwks")],
        web,
        clock,
        own_keys=lambda: b"",
        trust_domain=TD,
        issuer="https://tts",
    )
    ((_, keys),) = subjects._issuers.values()
    await keys.load()
    client = ClientRules(scopes=frozenset({"a"}), issuers=frozenset({"https://login"}))
    endpoints = replace(
        ENDPOINTS, rules=replace(ENDPOINTS.rules, clients={str(EDGE): client}), now=clock, subjects=subjects
    )
    web.answer = json_answer(first.jwks(second))
    for waits_s, status in ((0, 200), (5, 400)):
        token = second.token(NOW, header={"typ": "at+jwt"}, iss="https://login", exp=int(NOW) + 4).decode()
        form = GOOD | {"subject_token": token, "subject_token_type": ACCESS_TOKEN}
        keys.current = KeySet.parse(first.jwks())
        keys._learned_at = None
        web.gate.clear()
        asked = Request("POST", "/token", "", {"content-type": FORM}, urlencode(form).encode(), PEER)
        asking = asyncio.create_task(endpoints(asked))  # noqa: TID251 - awaited below
        await asyncio.sleep(0.01)
        clock.now += waits_s
        web.gate.set()
        assert (await asking).status == status
    await subjects.close()


@pytest.mark.parametrize("kind", [FORM.upper(), FORM + "; charset=utf-8", FORM + ";x"])
async def test_media_types_that_are_a_form(kind: str) -> None:
    """Case does not matter, parameters neither (RFC 9110 section 8.3.1)."""
    assert (await post(kind=kind)).status == 200


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain", FORM + ", text/plain"]
)
async def test_media_types_that_are_none(kind: str | None) -> None:
    """A form under another name is not read; what a web page may send across sites is not taken."""
    assert error(await post(kind=kind)) == "invalid_request"


async def test_two_of_a_parameter() -> None:
    """Two scopes, two audiences: refused, not chosen from."""
    body = urlencode(GOOD).encode()
    for twice in (b"&scope=a", b"&audience=example.org", b"&%73cope=b", b"&subject_token={}"):
        assert error(await post(body + twice)) == "invalid_request"


async def test_parameters_in_the_url_are_refused() -> None:
    """They would stand in logs (RFC 6749 section 2.3.1), and could say otherwise than the body."""
    assert error(await post(query="scope=b")) == "invalid_request"


async def test_an_authorization_field_is_refused() -> None:
    """One way to authenticate, which is the certificate."""
    assert error(await post(authorization="Basic ZWRnZTpwdw==")) == "invalid_request"


async def test_without_a_peer_nothing_is_issued() -> None:
    """Should the server ever be built without identities."""
    assert error(await post(peer=None)) == "invalid_client"


async def test_refusals_are_logged_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Who, and why; never a token, never a subject."""
    caplog.set_level("INFO")
    secret = "user:very-private"
    await post(urlencode(GOOD | {"subject_token": json.dumps({"sub": secret})}).encode())
    response = await post()
    assert "token refused: client=spiffe://example.org/edge error=invalid_request" in caplog.text
    assert "token issued: client=spiffe://example.org/edge txn=txn-1 scope=a" in caplog.text
    assert "very-private" not in caplog.text
    assert json.loads(response.body)["access_token"].split(".")[2] not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        *(("GET", "/token", 405, "POST"), ("PUT", "/token", 405, "POST"), ("POST", "/jwks", 405, "GET, HEAD")),
        *(("DELETE", "/bundle", 405, "GET, HEAD"), ("GET", "/", 404, None), ("GET", "/token/", 404, None)),
        *(("GET", "/JWKS", 404, None), ("GET", "//jwks", 404, None), ("OPTIONS", "*", 404, None)),
    ],
)
async def test_other_requests(method: str, path: str, status: int, allow: str | None) -> None:
    """405 names what is taken; a path has one spelling."""
    response = await ENDPOINTS(Request(method, path))
    assert (response.status, dict(response.fields).get("Allow")) == (status, allow)


async def test_the_bundle_is_read_by_our_own_reader() -> None:
    """Specs 2.5: sequence, refresh hint, x5c with one certificate, no kid."""
    response = await ENDPOINTS(Request("GET", "/bundle"))
    document = json.loads(response.body)
    assert (document["spiffe_sequence"], document["spiffe_refresh_hint"]) == (int(NOW), 300)
    key, *jwt_keys = document["keys"]
    assert (key["use"], len(key["x5c"]), "kid" in key) == ("x509-svid", 1, False)
    assert [(one["use"], one["kid"]) for one in jwt_keys] == [("jwt-svid", one.kid) for one in KEYS]
    assert Bundle.from_jwks(TD, response.body).authorities == (ROOT.certificate,)

"""No request reaches the app without one good transaction token, and every refusal says why (law 3)."""

import time

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, new_trace
from support.sidecar import Sidecar
from support.tokens import ABSENT, TokenMint
from support.wire import Wire

HOUR = 3600


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecar."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar that has its keys from a file."""
    return mesh.start("orders", INBOUND.format(app=app.port).replace("jwks.json", "jwks.json, skew: 0s"))


@pytest.fixture
def wire(mesh: Mesh, orders: Sidecar) -> Wire:
    """A connection of the peer that policy admits."""
    return mesh.connect(orders.ports["inbound"])


def _bad_tokens(mint: TokenMint) -> dict[str, tuple[str, bytes]]:
    """Name -> the reason that must be given, and the token."""
    now = time.time()
    valid = mint.token()
    header, payload, _ = valid.split(b".")
    garbage = mint.garbage()
    return {
        "expired": ("token_expired", mint.token(now - HOUR)),
        "future": ("token_from_future", mint.token(now + HOUR)),
        "not before": ("token_from_future", mint.token(nbf=int(now) + HOUR)),
        "other audience": ("token_wrong_audience", mint.token(aud="other.org")),
        "list of audiences": ("token_claims_invalid", mint.token(aud=["example.org", "other.org"])),
        "forged": ("token_bad_signature", mint.forger().token()),
        "signature of another token": (
            "token_bad_signature",
            b".".join([header, payload, mint.token(txn="t").split(b".")[2]]),
        ),
        "alg none": ("token_algorithm_refused", garbage["alg none"]),
        "alg none with a signature": ("token_algorithm_refused", garbage["alg none with a signature"]),
        "HS256 with the public key": ("token_algorithm_refused", mint.token(header={"alg": "HS256"})),
        "typ of an access token": ("token_wrong_type", mint.token(header={"typ": "at+jwt"})),
        "no typ": ("token_wrong_type", mint.token(header={"typ": ABSENT})),
        "no txn": ("token_claims_invalid", mint.token(txn=ABSENT)),
        "no exp": ("token_claims_invalid", mint.token(exp=ABSENT)),
        "lives for a day": ("token_lifetime_too_long", mint.token(exp=int(now) + 24 * HOUR)),
        "bearer": ("token_malformed", b"Bearer " + valid),
        "half": ("token_malformed", b".".join([header, payload])),
        "unknown kid": ("token_unknown_key", TokenMint(kid="nobody").token()),
    }


MINT = TokenMint()


@pytest.mark.parametrize("name", _bad_tokens(MINT))
def test_a_bad_token_is_refused_with_its_reason(mesh: Mesh, orders: Sidecar, app: App, wire: Wire, name: str) -> None:
    """The reason stands in the body, the challenge, the metric and the access log; the app sees nothing."""
    reason, token = _bad_tokens(MINT)[name]  # made now: one of the collection may have expired
    before, seen, trace = orders.decisions(reason=reason), len(app.requests), new_trace()
    answer = wire.ask("GET", "/orders/1", {"Txn-Token": token.decode()} | trace)
    assert (answer.status, answer.reason) == (401, reason)
    assert answer.get("www-authenticate") == f'Txn-Token error="{reason}"'
    assert orders.decisions(reason=reason, direction="inbound", decision="deny") == before + 1
    record = mesh.record("orders", trace)
    assert (record["reason"], record["decision"], record["status"]) == (reason, "deny", 401)
    assert "txn" not in record, "the claims of a token that was not verified are nobody's word"
    assert len(app.requests) == seen
    assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200, "the connection is good for the next request"


def test_a_missing_token(orders: Sidecar, wire: Wire) -> None:
    """Without the field, or with an empty one."""
    for fields in ({}, {"Txn-Token": ""}, {"Authorization": "Bearer x"}, {"X-Txn-Token": "x"}):
        answer = wire.ask("GET", "/orders/1", fields)
        assert (answer.status, answer.reason) == (401, "token_missing")
    assert orders.decisions(reason="token_missing") >= 4


def test_two_tokens_are_refused_even_if_equal(mesh: Mesh, app: App, wire: Wire) -> None:
    """As two fields, in any case, or as a list in one: which of them would the app believe?"""
    token = mesh.mint.token()
    seen = len(app.requests)
    for fields in (
        b"Txn-Token: %b\r\nTxn-Token: %b\r\n" % (token, token),
        b"Txn-Token: %b\r\nTXN-TOKEN: %b\r\n" % (token, token),
        b"Txn-Token: %b, %b\r\n" % (token, token),
        b"Txn-Token: %b,\r\n" % token,
        b"Txn-Token:\r\nTxn-Token: %b\r\n" % token,
    ):
        answer = wire.send(b"GET /orders/1 HTTP/1.1\r\nHost: orders\r\n" + fields + b"\r\n").reply()
        assert (answer.status, answer.reason) == (400, "token_repeated")
    assert len(app.requests) == seen


def test_a_token_in_the_trailers_is_no_token(mesh: Mesh, app: App, wire: Wire) -> None:
    """Trailers come too late to decide, and a token in them is not passed on."""
    head = b"POST /any/1 HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n"
    trailer = b"2\r\nhi\r\n0\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token()
    answer = wire.send(head + b"\r\n" + trailer).reply()
    assert (answer.status, answer.reason) == (401, "token_missing")
    answer = wire.send(head + b"Txn-Token: %b\r\n\r\n" % mesh.mint.token() + trailer).reply()
    assert answer.status == 200
    assert len(app.fields("txn-token")) == 1


def test_each_request_of_a_connection_is_judged_alone(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """A good token does not stay with the connection, and one that was remembered still expires."""
    good = mesh.bearer()
    assert [wire.ask("GET", "/orders/1", fields).status for fields in (good, {}, good)] == [200, 401, 200]
    assert orders.metric("svidecar_token_cache_total", result="hit") >= 1
    soon = {"Txn-Token": mesh.mint.token(exp=int(time.time()) + 1, iat=int(time.time()) - 5).decode()}
    assert wire.ask("GET", "/orders/1", soon).status == 200, "verified, and remembered"
    until = time.monotonic() + 10
    while (answer := wire.ask("GET", "/orders/1", soon)).status == 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert answer.reason == "token_expired"


def test_a_token_that_is_too_large(mesh: Mesh, wire: Wire) -> None:
    """16 KiB is the limit; one more is refused before it is looked at."""
    largest = mesh.mint.token(pad="")
    pad = (16384 - len(largest)) * 3 // 4
    while len(largest := mesh.mint.token(pad="x" * pad)) < 16384:
        pad += 1
    while len(largest) > 16384:
        pad -= 1
        largest = mesh.mint.token(pad="x" * pad)
    assert 16380 <= len(largest) <= 16384
    assert wire.ask("GET", "/orders/1", {"Txn-Token": largest.decode()}).status == 200
    answer = wire.ask("GET", "/orders/1", {"Txn-Token": largest.decode() + "x" * (16385 - len(largest))})
    assert (answer.status, answer.reason) == (431, "token_too_large")


def test_no_token_is_ever_told(mesh: Mesh, orders: Sidecar, wire: Wire) -> None:
    """Not in a log, a metric, an error or a status page: no part of any that was sent here, good or bad."""
    secret = mesh.mint.token(txn="told-to-nobody")
    wire.ask("GET", "/orders/1", {"Txn-Token": secret.decode()})
    bad = [token for _, token in _bad_tokens(MINT).values()]
    answers = [wire.ask("GET", "/orders/1", {"Txn-Token": token.decode()}).body for token in bad]
    trace = new_trace()
    wire.ask("GET", "/orders/1", trace)
    mesh.record("orders", trace)  # records are written in order: all others are there
    answers.append(
        wire.send(b"GET /orders/1 HTTP/1.1\r\nHost: a\r\nTxn-Token: %b\r\n\tx: y\r\n\r\n" % secret).reply().body
    )
    told = b"".join(answers) + (mesh.folder / "orders.log").read_bytes() + orders.log.encode()
    for page in ("/", "/metrics", "/config", "/healthz/ready"):
        told += orders.get("admin", page)[1].encode()
    for token in (secret, *bad):
        for part in token.split(b"."):
            assert len(part) < 16 or part not in told
    assert b"told-to-nobody" in (mesh.folder / "orders.log").read_bytes(), "the transaction of a verified one is"

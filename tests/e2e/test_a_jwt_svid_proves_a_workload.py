"""A JWT-SVID from the Workload API is traded for a transaction of its workload, and proves a sidecar to the service.

Both are for the token service alone (its issuer identifier), and say no more than the workload may ask for itself.
"""

import os
import sys

import httpx
import pytest
from support.authority import call
from support.domain import Domain, claims_of
from support.mesh import orders_at, outbound
from support.sidecar import Sidecar, wait_until
from support.tracing import WorkingApp

from proxy.authority.issue import EXCHANGE, TXN_TOKEN
from proxy.tokens.exchange import JWT_SPIFFE

SELECTORS = f'selectors: ["unix:uid:{os.getuid()}", "unix:path:{os.path.realpath(sys.executable)}"]'
WORKLOADS = f"""
workloads:
  - {{name: edge, scopes: [orders.read, orders.write], svids: true}}
  - {{name: orders}}
  - {{name: plain, scopes: [orders.read]}}
  - {{name: batch, scopes: [orders.read], {SELECTORS}}}
  - {{name: nightly, {SELECTORS}}}
  - {{name: door, scopes: [orders.read], svids: true, {SELECTORS}}}
"""
TTS = "spiffe://example.org/tts"
BATCH = "spiffe://example.org/batch"
INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
policy:
  - name: whoever calls
    peers: ["spiffe://example.org/*"]
    scopes: [orders.read, orders.write]
    routes: [{routes}]
"""
TRADES = '{match: "GET /READ", exchange: {scope: [SCOPE], subject: {type: jwt}}}'
TRADED = ", ".join(
    TRADES.replace("READ", s.replace(".", "-")).replace("SCOPE", s) for s in ("orders.read", "orders.write")
)


@pytest.fixture(scope="module")
def app(domain: Domain) -> WorkingApp:
    """The app behind all."""
    return domain.working_app()


@pytest.fixture(scope="module")
def edge(domain: Domain, app: WorkingApp) -> Sidecar:
    """It trades what is brought."""
    return domain.start("edge", INBOUND.format(app=app.port, routes=TRADED) + domain.tokens)


def jwt_svid(domain: Domain, name: str = "batch", audience: str = TTS) -> str:
    """A JWT-SVID, as a workload fetches it with a gRPC that is not ours."""
    asked = f"audience={audience}", f"spiffe_id=spiffe://example.org/{name}"
    (answer,) = call(domain.authority.socket, "FetchJWTSVID", *asked)
    return str(answer["svids"][0]["svid"])


def bring(domain: Domain, edge: Sidecar, token: str, path: str = "/orders-read") -> tuple[int, str]:
    """Bring it to the edge."""
    with domain.connect(edge.ports["inbound"], "orders") as wire:
        answer = wire.ask("GET", path, {"Authorization": f"Bearer {token}"})
    return answer.status, answer.reason


def test_it_is_traded(domain: Domain, edge: Sidecar, app: WorkingApp) -> None:
    """The transaction is that of the workload; the JWT-SVID itself goes no further."""
    token = jwt_svid(domain)
    assert bring(domain, edge, token) == (200, "")
    assert "authorization" not in app.seen[-1]
    assert token not in str(app.seen)
    claims = claims_of(app.seen[-1])
    assert (claims["sub"], claims["scope"], claims["req_wl"]) == (BATCH, "orders.read", "spiffe://example.org/edge")


def test_it_carries_what_its_workload_may_ask_for(domain: Domain, edge: Sidecar) -> None:
    """Not what whoever brings it may; and one without scopes carries nothing."""
    assert bring(domain, edge, jwt_svid(domain), "/orders-write") == (403, "tts_refused")
    assert bring(domain, edge, jwt_svid(domain, "nightly")) == (403, "tts_refused")


@pytest.mark.parametrize("audience", ["spiffe://example.org/edge", f"{TTS}/", "https://127.0.0.1/token"])
def test_one_for_somebody_else(domain: Domain, edge: Sidecar, audience: str) -> None:
    """Whoever was shown a JWT-SVID cannot trade it in its workload's name."""
    assert bring(domain, edge, jwt_svid(domain, audience=audience)) == (401, "access_token_refused")


def test_who_may_not_bring_any(domain: Domain, app: WorkingApp) -> None:
    """A workload without ``svids`` gets nothing for one."""
    plain = domain.start("plain", INBOUND.format(app=app.port, routes=TRADED) + domain.tokens)
    seen = len(app.seen)
    assert bring(domain, plain, jwt_svid(domain)) == (401, "access_token_refused")
    assert len(app.seen) == seen


def test_it_is_verified_at_the_door_and_by_the_service(domain: Domain, app: WorkingApp) -> None:
    """A sidecar with the agent's keys verifies it first: a forged one does not get as far as the service."""
    verified = TRADES.replace("READ", "orders-read").replace("SCOPE", "orders.read")
    verified = verified.replace("{type: jwt}", f"{{type: jwt_svid, audience: '{TTS}'}}")
    door = domain.start(
        "door",
        INBOUND.format(app=app.port, routes=verified) + domain.tokens,
        identity=f"{{workload_api: {{socket: '{domain.authority.socket}', hint: door}}}}",
    )
    token = jwt_svid(domain)
    wait_until(lambda: bring(domain, door, token) == (200, ""), "the agent's keys")
    assert claims_of(app.seen[-1])["sub"] == BATCH
    asked = door.metric("svidecar_token_exchange_seconds_count", result="refused")
    head, _, signature = token.rpartition(".")
    forged = f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert bring(domain, door, forged) == (401, "access_token_refused")
    assert door.metric("svidecar_token_exchange_seconds_count", result="refused") == asked


def test_a_sidecar_proves_itself_with_one(domain: Domain, app: WorkingApp) -> None:
    """Identity, JWT-SVID and bundles from the Workload API: the service takes the assertion beside the certificate."""
    orders = domain.start("orders", INBOUND.format(app=app.port, routes='{match: "GET /**"}') + domain.tokens)
    proved = domain.tokens.replace("/tts}", f"/tts, jwt_svid_audience: {TTS}}}")
    assert proved != domain.tokens
    batch = domain.start(
        "batch",
        outbound(orders_at(orders) + ", token: {scope: orders.read}") + proved,
        identity=f"{{workload_api: {{socket: '{domain.authority.socket}', hint: batch}}}}",
    )
    with domain.plain(batch.ports["outbound"]) as wire:
        wait_until(lambda: wire.ask("GET", "/x").status == 200, "its token")
    assert batch.metric("svidecar_token_exchange_seconds_count", result="obtained") == 1
    assert "token issued: client=spiffe://example.org/batch" in domain.authority.log


def test_assertions_that_say_something_else(domain: Domain) -> None:
    """Each is ``invalid_client``, whoever's certificate it comes with; nothing is issued."""
    form = {
        "grant_type": EXCHANGE,
        "requested_token_type": TXN_TOKEN,
        "audience": "example.org",
        "scope": "orders.read",
        "subject_token": '{"sub":"spiffe://example.org/edge"}',
        "subject_token_type": "urn:ietf:params:oauth:token-type:unsigned_json",
        "client_assertion_type": JWT_SPIFFE,
    }
    url = f"https://127.0.0.1:{domain.authority.facts['port']}/token"
    with httpx.Client(verify=domain.context("edge"), timeout=5) as client:
        for assertion in (
            jwt_svid(domain),
            jwt_svid(domain, audience="spiffe://example.org/orders"),
            jwt_svid(domain, audience=f"{TTS},spiffe://example.org/orders"),
            "x.y.z",
        ):
            answer = client.post(url, data=form | {"client_assertion": assertion})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")
            assert assertion not in answer.text
        del form["client_assertion_type"]
        assert client.post(url, data=form).status_code == 200

"""Where a destination says so, the sidecar obtains a token from the Transaction Token Service, over mTLS, and injects it."""

import threading
import time

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.tokens import TokenMint
from support.tts import TYPE, Service
from support.wire import request

CALLERS = 20


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app at the end."""
    return mesh.app()


@pytest.fixture(scope="module")
def edge(mesh: Mesh, service: Service, app: App) -> Sidecar:
    """Many destinations with a token of a scope of their own, one without, one outside of the mesh."""
    ceiling = "scopes: [orders.read, orders.write, " + ", ".join(HOSTS) + "]\n    routes"
    yaml = INBOUND.format(app=app.port).replace("scopes: [orders.read, orders.write]\n    routes", ceiling)
    orders = mesh.start("orders", yaml)
    return mesh.start(
        "edge",
        outbound(
            *(orders_at(orders, host) + f", token: {{scope: orders.read orders.write {host}}}" for host in HOSTS),
            orders_at(orders, "bare"),
            f'host: legacy, address: "127.0.0.1:{app.port}", protection: plain',
        )
        + f"tokens: {{keys: jwks.json, service: {service.yaml}}}\n",
    )


@pytest.fixture
def host(service: Service, app: App, edge: Sidecar) -> str:
    """A destination for which no token was asked so far; service and app have seen nothing."""
    del edge
    service.asked.clear()
    service.callers.clear()
    app.requests.clear()
    service.issue = service.token
    return next(_fresh)


HOSTS = [f"h{number}" for number in range(12)]
_fresh = iter(HOSTS)


def test_it_is_obtained_once_and_kept(mesh: Mesh, service: Service, app: App, edge: Sidecar, host: str) -> None:
    """Many requests at once make one exchange; the token is this workload's, with the scope of the destination."""
    service.release.clear()
    wires = [mesh.plain(edge.ports["outbound"]).send(request("GET", "/orders/1", host=host)) for _ in range(CALLERS)]
    threading.Timer(0.3, service.release.set).start()
    assert [wire.reply().status for wire in wires] == [200] * CALLERS
    assert wires[0].ask("GET", "/orders/1", host=host).status == 200
    assert len(service.asked) == 1
    form = service.asked[0]
    assert (form["audience"], form["requested_token_type"]) == ("example.org", TYPE)
    assert form["scope"] == f"orders.read orders.write {host}"
    assert form["client_id"] == "spiffe://example.org/edge"
    assert service.callers == ["spiffe://example.org/edge"]
    assert len({app.fields("txn-token", index)[0] for index in range(len(app.requests))}) == 1
    assert edge.metric("svidecar_token_exchange_seconds_count", result="obtained") == 1


def test_what_the_app_brings_comes_first(mesh: Mesh, service: Service, app: App, edge: Sidecar, host: str) -> None:
    """Its transaction goes on; where nothing was configured, nothing is put in."""
    wire = mesh.plain(edge.ports["outbound"])
    token = mesh.bearer()
    assert wire.ask("GET", "/orders/1", token, host=host).status == 200
    assert app.fields("txn-token") == [token["Txn-Token"]]
    assert wire.ask("GET", "/orders/1", host="bare").reason == "token_missing"
    assert wire.ask("GET", "/x", host="legacy").status == 200
    assert app.fields("txn-token") == []
    assert service.asked == []


def test_a_body_waits_for_the_token(mesh: Mesh, service: Service, app: App, edge: Sidecar, host: str) -> None:
    """A request whose body comes before the token arrives whole, in its own framing."""
    service.release.clear()
    threading.Timer(0.2, service.release.set).start()
    wire = mesh.plain(edge.ports["outbound"])
    answer = wire.ask("POST", "/orders", body=b"b" * 1_000_000, host=host)
    assert answer.status == 200
    assert len(app.requests[-1]["body"]) == 1_000_000
    chunked = f"POST /orders HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert wire.send(chunked.encode()).reply().json["body"] == "abc"


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ((400, {"error": "invalid_scope"}), 403, "tts_refused"),
        ((500, {}), 503, "tts_unavailable"),
        ((200, {"access_token": "x", "issued_token_type": TYPE, "token_type": "N_A"}), 502, "tts_bad_answer"),
        ((200, {"access_token": "x", "issued_token_type": TYPE, "token_type": "Bearer"}), 502, "tts_bad_answer"),
        ((302, {}), 502, "tts_bad_answer"),
    ],
    ids=["refused", "fails", "no token", "a bearer token", "elsewhere"],
)
def test_when_it_gives_none(
    mesh: Mesh,
    service: Service,
    app: App,
    edge: Sidecar,
    host: str,
    answer: tuple[int, dict[str, object]],
    status: int,
    reason: str,
) -> None:
    """The request ends here with the reason; soon after, another attempt may succeed."""
    service.issue = lambda _: answer
    wire = mesh.plain(edge.ports["outbound"])
    found = wire.ask("GET", "/orders/1", host=host)
    assert (found.status, found.reason) == (status, reason)
    assert app.requests == []
    assert edge.decisions(reason=reason, direction="outbound", decision="error", rule=host) == 1
    service.issue = service.token
    until = time.monotonic() + 10
    while (found := wire.ask("GET", "/orders/1", host=host)).status != 200:
        assert found.reason == reason, "told again for a moment, without asking again"
        assert time.monotonic() < until
        time.sleep(0.05)
    assert len(service.asked) <= 3


def test_an_answer_that_nobody_signed(mesh: Mesh, service: Service, app: App, edge: Sidecar, host: str) -> None:
    """A token that our keys do not verify is not sent on."""
    forged = TokenMint().forger().token(scope="orders.read").decode()
    service.issue = lambda _: (200, {"access_token": forged, "issued_token_type": TYPE, "token_type": "N_A"})
    answer = mesh.plain(edge.ports["outbound"]).ask("GET", "/orders/1", host=host)
    assert (answer.status, answer.reason) == (502, "tts_bad_answer")
    assert app.requests == []
    assert forged not in edge.log


def test_it_is_renewed_before_it_ends(mesh: Mesh, service: Service, edge: Sidecar, host: str) -> None:
    """A token of seconds under a stream of requests: each is served, and none waits for an exchange that fails."""
    service.lifetime_s = 3
    wire = mesh.plain(edge.ports["outbound"])
    until = time.monotonic() + 3.5
    try:
        while time.monotonic() < until:
            assert wire.ask("GET", "/orders/1", host=host).status == 200
            time.sleep(0.02)
    finally:
        service.lifetime_s = 300
    assert 2 <= len(service.asked) <= 6

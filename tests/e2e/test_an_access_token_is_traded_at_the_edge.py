"""At the edge an OAuth access token is traded for a transaction token, and goes no further: the app never sees it."""

import json
import threading

import pytest
from support.apps import App
from support.mesh import Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.tokens import TokenMint
from support.tts import Service
from support.wire import request

EDGE = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
limits: {{held_body: 1000}}
tokens: {{keys: jwks.json, service: {service}}}
policy:
  - name: the gateway trades
    peers: [spiffe://example.org/gateway]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read], exchange: {{scope: orders.read}}}}
      - match: "POST /orders"
        scopes: [orders.write]
        exchange:
          scope: orders.write
          details: {{quantity: body:/order/quantity, action: "literal:BUY", note: optional body:/note}}
          context: {{req_ip: source, via: peer, how: method, where: route, agent: "optional header:user-agent"}}
      - {{match: "GET /plain", scopes: [orders.read]}}
"""
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the edge."""
    return mesh.app()


@pytest.fixture(scope="module")
def edge(mesh: Mesh, service: Service, app: App) -> Sidecar:
    """The sidecar at the edge."""
    return mesh.start("edge", EDGE.format(app=app.port, service=service.yaml))


@pytest.fixture(autouse=True)
def _anew(service: Service, app: App) -> None:
    service.asked.clear()
    service.issue = service.token
    app.requests.clear()


def access(name: str) -> dict[str, str]:
    """The field with an access token, another one for each name."""
    token = TokenMint(kid="idp").token(header={"typ": "at+jwt"}, sub=name).decode()
    return {"Authorization": f"Bearer {token}"}


def test_it_is_traded_once_and_goes_no_further(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """Many requests with one access token are one exchange; the app gets the transaction token alone."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    alice = access("alice")
    for _ in range(5):
        assert wire.ask("GET", "/orders/1", alice).status == 200
        assert app.fields("authorization") == []
        assert len(app.fields("txn-token")) == 1
    (form,) = service.asked
    assert (form["subject_token_type"], form["subject_token"]) == (ACCESS, alice["Authorization"][7:])
    assert (form["scope"], form["client_id"]) == ("orders.read", "spiffe://example.org/edge")
    assert wire.ask("GET", "/orders/1", access("bob")).status == 200
    assert len(service.asked) == 2
    assert edge.metric("svidecar_token_exchange_seconds_count", result="obtained") >= 2


def test_facts_of_the_request_go_with_it(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """Also from the body, which arrives whole behind it; other facts are another token."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    body = json.dumps({"order": {"quantity": 100}}).encode()
    fields = access("carol") | {"Content-Type": "application/json", "User-Agent": "test"}
    answer = wire.ask("POST", "/orders", fields, body)
    assert answer.status == 200
    assert answer.json["body"] == body.decode()
    (form,) = service.asked
    assert json.loads(form["request_details"]) == {"quantity": 100, "action": "BUY"}
    assert json.loads(form["request_context"]) == {
        "req_ip": "127.0.0.1",
        "via": "spiffe://example.org/gateway",
        "how": "POST",
        "where": "/orders",
        "agent": "test",
    }
    assert wire.ask("POST", "/orders", fields, body).status == 200
    assert len(service.asked) == 1
    chunked = request("POST", "/orders", fields | {"Transfer-Encoding": "chunked"})
    assert (
        wire.send(chunked + b"3\r\n" + body[:3] + b"\r\n%x\r\n" % len(body[3:]) + body[3:] + b"\r\n0\r\n\r\n")
        .reply()
        .status
        == 200
    )
    assert app.requests[-1]["body"] == body.decode()
    assert len(service.asked) == 1
    assert wire.ask("POST", "/orders", fields, body.replace(b"100", b"101")).status == 200
    assert len(service.asked) == 2


def test_a_caller_that_waits_to_be_asked_for_its_body(mesh: Mesh, app: App, edge: Sidecar) -> None:
    """``Expect: 100-continue``: the edge asks, for nobody behind it can before the body is here."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    body = b'{"order":{"quantity":1}}'
    fields = access("dave") | {"Content-Type": "application/json", "Expect": "100-continue"}
    fields["Content-Length"] = str(len(body))
    assert wire.send(request("POST", "/orders", fields)).head().status == 100
    answer = wire.send(body).reply()
    assert (answer.status, answer.interims) == (200, [])
    assert app.fields("expect") == []


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b'{"order":{}}', "application/json", 400, "fact_unusable"),
        (b'{"order":{"quantity":1,"quantity":100}}', "application/json", 400, "fact_unusable"),
        (b'{"order":{"quantity":null}}', "application/json", 400, "fact_unusable"),
        (b'[{"quantity":1}]', "application/json", 400, "fact_unusable"),
        (b"order[quantity]=1", "application/x-www-form-urlencoded", 400, "fact_unusable"),
        (b"", "application/json", 400, "fact_unusable"),
        (b'{"order":{"quantity":1},"x":"%s"}' % (b"x" * 966), "application/json", 200, ""),  # a thousand bytes
        (b'{"order":{"quantity":1},"x":"%s"}' % (b"x" * 970), "application/json", 413, "body_too_large"),
    ],
)
def test_a_body_that_tells_no_fact(
    mesh: Mesh, service: Service, app: App, edge: Sidecar, body: bytes, kind: str, status: int, reason: str
) -> None:
    """Missing, told twice, in another form, too large: nothing is asked for and nothing forwarded."""
    fields = access("erin") | {"Content-Type": kind}
    answer = mesh.connect(edge.ports["inbound"], "gateway").ask("POST", "/orders", fields, body)
    assert (answer.status, answer.reason) == (status, reason)
    if status != 200:
        assert service.asked == app.requests == []


def test_a_chunked_body_that_grows_too_large(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """It is refused where it passes the limit, not at its end."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    fields = access("erin") | {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    wire.send(request("POST", "/orders", fields) + (b"190\r\n" + b" " * 400 + b"\r\n") * 3)
    assert wire.reply().reason == "body_too_large"
    assert service.asked == app.requests == []


@pytest.mark.parametrize(
    ("fields", "target", "status", "reason", "challenge"),
    [
        ({}, "/orders/1", 401, "access_token_missing", "Bearer"),
        ({"Authorization": "Basic YTpi"}, "/orders/1", 401, "access_token_missing", "Bearer"),
        ({"Authorization": "Bearer"}, "/orders/1", 400, "access_token_malformed", ""),
        ({"Authorization": "Bearer a b"}, "/orders/1", 400, "access_token_malformed", ""),
        ({"Authorization": "Bearer a,b"}, "/orders/1", 400, "access_token_malformed", ""),
        ({"Authorization": "Bearer a", "authorization": "Bearer b"}, "/orders/1", 400, "bad_request", ""),
        (access("frank"), "/orders/1?access_token=a", 400, "access_token_malformed", ""),
        (access("frank"), "/unknown", 401, "token_missing", 'Txn-Token error="token_missing"'),
        (access("frank"), "/plain", 401, "token_missing", 'Txn-Token error="token_missing"'),
    ],
)
def test_requests_that_bring_none(
    mesh: Mesh,
    service: Service,
    app: App,
    edge: Sidecar,
    fields: dict[str, str],
    target: str,
    status: int,
    reason: str,
    challenge: str,
) -> None:
    """Each is told what is missing (RFC 6750), and nobody is asked."""
    answer = mesh.connect(edge.ports["inbound"], "gateway").ask("GET", target, fields)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.get("www-authenticate") == challenge
    assert service.asked == app.requests == []


def test_a_transaction_token_from_outside_is_not_believed(
    mesh: Mesh, service: Service, app: App, edge: Sidecar
) -> None:
    """It is neither taken nor passed on, though it would verify: the one in it is that of the exchange."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    forged = mesh.bearer(sub="mallory", txn="of-mallory")
    assert wire.ask("GET", "/orders/1", forged).reason == "access_token_missing"
    assert app.requests == []
    assert wire.ask("GET", "/orders/1", access("grace") | forged).status == 200
    assert app.fields("txn-token") != [forged["Txn-Token"]]
    assert len(app.fields("txn-token")) == len(service.asked) == 1


def test_what_the_service_refuses(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """A bad access token is told as RFC 6750 says; no scope and no client are other reasons."""
    wire = mesh.connect(edge.ports["inbound"], "gateway")
    for code, status, reason, challenge in (
        ("invalid_request", 401, "access_token_refused", 'Bearer error="invalid_token"'),
        ("invalid_scope", 403, "tts_refused", ""),
        ("invalid_client", 502, "tts_refused_us", ""),
    ):
        service.issue = lambda _, code=code: (400, {"error": code, "error_description": "no"})  # type: ignore[misc]
        answer = wire.ask("GET", "/orders/1", access(code))
        assert (answer.status, answer.reason, answer.get("www-authenticate")) == (status, reason, challenge)
    assert app.requests == []


def test_what_comes_of_it_is_judged_like_any_other(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """The exchange is no way around the policy: a token that is wider than the connection is refused."""
    service.issue = lambda form: service.token(form | {"scope": "orders.read admin"})
    answer = mesh.connect(edge.ports["inbound"], "gateway").ask("GET", "/orders/1", access("heidi"))
    assert (answer.status, answer.reason) == (403, "scope_beyond_grant")
    assert app.requests == []


def test_an_app_that_holds_the_access_token_itself(mesh: Mesh, service: Service, app: App) -> None:
    """Its own sidecar trades it on the way out; a subject may also be one that the app names in a field."""
    receiver = mesh.start("orders", RECEIVER.format(app=app.port))
    caller = mesh.start(
        "web",
        outbound(
            orders_at(receiver, "orders") + ", token: {scope: orders.read, subject: {type: id_token}}",
            orders_at(receiver, "named")
            + ', token: {scope: orders.read, subject: {type: unsigned_json, from: "header:x-user"}}',
        )
        + f"tokens: {{keys: jwks.json, service: {service.yaml}}}\n",
    )
    wire = mesh.plain(caller.ports["outbound"])
    token = access("ivan")
    assert wire.ask("GET", "/orders/1", token, host="orders").status == 200
    assert app.fields("authorization") == []
    assert service.asked[-1]["subject_token_type"] == ACCESS.replace("access", "id")
    assert wire.ask("GET", "/orders/1", {"X-User": "judy"}, host="named").status == 200
    assert json.loads(service.asked[-1]["subject_token"]) == {"sub": "judy"}
    assert app.fields("x-user") == []
    own = mesh.bearer(scope="orders.read")
    assert wire.ask("GET", "/orders/1", token | own, host="orders").status == 200
    assert (app.fields("txn-token"), app.fields("authorization")) == ([own["Txn-Token"]], [])


RECEIVER = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: web may read
    peers: [spiffe://example.org/web]
    scopes: [orders.read]
    routes: [{{match: "GET /orders/{{id}}", scopes: [orders.read]}}]
"""


def test_many_at_once_are_one_exchange(mesh: Mesh, service: Service, edge: Sidecar) -> None:
    """Twenty requests with one access token while the service is slow."""
    service.release.clear()
    token = access("kim")
    wires = [mesh.connect(edge.ports["inbound"], "gateway").send(request("GET", "/orders/1", token)) for _ in range(20)]
    threading.Timer(0.3, service.release.set).start()
    assert [wire.reply().status for wire in wires] == [200] * 20
    assert len(service.asked) == 1

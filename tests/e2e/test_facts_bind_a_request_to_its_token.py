"""A route with ``facts`` lets a token do what it was authorised for, and nothing like it; other bodies still stream."""

import json
from typing import Any

import pytest
from support.apps import App
from support.mesh import Mesh
from support.sidecar import Sidecar
from support.wire import Reply, request

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
limits: {{held_body: 1000}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge trades
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - match: "POST /trades/{{stock}}"
        scopes: [orders.read]
        facts: {{stock: path:stock, quantity: body:/order/quantity, note: optional body:/note}}
      - match: "GET /trades/{{stock}}"
        facts: {{stock: path:stock, /limit/price: query:price, desk: header:x-desk, by: peer}}
      - {{match: "POST /files/{{name}}", facts: {{file: path:name, kind: optional header:x-kind}}}}
      - {{match: "POST /free/**"}}
"""
JSON = {"Content-Type": "application/json"}
GOOD: dict[str, Any] = {"order": {"quantity": 100}}


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind it."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """The sidecar whose routes hold facts against tokens."""
    return mesh.start("orders", YAML.format(app=app.port))


@pytest.fixture(autouse=True)
def _anew(app: App) -> None:
    app.requests.clear()


def trade(
    mesh: Mesh,
    orders: Sidecar,
    body: Any = GOOD,
    *,
    tctx: Any = None,
    fields: dict[str, str] | None = None,
    target: str = "/trades/ACME",
) -> Reply:
    """POST a trade with a token that authorises 100 of ACME, or what ``tctx`` says."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    tctx = {"stock": "ACME", "quantity": 100} if tctx is None else tctx
    with mesh.connect(orders.ports["inbound"]) as wire:
        return wire.ask("POST", target, mesh.bearer(tctx=tctx) | (JSON if fields is None else fields), raw)


def test_what_was_authorised_passes_whole(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """The body goes on byte for byte, in its own framing; numbers are equal by value."""
    raw = b' { "order" : {"quantity": 1.0e2, "x": [1, 2]}, "other": null }\r\n'
    assert trade(mesh, orders, raw).json["body"] == raw.decode()
    with mesh.connect(orders.ports["inbound"]) as wire:
        bearer = mesh.bearer(tctx={"stock": "ACME", "quantity": 100.0})
        head = request("POST", "/trades/ACME", bearer | JSON | {"Transfer-Encoding": "chunked"})
        wire.send(head)
        for at in range(0, len(raw), 20):
            wire.send(b"%x\r\n%b\r\n" % (len(raw[at : at + 20]), raw[at : at + 20]))
        assert wire.send(b"0\r\n\r\n").reply().json["body"] == raw.decode()
        assert wire.ask("POST", "/trades/ACME", bearer | JSON, raw).status == 200, "the connection goes on"
    assert app.fields("transfer-encoding", 1) == ["chunked"]


@pytest.mark.parametrize(
    ("body", "tctx", "status", "reason"),
    [
        ({"order": {"quantity": 101}}, None, 403, "fact_mismatch"),
        ({"order": {"quantity": "100"}}, None, 403, "fact_mismatch"),
        ({"order": {"quantity": True}}, {"stock": "ACME", "quantity": 1}, 403, "fact_mismatch"),
        ({"order": {"quantity": [100]}}, None, 403, "fact_mismatch"),
        ({"order": {}}, None, 400, "fact_unusable"),
        ({"order": {"quantity": None}}, None, 400, "fact_unusable"),
        (GOOD, {"stock": "ACME"}, 403, "fact_unauthorised"),
        (GOOD, {"stock": "ACME", "quantity": None}, 403, "fact_unauthorised"),
        (GOOD, {}, 403, "fact_unauthorised"),
        (GOOD, {"stock": "EVIL", "quantity": 100}, 403, "fact_mismatch"),
        (GOOD, {"stock": "acme", "quantity": 100}, 403, "fact_mismatch"),
        (GOOD | {"note": "x"}, None, 403, "fact_unauthorised"),
        (GOOD, {"stock": "ACME", "quantity": 100, "note": "x"}, 403, "fact_mismatch"),
        (GOOD | {"note": "x"}, {"stock": "ACME", "quantity": 100, "note": "x"}, 200, ""),
        (GOOD | {"note": None}, None, 200, ""),
        (b'{"order":{"quantity":100,"quantity":1}}', None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100},"order":{"quantity":1}}', None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100,"Quantity":1}}', None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100},"ORDER":{"quantity":1}}', None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100.00000000000000001}}', None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100}} {}', None, 400, "fact_unusable"),
        (b'\xef\xbb\xbf{"order":{"quantity":100}}', None, 400, "fact_unusable"),
        (json.dumps(GOOD).encode("utf-16"), None, 400, "fact_unusable"),
        (b'{"order":{"quantity":100},"x":' + b"[" * 32 + b"]" * 32 + b"}", None, 400, "fact_unusable"),
        (b'{"order":' * 900, None, 413, "body_too_large"),
        (b'{"a":' * 190, None, 400, "fact_unusable"),
        (b"", None, 400, "fact_unusable"),
    ],
)
def test_bodies(mesh: Mesh, app: App, orders: Sidecar, body: object, tctx: object, status: int, reason: str) -> None:
    """Another value, another type, missing on either side, or told twice to some reader: nothing is forwarded."""
    reply = trade(mesh, orders, body, tctx=tctx)
    assert (reply.status, reply.reason) == (status, reason)
    assert len(app.requests) == (status == 200)
    if status != 200:
        assert b"ACME" not in reply.body


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json, text/plain"},
        JSON | {"Content-Encoding": "gzip"},
        JSON | {"Content-Encoding": "identity, gzip"},
        JSON | {"Content_Type": "application/x-www-form-urlencoded"},
        JSON | {"Content_Encoding": "gzip"},
    ],
)
def test_bodies_that_are_no_plain_json(mesh: Mesh, app: App, orders: Sidecar, fields: dict[str, str]) -> None:
    """What the app may decode in another way is not read here as if it were JSON."""
    assert trade(mesh, orders, fields=fields).reason == "fact_unusable"
    assert app.requests == []


def test_fields_behind_the_body(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Trailers cannot change what was looked at: refused with a body that is read, else dropped."""
    raw = json.dumps(GOOD).encode()
    for target, tctx, end in (
        ("/trades/ACME", {"stock": "ACME", "quantity": 100}, "fact_unusable"),
        ("/files/a", {"file": "a"}, ""),
    ):
        with mesh.connect(orders.ports["inbound"]) as wire:
            wire.send(request("POST", target, mesh.bearer(tctx=tctx) | JSON | {"Transfer-Encoding": "chunked"}))
            wire.send(b"%x\r\n%b\r\n0\r\nX-Kind: other\r\n\r\n" % (len(raw), raw))
            assert wire.reply().reason == end
    assert len(app.requests) == 1
    assert app.fields("x-kind") == []


def test_the_limit_of_a_body(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """A thousand bytes pass, one more does not, whether it was announced or not; a file streams on its own route."""
    for size, status in ((1000, 200), (1001, 413)):
        raw = json.dumps(GOOD).encode().ljust(size)
        assert trade(mesh, orders, raw).status == status
        with mesh.connect(orders.ports["inbound"]) as wire:
            tctx = {"stock": "ACME", "quantity": 100}
            wire.send(request("POST", "/trades/ACME", mesh.bearer(tctx=tctx) | JSON | {"Transfer-Encoding": "chunked"}))
            wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (size, raw))
            assert wire.reply().status == status
    assert len(app.requests) == 2
    assert trade(mesh, orders, b"x" * 100_000, target="/free/1", fields={}).status == 200
    assert trade(mesh, orders, b"x" * 100_000, target="/files/a", tctx={"file": "a"}, fields={}).status == 200


@pytest.mark.parametrize("target", ["/free/1", "/files/a"])
def test_bodies_stream_where_no_fact_is_in_them(mesh: Mesh, target: str) -> None:
    """The app has the first byte before the caller has sent the last."""
    got: list[bytes] = []

    def script(connection: Any) -> None:
        while b"first" not in b"".join(got):
            got.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    raw = mesh.raw_app(script)
    other = mesh.start("stream", YAML.format(app=raw.port))
    with mesh.connect(other.ports["inbound"]) as wire:
        fields = mesh.bearer(tctx={"file": "a"}) | {"Content-Length": "2000000"}
        assert wire.send(request("POST", target, fields) + b"first").head().status == 200
    other.stop()


@pytest.mark.parametrize(
    ("target", "fields", "status", "reason"),
    [
        ("/trades/ACME?price=12.50", {"X-Desk": "7"}, 200, ""),
        ("/trades/ACME?other=1&price=12.5", {"X-Desk": "7"}, 200, ""),
        ("/trades/ACME?%70rice=12.5", {"X-Desk": "7"}, 200, ""),
        ("/trades/ACM%45?price=12.5", {"X-Desk": "7"}, 400, "ambiguous_path"),
        ("/trades/acme?price=12.5", {"X-Desk": "7"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=12.6", {"X-Desk": "7"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=1.25e1", {"X-Desk": "7"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=012.5", {"X-Desk": "7"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=+12.5", {"X-Desk": "7"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=12.5&price=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5&price=12.5", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5&price[]=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5&Price=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5&+price=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5&price%00x=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5;price=99", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME", {"X-Desk": "7"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5", {}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5", {"X-Desk": "8"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=12.5", {"X-Desk": "7", "x-desk": "8"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5", {"X-Desk": "7", "X_Desk": "8"}, 400, "fact_unusable"),
        ("/trades/ACME?price=12.5", {"X-Desk": "7, 8"}, 403, "fact_mismatch"),
        ("/trades/ACME?price=12.5", {"X-Desk": "7", "Connection": "x-desk"}, 400, "fact_unusable"),
    ],
)
def test_path_query_and_fields(
    mesh: Mesh, app: App, orders: Sidecar, target: str, fields: dict[str, str], status: int, reason: str
) -> None:
    """Text equals a number in its plain spelling; what a reader could take for the fact as well is refused."""
    tctx = {"stock": "ACME", "limit": {"price": 12.5}, "desk": "7", "by": "spiffe://example.org/edge"}
    with mesh.connect(orders.ports["inbound"]) as wire:
        reply = wire.ask("GET", target, mesh.bearer(tctx=tctx) | fields)
    assert (reply.status, reply.reason) == (status, reason)
    assert len(app.requests) == (status == 200)


def test_facts_are_asked_for_each_time(mesh: Mesh, orders: Sidecar) -> None:
    """On one connection with one cached token; and a token without the scope learns nothing of the facts."""
    with mesh.connect(orders.ports["inbound"]) as wire:
        bearer = mesh.bearer(tctx={"stock": "ACME", "quantity": 100}) | JSON
        for quantity, status in ((100, 200), (101, 403), (100, 200)):
            body = json.dumps({"order": {"quantity": quantity}}).encode()
            assert wire.ask("POST", "/trades/ACME", bearer, body).status == status
        narrow = mesh.bearer(scope="orders.write", tctx={"stock": "ACME", "quantity": 100}) | JSON
        assert wire.ask("POST", "/trades/ACME", narrow, b"{}").reason == "scope_missing"
    assert orders.decisions(reason="fact_mismatch", rule="") >= 1


def test_expect_and_a_caller_that_leaves(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Who waits is asked for the body; who goes in its middle, or is too slow, has done nothing."""
    bearer = mesh.bearer(tctx={"stock": "ACME", "quantity": 100}) | JSON
    raw = json.dumps(GOOD).encode()
    with mesh.connect(orders.ports["inbound"]) as wire:
        wire.send(request("POST", "/trades/ACME", bearer | {"Expect": "100-continue", "Content-Length": str(len(raw))}))
        assert wire.head().status == 100
        assert wire.send(raw).reply().status == 200
    with mesh.connect(orders.ports["inbound"]) as wire:
        wire.send(request("POST", "/trades/ACME", bearer | {"Content-Length": str(len(raw))}) + raw[:-1])
    orders.wait_for_decision(reason="client_closed", direction="inbound")
    assert len(app.requests) == 1

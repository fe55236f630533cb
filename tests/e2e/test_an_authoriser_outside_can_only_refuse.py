"""OPA or Envoy's ext_authz, asked after our own Permit: no answer is a refusal, and no answer widens what we allow."""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2 as auth
from google.rpc import status_pb2
from support.apps import App
from support.authorisers import ExtAuthzServer, OpaLike, need_opa, real_opa
from support.mesh import EDGE, ORDERS, Mesh
from support.secrecy import leaks
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    routes:
      - {{match: "GET /orders/**", scopes: [orders.read]}}
      - {{match: "POST /once", scopes: [orders.read], once: true}}
"""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecars."""
    return mesh.app()


@pytest.fixture(scope="module")
def like(mesh: Mesh) -> OpaLike:
    """A server that speaks OPA's API."""
    server = OpaLike()
    mesh.also_close(server.close)
    return server


@pytest.fixture(scope="module")
def envoys(mesh: Mesh) -> ExtAuthzServer:
    """A server of ext_authz at a port."""
    server = ExtAuthzServer()
    mesh.also_close(server.close)
    return server


def start(mesh: Mesh, app: App, name: str, authoriser: str, **more: str) -> Sidecar:
    """A sidecar that asks this authoriser."""
    return mesh.start(name, YAML.format(app=app.port), authoriser=authoriser, **more)


@pytest.fixture(
    scope="module", params=["a server like OPA", "OPA itself", "OPA itself, an object", "ext_authz", "a socket"]
)
def asking(
    request: pytest.FixtureRequest, mesh: Mesh, app: App, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sidecar]:
    """A sidecar that asks each kind of authoriser."""
    kind: str = request.param
    name = "asks-" + kind.replace(" ", "-").replace(",", "")
    if kind.startswith("OPA itself"):
        need_opa()
        with real_opa(tmp_path_factory.mktemp("opa")) as url:
            document = "verdict" if "object" in kind else "allow"
            yield start(mesh, app, name, f'{{opa: {{url: "{url}/{document}"}}, headers: [x-tenant], timeout: 5s}}')
        return
    if kind == "a server like OPA":
        like: OpaLike = request.getfixturevalue("like")
        yield start(mesh, app, name, f'{{opa: {{url: "{like.url}"}}, headers: [x-tenant], timeout: 5s}}')
        return
    server = request.getfixturevalue("envoys")
    if kind == "a socket":
        server = ExtAuthzServer(f"unix://{tmp_path_factory.mktemp('authz')}/s")
        mesh.also_close(server.close)
    yield start(mesh, app, name, f'{{ext_authz: {{address: "{server.address}"}}, headers: [x-tenant], timeout: 5s}}')


def test_what_it_refuses_is_refused(mesh: Mesh, asking: Sidecar, app: App) -> None:
    """By what the request is, whom the token speaks for, and a field; and what it allows passes with its body."""
    wire = mesh.connect(asking.ports["inbound"])
    good = {"x-tenant": "a"}
    for path, claims, fields, status in (
        ("/orders/1?q=2", {}, good, 200),
        ("/orders/forbidden/1", {}, good, 403),
        ("/orders/1", {"sub": "mallory"}, good, 403),
        ("/orders/1", {}, {"x-tenant": "b"}, 403),
        ("/orders/1", {}, {}, 403),
        ("/orders/2", {}, good, 200),
    ):
        seen = len(app.requests)
        answer = wire.ask("GET", path, mesh.bearer(scope="orders.read", **claims) | fields)
        assert answer.status == status, (path, claims, fields)
        assert len(app.requests) == seen + (status == 200)
        if status == 403:
            assert answer.reason == "authoriser_denied"
    body = b"x" * 100_000
    token = mesh.bearer(scope="orders.read", txn=secrets.token_hex(8))
    assert wire.ask("POST", "/once", token | good, body).status == 200
    assert app.requests[-1]["body"] == body.decode()


def test_it_is_not_asked_for_what_we_refuse_and_cannot_allow_it(mesh: Mesh, asking: Sidecar, app: App) -> None:
    """Whatever it would say."""
    wire = mesh.connect(asking.ports["inbound"])
    before = asking.metric("svidecar_authoriser_seconds_count")
    seen = len(app.requests)
    good = {"x-tenant": "a"}
    assert wire.ask("GET", "/orders/1", good).reason == "token_missing"
    assert wire.ask("GET", "/else", mesh.bearer(scope="orders.read") | good).reason == "route_not_allowed"
    assert wire.ask("GET", "/orders/1", mesh.bearer(scope="admin") | good).reason == "scope_beyond_grant"
    assert asking.metric("svidecar_authoriser_seconds_count") == before
    assert len(app.requests) == seen


def test_pipelined_requests_are_answered_in_order(mesh: Mesh, asking: Sidecar) -> None:
    """Each waits for its own answer, and for those before it."""
    wire = mesh.connect(asking.ports["inbound"])
    token = mesh.bearer(scope="orders.read")["Txn-Token"]
    paths = ["/orders/1", "/orders/forbidden/2", "/orders/3"] * 5
    wire.send(
        b"".join(
            f"GET {path} HTTP/1.1\r\nHost: orders\r\nx-tenant: a\r\nTxn-Token: {token}\r\n\r\n".encode()
            for path in paths
        )
    )
    assert [wire.reply().status for _ in paths] == [403 if "forbidden" in path else 200 for path in paths]


def test_a_refused_request_uses_nothing_up(mesh: Mesh, asking: Sidecar) -> None:
    """A transaction that a route takes once is there for the request that is allowed."""
    wire = mesh.connect(asking.ports["inbound"])
    token = mesh.bearer(scope="orders.read", txn=secrets.token_hex(8))
    assert wire.ask("POST", "/once", token | {"x-tenant": "b"}).reason == "authoriser_denied"
    assert wire.ask("POST", "/once", token | {"x-tenant": "a"}).status == 200
    assert wire.ask("POST", "/once", token | {"x-tenant": "a"}).reason == "transaction_replayed"


def test_what_is_shown(mesh: Mesh, app: App, like: OpaLike, envoys: ExtAuthzServer) -> None:
    """Who, for whom, through whom, what; never the token, nor a field that was not named."""
    token = mesh.bearer(scope="orders.read", act={"sub": "agent-1"}, tctx={"stock": "A"})
    fields = token | {"x-tenant": "a", "Cookie": "c=secret", "Authorization": "Bearer secret", "x-other": "secret"}
    for name, authoriser in (
        ("shows-opa", f'{{opa: {{url: "{like.url}"}}, headers: [X-Tenant]}}'),
        ("shows-envoy", f'{{ext_authz: {{address: "{envoys.address}"}}, headers: [x-tenant]}}'),
    ):
        sidecar = start(mesh, app, name, authoriser)
        assert mesh.connect(sidecar.ports["inbound"]).ask("GET", "/orders/7?q=1", fields).status == 200
    shown = like.seen[-1]["input"]
    assert like.seen[-1]["path"] == "/v1/data/mesh/allow"
    assert (shown["method"], shown["path"], shown["query"], shown["host"]) == ("GET", "/orders/7", "q=1", "orders")
    assert (shown["peer"], shown["rule"], shown["route"]) == (EDGE, "edge may order", "/orders/**")
    assert (shown["token"]["act"], shown["token"]["tctx"]) == (["agent-1"], {"stock": "A"})
    assert shown["headers"] == {"x-tenant": ["a"]}
    attributes = envoys.seen[-1].attributes
    assert (attributes.source.principal, attributes.request.http.path) == (EDGE, "/orders/7?q=1")
    assert attributes.source.address.socket_address.address == "127.0.0.1"
    assert json.loads(attributes.context_extensions["tctx"]) == {"stock": "A"}
    told = json.dumps(like.seen) + str(envoys.seen)
    assert "secret" not in told
    assert leaks(told) == []
    assert ORDERS not in told or "shows" in told


@pytest.mark.parametrize("kind", ["opa", "ext_authz"])
def test_no_answer_is_a_refusal(mesh: Mesh, app: App, kind: str) -> None:
    """Too slow, an error, garbage, gone; and it serves again when the authoriser does."""
    server: Any = OpaLike() if kind == "opa" else ExtAuthzServer()
    where = f'{{url: "{server.url}"}}' if kind == "opa" else f'{{address: "{server.address}"}}'
    sidecar = start(
        mesh, app, f"closed-{kind}".replace("_", "-"), f"{{{kind}: {where}, headers: [x-tenant], timeout: 1500ms}}"
    )
    wire = mesh.connect(sidecar.ports["inbound"])
    fields = mesh.bearer(scope="orders.read") | {"x-tenant": "a"}
    seen = len(app.requests)

    def ask() -> tuple[int, str]:
        answer = wire.ask("GET", "/orders/1", fields)
        return answer.status, answer.reason if answer.status != 200 else ""

    unavailable = 503, "authoriser_unavailable"
    server.delay_s = 3.0
    assert ask() == unavailable
    server.delay_s = 0.0
    if kind == "opa":
        bad: list[Any] = [lambda _: (500, b'{"result": true}'), lambda _: (200, b"{"), lambda _: (200, b"true")]
    else:
        bad = [lambda _: grpc.StatusCode.INTERNAL, lambda _: b"\x0a\x05\x08", lambda _: b"\xff" * 100]
        assert ask()[0] == 200
        seen += 1
        server.answer = lambda _: auth.CheckResponse()
        assert ask() == (403, "authoriser_denied"), "no status is no OK"
        server.answer = lambda _: auth.CheckResponse(
            status=status_pb2.Status(code=7), ok_response=auth.OkHttpResponse(headers_to_remove=["x"])
        )
        assert ask() == (403, "authoriser_denied"), "the status decides"
    for answer in bad:
        server.answer = answer
        assert ask() == unavailable
    server.answer = server.decided
    assert ask()[0] == 200
    assert len(app.requests) == seen + 1
    server.close()
    assert ask() == unavailable
    assert "what it should judge is refused" in sidecar.log
    assert sidecar.metric("svidecar_authoriser_seconds_count", result="failed") >= 5


def test_open_is_said_loudly(mesh: Mesh, app: App) -> None:
    """With ``fail: open`` no answer lets pass what our policy allows, and nothing else."""
    sidecar = start(mesh, app, "opened", '{opa: {url: "http://127.0.0.1:1/v1/data/x"}, fail: open}')
    wire = mesh.connect(sidecar.ports["inbound"])
    assert wire.ask("GET", "/orders/1", mesh.bearer(scope="orders.read")).status == 200
    assert wire.ask("GET", "/else", mesh.bearer(scope="orders.read")).reason == "route_not_allowed"
    assert "let pass UNASKED" in sidecar.log


def test_equal_questions_wait_for_one_answer(mesh: Mesh, app: App) -> None:
    """Which then holds for a while; another token, path or field is another question."""
    server = OpaLike()
    mesh.also_close(server.close)
    sidecar = start(
        mesh, app, "cached", f'{{opa: {{url: "{server.url}"}}, headers: [x-tenant], cache: 30s, timeout: 5s}}'
    )
    fields = mesh.bearer(scope="orders.read") | {"x-tenant": "a"}
    server.delay_s = 0.3
    found: list[int] = []

    wires = [mesh.connect(sidecar.ports["inbound"]) for _ in range(8)]

    def ask(wire: Wire) -> None:
        found.append(wire.ask("GET", "/orders/1", fields).status)

    threads = [threading.Thread(target=ask, args=(wire,)) for wire in wires]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8
    asked = len(server.seen)
    assert asked <= 2, "they came at about the same time"
    server.delay_s = 0.0
    wire = mesh.connect(sidecar.ports["inbound"])
    for path, more, status, new in (
        ("/orders/1", {}, 200, 0),
        ("/orders/2", {}, 200, 1),
        ("/orders/1", {"x-tenant": "b"}, 403, 1),
        ("/orders/1", {"x-tenant": "b"}, 403, 0),
        ("/orders/1", mesh.bearer(scope="orders.read", sub="mallory"), 403, 1),
    ):
        before = len(server.seen)
        assert wire.ask("GET", path, fields | more).status == status
        assert len(server.seen) == before + new, (path, more)
    assert sidecar.metric("svidecar_authoriser_cache_total", result="hit") >= 2


def test_who_goes_away_while_it_is_asked_harms_nobody(mesh: Mesh, app: App) -> None:
    """The connection ends, the answer comes to nobody, the app sees nothing."""
    server = OpaLike()
    mesh.also_close(server.close)
    sidecar = start(mesh, app, "left", f'{{opa: {{url: "{server.url}"}}, headers: [x-tenant], timeout: 5s}}')
    server.delay_s = 0.5
    seen = len(app.requests)
    token = mesh.bearer(scope="orders.read")["Txn-Token"]
    wire = mesh.connect(sidecar.ports["inbound"])
    wire.send(f"GET /orders/1 HTTP/1.1\r\nHost: o\r\nx-tenant: a\r\nTxn-Token: {token}\r\n\r\n".encode())
    wait_until(lambda: server.seen, "it was asked")
    wire.close()
    sidecar.wait_for_decision(1, reason="client_closed")
    time.sleep(0.6)
    assert len(app.requests) == seen
    server.delay_s = 0.0
    fields = mesh.bearer(scope="orders.read") | {"x-tenant": "a"}
    assert mesh.connect(sidecar.ports["inbound"]).ask("GET", "/orders/1", fields).status == 200


def test_mistakes_are_told_by_check(mesh: Mesh) -> None:
    """One of the two, over what can be believed, and never a token among the fields."""
    for authoriser, message in (
        ("{timeout: 1s}", "write opa: or ext_authz:"),
        ('{opa: {url: "http://opa.example.org/v1/data/x"}}', "whoever is in between decides"),
        ('{opa: {url: "http://127.0.0.1:8181/x"}}', "not the URL of a document of OPA"),
        ('{opa: {url: "http://127.0.0.1:8181/v1/data/x"}, headers: [Txn-Token]}', "never shown to anybody"),
        ('{opa: {url: "http://127.0.0.1:8181/v1/data/x"}, headers: [authorization]}', "never shown to anybody"),
        ("{ext_authz: {address: localhost:1}}", "authoriser.ext_authz.address"),
    ):
        code, said = mesh.fails("orders", YAML.format(app=1), authoriser=authoriser)
        assert (code, message in said) == (1, True), said


def test_the_file_of_this_test_is_there() -> None:
    """The program that builds OPA is where the reason of a skip says."""
    assert (Path(__file__).parents[2] / ".ci/opa").exists()

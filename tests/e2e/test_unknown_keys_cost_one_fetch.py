"""A token with an unknown ``kid`` makes the sidecar look once, however many ask; without keys nothing passes."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, mesh_in, new_trace
from support.sidecar import Sidecar, wait_until
from support.tokens import TokenMint

CALLERS = 40


class Keys:
    """A JWKS endpoint whose set may change; ``answer`` None is an endpoint that fails."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.fetches = 0
        self.release = threading.Event()
        self.release.set()
        keys = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                keys.fetches += 1
                keys.release.wait(5)
                self.send_response(200 if keys.answer else 500)
                self.end_headers()
                self.wfile.write(keys.answer or b"")

        self.server = App(Handler)


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test: what one has fetched, the next has not."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def keys(mesh: Mesh) -> Iterator[Keys]:
    """The endpoint of the mesh's own keys."""
    made = Keys(mesh.mint.jwks())
    yield made
    made.release.set()
    made.server.close()


Launch = Callable[[], Sidecar]


@pytest.fixture
def launch(mesh: Mesh, keys: Keys) -> Launch:
    """Start a sidecar that has its keys from the endpoint."""
    url = f'"http://127.0.0.1:{keys.server.port}/jwks", learn_interval: 300ms, refresh: 1h'
    yaml = INBOUND.format(app=mesh.app().port).replace("jwks.json", url)
    return lambda: mesh.launch("orders", yaml)


def _ask_all(mesh: Mesh, sidecar: Sidecar, tokens: list[bytes]) -> list[tuple[int, str]]:
    wires = [mesh.connect(sidecar.ports["inbound"]) for _ in tokens]
    head = b"GET /orders/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: "
    for wire, token in zip(wires, tokens, strict=True):
        wire.send(head + token + b"\r\n\r\n")
    return [(answer.status, answer.reason) for answer in (wire.reply() for wire in wires)]


def test_many_requests_with_a_new_key_share_one_fetch(mesh: Mesh, keys: Keys, launch: Launch) -> None:
    """The new key was published; the requests that came before the sidecar knew it are served all the same."""
    orders = launch().wait_until_ready()
    assert keys.fetches == 1
    rotated = TokenMint(kid="key-2")
    keys.answer = mesh.mint.jwks(rotated)
    keys.release.clear()
    waiting = threading.Timer(0.3, keys.release.set)  # all have asked before the answer comes
    waiting.start()
    answers = _ask_all(mesh, orders, [rotated.token(txn=f"txn-{number}") for number in range(CALLERS)])
    waiting.join()
    assert answers == [(200, "")] * CALLERS
    assert keys.fetches == 2


def test_unknown_keys_cannot_make_the_sidecar_ask_on(mesh: Mesh, keys: Keys, launch: Launch) -> None:
    """Different kids that nobody has: one fetch for all of them, and each request has its refusal."""
    orders = launch().wait_until_ready()
    mints = [TokenMint(kid=f"nobody-{number}") for number in range(CALLERS)]
    answers = _ask_all(mesh, orders, [mint.token() for mint in mints])
    assert answers == [(401, "token_unknown_key")] * CALLERS
    assert keys.fetches == 2
    assert orders.decisions(reason="token_unknown_key") == CALLERS


def test_without_keys_nothing_passes(mesh: Mesh, keys: Keys, launch: Launch) -> None:
    """503 with its reason in body, metric and log; not ready, and says why; ready when the keys come."""
    keys.answer = None
    orders = launch()
    wait_until(lambda: keys.fetches > 0, "a fetch")
    trace = new_trace()
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer() | trace)
    assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "keys_unavailable", "1")
    assert orders.decisions(reason="keys_unavailable", decision="error") == 1
    assert mesh.record("orders", trace)["reason"] == "keys_unavailable"
    wait_until(lambda: "500" in orders.get("health", "/healthz/ready")[1], "the reason")
    status, gates = orders.get("health", "/healthz/ready")
    assert status == 503
    assert "tokens.keys" in gates
    keys.answer = mesh.mint.jwks()
    orders.wait_until_ready()
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200


def test_a_failed_fetch_keeps_the_last_good_keys(mesh: Mesh, keys: Keys, launch: Launch) -> None:
    """The endpoint breaks: tokens of known keys go on; those of unknown ones wait, for they may be good (503)."""
    orders = launch().wait_until_ready()
    for broken in (None, b"<html>", b'{"keys": []}'):
        keys.answer = broken
        before = keys.fetches
        while keys.fetches == before:
            found = _ask_all(mesh, orders, [TokenMint(kid="key-2").token()])
            assert found == [(503, "keys_unavailable")]
        assert _ask_all(mesh, orders, [mesh.mint.token()]) == [(200, "")]
    assert orders.ready


def test_a_caller_that_goes_away_while_the_keys_are_fetched(mesh: Mesh, keys: Keys, launch: Launch) -> None:
    """It takes nothing from the others, and the app never sees its request."""
    orders = launch().wait_until_ready()
    rotated = TokenMint(kid="key-2")
    keys.answer = mesh.mint.jwks(rotated)
    keys.release.clear()
    head = b"GET /orders/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n" % rotated.token()
    first = mesh.connect(orders.ports["inbound"]).send(head)
    wait_until(lambda: keys.fetches == 2, "the second fetch")
    second = mesh.connect(orders.ports["inbound"]).send(head)
    first.close()
    orders.wait_for_decision(reason="client_closed")
    keys.release.set()
    assert second.reply().status == 200

"""A route with ``once`` takes each transaction a single time; our own second attempts are not counted."""

import socket
import threading
import time

import pytest
from support.apps import App, read_head
from support.mesh import Mesh
from support.sidecar import Sidecar
from support.wire import request

YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
limits: {{used_transactions: 5}}
timeouts: {{used_transaction: {window}}}
tokens: {{keys: jwks.json}}
policy:
  - name: edge pays
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "POST /pay", scopes: [orders.write], once: true}}
      - {{match: "PUT /pay/{{id}}", once: true, facts: {{id: path:id}}}}
      - {{match: "GET /pay/{{id}}", once: true}}
      - {{match: "GET /free"}}
"""


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind it."""
    return mesh.app()


@pytest.fixture
def orders(mesh: Mesh, app: App) -> Sidecar:
    """A sidecar that has seen nothing."""
    app.requests.clear()
    return mesh.start("orders", YAML.format(app=app.port, window="2s"))


def test_a_transaction_is_taken_once_by_each_route(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """The same token, another token of the transaction, another connection, another path of the route: refused."""
    both = {"scope": "orders.read orders.write", "tctx": {"id": "1"}}
    first, second = mesh.bearer(txn="t1", **both), mesh.bearer(txn="t1", sub="bob", **both)
    with mesh.connect(orders.ports["inbound"]) as wire, mesh.connect(orders.ports["inbound"]) as other:
        assert wire.ask("POST", "/pay", first).status == 200
        for connection, token in ((wire, first), (wire, second), (other, first), (other, second)):
            answer = connection.ask("POST", "/pay", token)
            assert (answer.status, answer.reason) == (403, "transaction_replayed")
        assert wire.ask("POST", "/pay", mesh.bearer(txn="t2", **both)).status == 200
        assert wire.ask("PUT", "/pay/1", first).status == 200
        assert wire.ask("PUT", "/pay/1", first).reason == "transaction_replayed"
        assert wire.ask("GET", "/pay/1", first).status == 200
        assert wire.ask("GET", "/pay/2", first).reason == "transaction_replayed"
        for _ in range(3):
            assert wire.ask("GET", "/free", first).status == 200
    assert len(app.requests) == 7


def test_what_is_refused_uses_nothing(mesh: Mesh, orders: Sidecar) -> None:
    """A token without the scope, other facts, a loop: the transaction is still there for the right request."""
    with mesh.connect(orders.ports["inbound"]) as wire:
        token = mesh.bearer(txn="t1", scope="orders.read", tctx={"id": "1"})
        assert wire.ask("POST", "/pay", token).reason == "scope_missing"
        assert wire.ask("PUT", "/pay/2", token).reason == "fact_mismatch"
        assert wire.ask("PUT", "/pay/1", token).status == 200


def test_a_use_is_remembered_as_long_as_its_token_is_good(mesh: Mesh, app: App) -> None:
    """Beyond ``timeouts.used_transaction``; and no longer than either, for memory has a bound."""
    orders = mesh.start("orders", YAML.format(app=app.port, window="1s"))
    short = mesh.bearer(txn="short", scope="orders.write", exp=int(time.time()) + 1)
    long = mesh.bearer(txn="long", scope="orders.write")
    with mesh.connect(orders.ports["inbound"]) as wire:
        for token in (short, long):
            assert wire.ask("POST", "/pay", token).status == 200
        time.sleep(3.2)  # with the skew of 2 s
        assert wire.ask("POST", "/pay", long).reason == "transaction_replayed"
        again = mesh.bearer(txn="short", scope="orders.write")
        assert wire.ask("POST", "/pay", again).status == 200


def test_the_bound_fails_closed(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Five uses are remembered; the sixth transaction is refused until one is forgotten, a known one for what it is."""
    with mesh.connect(orders.ports["inbound"]) as wire:
        tokens = [mesh.bearer(txn=f"t{number}", scope="orders.write") for number in range(6)]
        assert [wire.ask("POST", "/pay", token).status for token in tokens[:5]] == [200] * 5
        answer = wire.ask("POST", "/pay", tokens[5])
        assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "used_transactions_full", "1")
        assert orders.metric("svidecar_transaction_memory_ratio", memory="used") == 1
        assert wire.ask("POST", "/pay", tokens[0]).reason == "transaction_replayed"
        assert wire.ask("GET", "/free", tokens[5]).status == 200
    assert len(app.requests) == 6


def test_racing_requests(mesh: Mesh, app: App, orders: Sidecar) -> None:
    """Of twenty at once with one transaction, one arrives."""
    token = mesh.bearer(txn="race", scope="orders.write")
    wires = [mesh.connect(orders.ports["inbound"]) for _ in range(20)]
    threads = [threading.Thread(target=wire.send, args=(request("POST", "/pay", token),)) for wire in wires]
    for thread in threads:
        thread.start()
    assert sorted(wire.reply().status for wire in wires) == [200] + [403] * 19
    assert len(app.requests) == 1


def test_our_own_second_attempt_is_none(mesh: Mesh) -> None:
    """A pooled connection that has died is replaced, and the request sent again, by the same use."""
    heads: list[bytes] = []

    def script(connection: socket.socket) -> None:
        for _ in range(2):
            head = read_head(connection)
            if not head or (len(heads) == 1 and b"/pay" in head):
                heads.append(head)
                return
            heads.append(head)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    app = mesh.raw_app(script)
    orders = mesh.start("again", YAML.format(app=app.port, window="1h"))
    with mesh.connect(orders.ports["inbound"]) as wire:
        assert wire.ask("GET", "/free", mesh.bearer(txn="t1")).status == 200
        assert wire.ask("GET", "/pay/1", mesh.bearer(txn="t1")).status == 200
        assert [b"/pay" in head for head in heads] == [False, True, True]
        assert wire.ask("GET", "/pay/1", mesh.bearer(txn="t1")).reason == "transaction_replayed"

"""A route with ``once`` takes each transaction a single time, in all processes that share; not our own second attempts."""

import fcntl
import os
import secrets
import socket
import threading
import time
from pathlib import Path

import pytest
from support.apps import App, RawApp, read_head
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


SHARED = YAML + "transactions: {{share: {folder}, timeout: 300ms}}\n"
RAW = """
inbound: {{listen: 127.0.0.1:0, app: "tcp://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
transactions: {{share: {folder}, timeout: 300ms}}
policy:
  - name: edge may copy
    peers: [spiffe://example.org/edge]
    scopes: [orders.write]
    routes: [{{match: "CONNECT db:5432", scopes: [orders.write], once: true}}]
"""


class Processes:
    """Two of one app, and what is left of them."""

    def __init__(self, mesh: Mesh, app: App) -> None:
        self.mesh, self.app = mesh, app
        self.folder = mesh.folder / f"shared-{secrets.token_hex(3)}"
        self.one, self.two = self.start("one"), self.start("two")

    def start(self, name: str) -> Sidecar:
        """Start one."""
        return self.mesh.start(name, SHARED.format(app=self.app.port, window="1h", folder=self.folder))

    def pay(self, sidecar: Sidecar, txn: str) -> tuple[int, str]:
        """Use a transaction; status and reason."""
        with self.mesh.connect(sidecar.ports["inbound"]) as wire:
            answer = wire.ask("POST", "/pay", self.mesh.bearer(txn=txn, scope="orders.write"))
        return answer.status, answer.reason if answer.status != 200 else ""


@pytest.fixture
def processes(mesh: Mesh, app: App) -> Processes:
    """Both, of a new folder."""
    app.requests.clear()
    return Processes(mesh, app)


REPLAYED = (403, "transaction_replayed")


def test_what_one_process_took_no_other_takes(processes: Processes, app: App) -> None:
    """Also one that was killed, and one that starts when none is left: the folder remembers, without a token in it."""
    assert processes.pay(processes.one, "t1") == (200, "")
    assert processes.pay(processes.two, "t1") == REPLAYED
    assert processes.pay(processes.two, "t2") == (200, "")
    processes.two.process.kill()
    processes.two.process.wait()
    assert processes.pay(processes.one, "t2") == REPLAYED
    assert processes.one.stop() == 0
    three = processes.start("three")
    for txn in ("t1", "t2"):
        assert processes.pay(three, txn) == REPLAYED
    assert len(app.requests) == 2
    (left,) = [path for path in processes.folder.iterdir() if path.suffix != ".sock"]
    assert b"eyJ" not in left.read_bytes()
    assert left.stat().st_mode & 0o777 == 0o600


def test_the_bound_is_one_of_all(processes: Processes) -> None:
    """Five uses are remembered, whoever took them."""
    turns = [processes.one, processes.two] * 3
    assert [processes.pay(turns[number], f"t{number}")[0] for number in range(5)] == [200] * 5
    for sidecar in (processes.one, processes.two):
        assert processes.pay(sidecar, "t5") == (503, "used_transactions_full")
        assert processes.pay(sidecar, "t0") == REPLAYED


def test_requests_that_race_in_two_processes(mesh: Mesh, processes: Processes, app: App) -> None:
    """Of twenty at once with one transaction, ten to each, one arrives."""
    for round_ in range(4):
        token = mesh.bearer(txn=f"race-{round_}", scope="orders.write")
        wires = [mesh.connect(each.ports["inbound"]) for each in (processes.one, processes.two) for _ in range(10)]
        threads = [threading.Thread(target=wire.send, args=(request("POST", "/pay", token),)) for wire in wires]
        for thread in threads:
            thread.start()
        assert sorted(wire.reply().status for wire in wires) == [200] + [403] * 19
        for thread, wire in zip(threads, wires, strict=True):
            thread.join()
            wire.close()
    assert len(app.requests) == 4


def test_a_process_that_hangs_with_the_list(mesh: Mesh, processes: Processes, app: App) -> None:
    """Nobody knows what it is about to note: refused in time, and nothing is used. Other routes do not wait."""
    with (processes.folder / "used").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        assert processes.pay(processes.one, "t1") == (503, "sibling_unavailable")
        assert 0.3 <= time.monotonic() - began < 10
        with mesh.connect(processes.one.ports["inbound"]) as wire:
            assert wire.ask("GET", "/free", mesh.bearer(txn="t1")).status == 200
            wire.send(request("POST", "/pay", mesh.bearer(txn="t1", scope="orders.write")))
            time.sleep(0.05)
            fcntl.flock(held, fcntl.LOCK_UN)
            assert wire.reply().status == 200
    assert processes.pay(processes.two, "t1") == REPLAYED
    assert len(app.requests) == 2


def test_a_list_that_cannot_be_read(processes: Processes, app: App) -> None:
    """Refused; and whoever starts with it says so. Removed, it is made anew, and what is known is in it."""
    used = processes.folder / "used"
    assert processes.pay(processes.one, "t1") == (200, "")
    with used.open("ab") as file:
        file.write(b"x" * 32)
    for sidecar in (processes.one, processes.two):
        assert processes.pay(sidecar, "t2") == (503, "sibling_unavailable")
    body = SHARED.format(app=app.port, window="1h", folder=processes.folder)
    code, said = processes.mesh.fails("bad", body)
    assert code == 1
    assert "remove it (transactions.share)" in said
    used.unlink()
    assert processes.pay(processes.one, "t2") == (200, "")
    for txn in ("t1", "t2"):
        assert processes.pay(processes.two, txn) == REPLAYED


def test_raw_tcp_is_opened_once_by_all(mesh: Mesh, tmp_path: Path) -> None:
    """As a request: by whichever process, and it waits for the list as one does."""
    app = mesh.raw_app(lambda connection: connection.sendall(b"hello"))
    assert isinstance(app, RawApp)
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - as the folder is shared
    one, two = (mesh.start(name, RAW.format(app=app.port, folder=tmp_path)) for name in ("raw-one", "raw-two"))
    token = mesh.bearer(txn="t1", scope="orders.write")["Txn-Token"]
    head = f"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\nTxn-Token: {token}\r\n\r\n".encode()
    with (tmp_path / "used").open("rb") as held, mesh.connect(one.ports["inbound"]) as wire:
        fcntl.flock(held, fcntl.LOCK_EX)
        wire.send(head)
        time.sleep(0.05)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert wire.reply().status == 200
    for sidecar in (two, one):
        with mesh.connect(sidecar.ports["inbound"]) as wire:
            wire.send(head)
            assert wire.reply().reason == "transaction_replayed"

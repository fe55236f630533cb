"""`svidecar tap` shows what a sidecar decides, as it decides it, without a log; no token, no path; and holds nobody up."""

import contextlib
import http.client
import json
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from support.apps import App
from support.mesh import EDGE, INBOUND, Mesh, orders_at, outbound
from support.secrecy import listen_to
from support.sidecar import SOON_S, Sidecar, wait_until

from proxy.admin.tap_path import MAX_ONLOOKERS


class Onlooker:
    """One ``svidecar tap``, and what it has printed."""

    def __init__(self, sidecar: Sidecar, *words: str) -> None:
        url = f"http://127.0.0.1:{sidecar.ports['admin']}/tap"
        command = [sys.executable, "-m", "proxy", "tap", "--url", url, *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        self.printed: list[str] = []
        listen_to("svidecar tap", lambda: "".join(self.printed))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            self.lines.put(line)

    def next(self) -> str:
        """The next line, without its end."""
        return self.lines.get(timeout=20).rstrip("\n")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Interrupt it; give its exit code, and what it said."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait for its end."""
        self._reader.join(timeout=20)
        assert self.process.stderr is not None
        with self.process.stderr as said:
            words = said.read()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(timeout=20), words


@contextlib.contextmanager
def onlooker(sidecar: Sidecar, *words: str) -> Iterator[Onlooker]:
    """One that has begun to look on."""
    before = sidecar.connections("admin")
    one = Onlooker(sidecar, *words)
    try:
        wait_until(lambda: sidecar.connections("admin") > before, "it looks on")
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.ended()


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """Inbound, with its access log off."""
    return mesh.start("orders", INBOUND.format(app=app.port), access_log="off")


@pytest.fixture(scope="module")
def edge(mesh: Mesh, orders: Sidecar) -> Sidecar:
    """Outbound before it, with a log."""
    return mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")


def ask(edge: Sidecar, path: str, fields: dict[str, str], method: str = "GET") -> int:
    """As the app of ``edge``."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.ports["outbound"], timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers={"Host": "orders", **fields})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_what_is_allowed_and_what_is_not(mesh: Mesh, edge: Sidecar, orders: Sidecar) -> None:
    """A line each, for a person; the path that was asked for, and the token, are in none."""
    with onlooker(orders) as one:
        assert ask(edge, "/orders/private-7", mesh.bearer(txn="txn-of-this")) == 200
        assert ask(edge, "/orders/8", {}) == 401
        assert ask(edge, "/orders", mesh.bearer(scope="orders.read"), "POST") == 403
        allowed, missing, beyond = one.next(), one.next(), one.next()
        assert f"  inbound   allow  200  -  {EDGE}  GET /orders/{{id}}  " in allowed
        assert allowed.endswith("  rule edge may order  txn txn-of-this")
        assert f"  deny   401  token_missing  {EDGE}  " in missing
        assert "  deny   403  scope_missing  " in beyond
        assert "private-7" not in allowed
        assert one.end() == (0, "")


def test_data_and_filters(mesh: Mesh, edge: Sidecar, orders: Sidecar) -> None:
    """``--json`` are the lines of an access log; the same filter on both sides of a hop finds one transaction."""
    filters = ("--json", "--txn", "wanted", "--count", "2")
    with onlooker(orders, *filters) as theirs, onlooker(edge, *filters) as ours:
        for txn in ("other", "wanted", "other", "wanted"):
            assert ask(edge, "/orders/1", mesh.bearer(txn=txn)) == 200
        assert theirs.ended()[0] == 0
        records = [json.loads(line) for line in theirs.printed]
        assert [(r["direction"], r["txn"], r["route"]) for r in records] == [("inbound", "wanted", "/orders/{id}")] * 2
        assert ours.process.poll() is None, "outbound a token is not verified, so there no transaction is known"
    with onlooker(edge, "--json", "--count", "1", "--direction", "outbound") as ours:
        assert ask(edge, "/orders/1", mesh.bearer()) == 200
        assert ours.ended() == (0, "")
        assert json.loads(ours.printed[0])["destination"] == "orders"
    wait_until(lambda: mesh.records("edge"), "the log has them as well")


def test_who_does_not_read_holds_nobody_up(mesh: Mesh, edge: Sidecar, orders: Sidecar) -> None:
    """Stopped, it costs nothing more than a bounded memory; when it goes on it is told how many it has missed."""
    with onlooker(orders, "--decision", "allow") as one:
        assert ask(edge, "/orders/1", mesh.bearer()) == 200
        one.next()
        one.process.send_signal(signal.SIGSTOP)
        wire = mesh.connect(orders.ports["inbound"])
        for _ in range(1500):
            assert wire.ask("GET", "/orders/2", mesh.bearer(txn="t")).status == 200
        one.process.send_signal(signal.SIGCONT)
        for _ in range(1000):
            one.next()
        code, said = one.end()
    assert code == 0
    assert "came too fast and were missed" in said


def test_a_web_page_and_a_stranger_learn_nothing(orders: Sidecar) -> None:
    """The rules of the admin port hold here as well; a query that is no number is refused."""
    connection = http.client.HTTPConnection("127.0.0.1", orders.ports["admin"], timeout=20)
    with contextlib.closing(connection):
        for path, fields, status in (
            ("/tap", {"Origin": "http://evil.example"}, 403),
            ("/tap", {"Sec-Fetch-Site": "cross-site"}, 403),
            ("/tap", {"Host": "evil.example"}, 403),
            ("/tap?after=-1", {}, 400),
            ("/tap?after=+1", {}, 400),
            ("/tap?after=1_0", {}, 400),
            ("/tap?after=%D9%A1", {}, 400),
            ("/tap?after=1&after=2", {}, 400),
            ("/tap?after=1&a=1&b=2&c=3", {}, 400),
            ("/tap?before=1", {}, 400),
        ):
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status, path
        connection.request("POST", "/tap")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Allow")) == (405, "GET")
        answer.read()


def test_a_crowd_that_looks_on_leaves_room(mesh: Mesh, app: App) -> None:
    """Every place of the admin port is asked for by somebody who looks on: it still hears who wants something else."""
    orders = mesh.start("crowd", INBOUND.format(app=app.port), access_log="off")
    with contextlib.ExitStack() as crowd, selectors.DefaultSelector() as answered:
        for _ in range(256):
            one = crowd.enter_context(socket.create_connection(("127.0.0.1", orders.ports["admin"]), timeout=20))
            one.sendall(b"GET /tap HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answered.register(one, selectors.EVENT_READ)
        wait_until(lambda: len(answered.select(0)) >= 256 - MAX_ONLOOKERS, "so many are told to come again", SOON_S)
        assert orders.get("admin", "/healthz/live")[0] == 200
        assert orders.post("/drain", {})[0] == 202
        assert orders.wait(5) == 0


def test_the_sidecar_ends_first(mesh: Mesh, app: App) -> None:
    """Nobody who looks on holds up its end; and who looked on is told."""
    orders = mesh.start("ending", INBOUND.format(app=app.port))
    with onlooker(orders) as one:
        orders.signal(signal.SIGTERM)
        assert orders.wait(5) == 0
        code, said = one.ended()
    assert code == 1
    assert "no answer from 127.0.0.1:" in said

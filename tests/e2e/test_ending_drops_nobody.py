"""SIGTERM: what is in progress ends whole, nothing new begins, outbound stays for the app, and the exit code says how it went."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, mesh_in, outbound
from support.sidecar import SOON_S, START_S, Sidecar, wait_until
from support.wire import Truncated, Wire, request

LONG = "shutdown: {grace: 20s, quiet: 0s}\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
CUT = (OSError, Truncated)


@dataclass
class Slow:
    """An app that answers half, and the rest when it is told to."""

    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: threading.Event = field(default_factory=threading.Event)
    body: bytes = b""

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            if head.startswith(b"POST"):
                while len(self.body) < 10:
                    self.body += connection.recv(10)
            if b"/slow" in head:
                self.asked.release()
                self.release.wait(20)
            connection.sendall(OK + b"do")
            if b"/half" in head:
                self.asked.release()
                self.release.wait(20)
            connection.sendall(b"ne")

    def wait(self) -> None:
        """Wait until a slow request has come."""
        assert self.asked.acquire(timeout=10)


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test: its sidecar ends in it."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def slow(mesh: Mesh) -> Slow:
    """The script of the app."""
    made = Slow()
    mesh.also_close(made.release.set)
    return made


@pytest.fixture
def app(mesh: Mesh, slow: Slow) -> RawApp:
    """The app behind the sidecar, which is also whom it may call."""
    return mesh.raw_app(slow)


def _start(mesh: Mesh, app: RawApp, shutdown: str = LONG) -> Sidecar:
    there = outbound(f'host: legacy, address: "127.0.0.1:{app.port}", protection: plain')
    return mesh.start("orders", INBOUND.format(app=app.port) + there + shutdown)


def _ask_slowly(mesh: Mesh, orders: Sidecar, slow: Slow, target: str = "/any/slow") -> Wire:
    wire = mesh.connect(orders.ports["inbound"]).send(request("GET", target, mesh.bearer()))
    slow.wait()
    return wire


def _wait_until_ending(orders: Sidecar) -> dict[str, bool]:
    wait_until(lambda: not orders.ready, "not ready")
    gates = json.loads(orders.get("health", "/healthz/ready")[1])["gates"]
    return {name: gate["ok"] for name, gate in gates.items()}


def _seconds_to_end(orders: Sidecar) -> tuple[int, float]:
    began = time.monotonic()
    return orders.wait(), time.monotonic() - began


def test_what_is_in_progress_is_finished(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """The whole of an end, step by step."""
    orders = _start(mesh, app)
    inbound, outbound_port = orders.ports["inbound"], orders.ports["outbound"]
    idle = mesh.connect(inbound)
    assert idle.ask("GET", "/any/x", mesh.bearer()).body == b"done"
    untouched = mesh.connect(inbound)
    wait_until(lambda: orders.open_connections() == 2, "both are open")
    before, half = (_ask_slowly(mesh, orders, slow, target) for target in ("/any/slow", "/any/half"))
    callers = mesh.plain(outbound_port)
    assert callers.ask("GET", "/x", host="legacy").status == 200

    orders.signal(signal.SIGTERM)
    gates = _wait_until_ending(orders)
    assert [name for name, ok in gates.items() if not ok] == ["not_draining"]
    assert orders.get("health", "/healthz/live")[0] == 200
    assert idle.ends(), "an idle connection is closed"
    assert untouched.ends()
    with pytest.raises(ConnectionRefusedError):
        mesh.connect(inbound)
    # The app may need the mesh to finish: over the connection that it has, and over a new one.
    assert callers.ask("GET", "/x", host="legacy").status == 200
    assert mesh.plain(outbound_port).ask("GET", "/x", host="legacy").status == 200
    assert orders.process.poll() is None

    slow.release.set()
    answer = before.reply()
    assert (answer.status, answer.body, answer.closes) == (200, b"done", True)
    assert before.ends()
    assert half.reply().body == b"done", "its head was out before, so it cannot say close"
    assert half.ends()
    assert orders.wait() == 0


def test_an_idle_sidecar_ends_at_once(mesh: Mesh, app: RawApp) -> None:
    """Open connections that ask for nothing hold nobody up; SIGINT is the same."""
    orders = _start(mesh, app)
    idle = [mesh.connect(orders.ports["inbound"]), mesh.plain(orders.ports["outbound"])]
    orders.signal(signal.SIGINT)
    code, seconds = _seconds_to_end(orders)
    assert code == 0
    assert seconds < SOON_S
    assert all(wire.ends() for wire in idle)


def test_outbound_ends_when_the_app_has_asked_for_nothing_for_a_while(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """``shutdown.quiet`` after the last request; one in progress is waited for."""
    orders = _start(mesh, app, "shutdown: {grace: 20s, quiet: 2s}\n")
    caller = mesh.plain(orders.ports["outbound"])
    orders.signal(signal.SIGTERM)
    _wait_until_ending(orders)
    for _ in range(4):  # longer than the quiet time in all
        assert caller.ask("GET", "/x", host="legacy").status == 200
        time.sleep(0.7)
    caller.send(request("GET", "/slow", host="legacy"))
    slow.wait()
    with pytest.raises(AssertionError):
        wait_until(lambda: orders.process.poll() is not None, "it stays", timeout_s=2.5)
    slow.release.set()
    assert caller.reply().body == b"done"
    assert orders.wait() == 0


def test_a_second_signal_ends_it_at_once(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """Exit code 1, for a request was cut; and its caller sees that it was."""
    orders = _start(mesh, app)
    wires = [_ask_slowly(mesh, orders, slow), _ask_slowly(mesh, orders, slow, "/any/half")]
    orders.signal(signal.SIGTERM)
    _wait_until_ending(orders)
    orders.signal(signal.SIGTERM)
    code, seconds = _seconds_to_end(orders)
    assert code == 1
    assert seconds < SOON_S
    assert "2 requests were cut" in orders.log
    for wire in wires:
        with pytest.raises(CUT):
            wire.reply()


def test_signals_that_rain(mesh: Mesh, app: RawApp) -> None:
    """Whoever sends one after the other until the process is gone does not make a good end look like a death."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    began = time.monotonic()
    while orders.process.poll() is None and time.monotonic() < began + 20:
        orders.process.send_signal(signal.SIGTERM)
        time.sleep(0.0005)
    assert orders.wait() == 0


def test_a_second_signal_that_cuts_nothing(mesh: Mesh, app: RawApp) -> None:
    """Exit code 0."""
    orders = _start(mesh, app, "shutdown: {grace: 20s, quiet: 20s}\n")
    orders.signal(signal.SIGTERM)
    _wait_until_ending(orders)
    orders.signal(signal.SIGTERM)
    code, seconds = _seconds_to_end(orders)
    assert code == 0
    assert seconds < SOON_S


def test_the_grace_is_the_end_of_patience(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """An app that never answers is not waited for any longer."""
    orders = _start(mesh, app, "shutdown: {grace: 1s, quiet: 0s}\n")
    wire = _ask_slowly(mesh, orders, slow)
    orders.signal(signal.SIGTERM)
    code, seconds = _seconds_to_end(orders)
    assert code == 1
    assert 0.3 < seconds < 1 + SOON_S
    assert "1 requests were cut" in orders.log
    with pytest.raises(CUT):
        wire.reply()


def test_drain_by_the_admin_port(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """POST /drain is SIGTERM for those who have no process to signal."""
    orders = _start(mesh, app)
    wire = _ask_slowly(mesh, orders, slow)
    url = f"http://127.0.0.1:{orders.ports['admin']}/drain"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
        assert answer.status == 202
    _wait_until_ending(orders)
    slow.release.set()
    assert wire.reply().closes
    assert orders.wait() == 0


def test_a_signal_after_a_drain_is_the_first(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """A preStop hook drains, then the kubelet sends SIGTERM: that cuts nobody. One more does."""
    orders = _start(mesh, app)
    wire = _ask_slowly(mesh, orders, slow)
    assert orders.post("/drain", {})[0] == 202
    _wait_until_ending(orders)
    orders.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        orders.process.wait(0.5)
    slow.release.set()
    assert wire.reply().closes
    assert orders.wait() == 0


def test_drain_as_a_command(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """`svidecar drain` returns at once; with a time it comes back when the sidecar has ended, or says that it has not."""
    orders = _start(mesh, app)
    wire = _ask_slowly(mesh, orders, slow)
    command = [sys.executable, "-m", "proxy", "drain", "--url", f"http://127.0.0.1:{orders.ports['admin']}/drain"]
    begun = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert (begun.returncode, begun.stdout, begun.stderr) == (0, "", "")
    _wait_until_ending(orders)
    early = subprocess.run([*command, "--timeout", "0.3"], capture_output=True, text=True, timeout=START_S, check=False)
    assert (early.returncode, early.stderr) == (1, "it has not ended within 0.3 s, and goes on ending\n")
    before = orders.connections("admin")
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(subprocess.run, [*command, "--timeout", "30"], timeout=START_S, check=False)
        wait_until(lambda: orders.connections("admin") > before, "it has asked")
        slow.release.set()
        assert wire.reply().closes
        assert orders.wait() == 0
        assert waiting.result().returncode == 0


def test_a_request_that_is_still_coming_is_taken(mesh: Mesh, app: RawApp, slow: Slow) -> None:
    """Its body is on the way when the signal comes: it reaches the app whole, and its answer the caller."""
    orders = _start(mesh, app)
    head = request("POST", "/orders", mesh.bearer() | {"Content-Length": "10"})
    wire = mesh.connect(orders.ports["inbound"]).send(head + b"12345")
    wait_until(lambda: app.accepted == 1, "it has begun")
    orders.signal(signal.SIGTERM)
    _wait_until_ending(orders)
    answer = wire.send(b"67890").reply()
    assert (answer.status, answer.closes) == (200, True)
    assert slow.body == b"1234567890"
    assert orders.wait() == 0


def test_a_request_whose_head_is_still_coming_is_taken(mesh: Mesh, app: RawApp) -> None:
    """Half of it was here when the signal came: its caller could not know."""
    orders = _start(mesh, app)
    whole = request("GET", "/any/x", mesh.bearer())
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/x", mesh.bearer()).status == 200
    wire.send(whole[:30])
    time.sleep(0.3)  # until it has been read
    orders.signal(signal.SIGTERM)
    _wait_until_ending(orders)
    time.sleep(0.3)
    answer = wire.send(whole[30:]).reply()
    assert (answer.status, answer.closes) == (200, True)
    assert orders.wait() == 0


def test_ending_before_there_was_an_identity(mesh: Mesh, app: RawApp) -> None:
    """A sidecar that waits for its SVID ends as quickly as any other."""
    mesh.svids["edge"] = mesh.ca.svid("spiffe://example.org/edge")
    edge = mesh.launch("edge", INBOUND.format(app=app.port) + LONG)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        mesh.connect(edge.ports["inbound"])
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0


def test_load_through_an_end(mesh: Mesh, app: RawApp) -> None:
    """Callers that ask on see whole answers until they are told to close or refused: never a cut one."""
    orders = _start(mesh, app)
    torn: list[str] = []
    served = threading.Semaphore(0)

    def ask_on(wire: Wire) -> None:
        while True:
            try:
                answer = wire.send(request("GET", "/any/x", mesh.bearer())).head()
            except CUT:
                return  # closed between two requests: nothing of an answer had come
            try:
                assert wire.take(4) == b"done"
            except CUT as error:
                torn.append(repr(error))
            served.release()
            if answer.closes:
                return

    wires = [mesh.connect(orders.ports["inbound"]) for _ in range(8)]
    threads = [threading.Thread(target=ask_on, args=(wire,), daemon=True) for wire in wires]
    for thread in threads:
        thread.start()
    for _ in range(100):
        assert served.acquire(timeout=10)
    orders.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(10)
    assert torn == []
    assert orders.wait() == 0
    failed = [r for r in mesh.records("orders") if r["kind"] == "request" and r.get("status") != 200]
    assert failed == []

"""SIGHUP: the YAML is read again and taken whole or not at all, by connections that are open as well."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.apps import RawApp, Recorder, read_head
from support.mesh import INBOUND, Mesh, mesh_in, new_trace, outbound
from support.sidecar import wait_until
from support.wire import Wire, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Reloaded:
    """A sidecar whose YAML changes."""

    def __init__(self, mesh: Mesh, app: RawApp) -> None:
        self.mesh = mesh
        self.app = app
        self.body = INBOUND.format(app=app.port) + outbound(self.destination("one"))
        self.sidecar = mesh.start("orders", self.body)

    def destination(self, host: str) -> str:
        """A destination that is the app itself."""
        return f'host: {host}, address: "127.0.0.1:{self.app.port}", protection: plain'

    def reload(self, old: str = "", new: str = "", result: str = "ok", **changes: str) -> None:
        """Write another YAML, and wait for what becomes of it; ``old`` is there, and ``new`` in its place."""
        assert old in self.body
        before = self.reloads(result)
        self.mesh.config("orders", self.body.replace(old, new) if old else self.body, **changes)
        self.sidecar.signal(signal.SIGHUP)
        wait_until(lambda: self.reloads(result) == before + 1, f"reload {result}")

    def reloads(self, result: str) -> float:
        """How many reloads ended so."""
        return self.sidecar.metric("svidecar_reload_total", result=result)

    def inbound(self) -> Wire:
        """A connection of the peer that is allowed."""
        return self.mesh.connect(self.sidecar.ports["inbound"])

    def asked(self, wire: Wire, target: str = "/orders/1") -> tuple[int, str]:
        """What is said to a GET."""
        answer = wire.ask("GET", target, self.mesh.bearer())
        return answer.status, answer.reason


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def app(mesh: Mesh) -> RawApp:
    """An app that keeps what it was sent."""
    return mesh.raw_app(Recorder())


@pytest.fixture
def orders(mesh: Mesh, app: RawApp) -> Reloaded:
    """The sidecar."""
    return Reloaded(mesh, app)


def test_nobody_waits_for_a_large_one(orders: Reloaded) -> None:
    """While a thousand rules are read, requests are answered one after the other."""
    wire = orders.inbound()
    assert orders.asked(wire) == (200, "")
    rule = '  - {{name: rule {0}, peers: [spiffe://example.org/w{0}], routes: [{{match: "GET /r{0}/{{id}}"}}]}}\n'
    path = orders.mesh.config(
        "orders", orders.body.replace("outbound:", "".join(map(rule.format, range(1000))) + "outbound:")
    )
    assert path.stat().st_size > 50_000
    before, answers, longest_s = orders.reloads("ok"), 0, 0.0
    orders.sidecar.signal(signal.SIGHUP)
    began = time.monotonic()
    while orders.reloads("ok") == before:
        for _ in range(5):
            asked_at = time.monotonic()
            assert orders.asked(wire) == (200, "")
            answers, longest_s = answers + 1, max(longest_s, time.monotonic() - asked_at)
    assert answers >= 10
    assert longest_s < (time.monotonic() - began) / 2


def test_a_new_policy_holds_for_open_connections(orders: Reloaded) -> None:
    """Allowed becomes refused, and allowed again, on the connection that was open all the time."""
    wire = orders.inbound()
    assert orders.asked(wire) == (200, "")
    orders.reload('GET /orders/{id}", scopes: [orders.read]', 'GET /orders/{id}", scopes: [orders.write]')
    read_only = orders.mesh.bearer(scope="orders.read")
    assert wire.ask("GET", "/orders/1", read_only).reason == "scope_missing"
    orders.reload("GET /orders/{id}", "GET /other/{id}")
    assert orders.asked(wire) == (403, "route_not_allowed")
    more = orders.mesh.bearer(scope="orders.read orders.audit")
    assert wire.ask("GET", "/any/1", more).reason == "scope_beyond_grant"
    orders.reload("scopes: [orders.read, orders.write]", "scopes: [orders.read, orders.write, orders.audit]")
    assert wire.ask("GET", "/any/1", more).status == 200
    orders.reload()
    assert orders.asked(wire) == (200, "")


def test_a_peer_that_is_named_no_more_is_gone(mesh: Mesh, orders: Reloaded) -> None:
    """Its open connections end, without an answer; a new one is refused; another peer that came instead is served."""
    wires = [orders.inbound() for _ in range(3)]
    assert orders.asked(wires[0]) == (200, "")
    accepted = orders.app.accepted
    orders.reload("peers: [spiffe://example.org/edge]", "peers: [spiffe://example.org/front]")
    assert all(wire.ends() for wire in wires)
    with contextlib.suppress(OSError):
        assert orders.inbound().send(request("GET", "/orders/1", mesh.bearer())).ends()
    assert orders.app.accepted == accepted
    mesh.svid("front")
    assert orders.asked(mesh.connect(orders.sidecar.ports["inbound"], "front")) == (200, "")


def test_a_request_in_progress_is_answered_first(mesh: Mesh) -> None:
    """Its peer is named no more while the app works: the answer comes whole, then the connection ends."""
    asked, release = threading.Event(), threading.Event()
    mesh.also_close(release.set)

    def script(connection: socket.socket) -> None:
        while read_head(connection).endswith(b"\r\n\r\n"):
            asked.set()
            release.wait(20)
            connection.sendall(OK)

    orders = Reloaded(mesh, mesh.raw_app(script))
    wire = orders.inbound().send(request("GET", "/orders/1", mesh.bearer()))
    assert asked.wait(10)
    orders.reload("peers: [spiffe://example.org/edge]", "peers: [spiffe://example.org/front]")
    release.set()
    answer = wire.reply()
    assert (answer.status, answer.body, answer.closes) == (200, b"ok", True)
    assert wire.ends()


BAD: dict[str, tuple[Callable[[str], str], str, str, str]] = {
    "a key that is not known": (
        lambda body: body.replace("    scopes: [orders.read, orders.write]", "    scopse: [orders.read]"),
        "policy[0].scopse",
        "scopse",
        "scopes",
    ),
    "not YAML": (lambda body: body + "policy: [\n", "", "", ""),
    "a tab": (lambda body: body + "\tx: 1\n", "", "", "spaces"),
    "a route that cannot be": (
        lambda body: body.replace("GET /orders/{id}", "GET orders"),
        "policy[0].routes[0]",
        "GET orders",
        "/",
    ),
    "a peer that is no SPIFFE ID": (
        lambda body: body.replace("spiffe://example.org/edge", "https://example.org/edge"),
        "policy[0].peers[0]",
        "https://example.org/edge",
        "spiffe://",
    ),
    "two destinations of one name": (
        lambda body: body.replace(
            "  destinations:\n", "  destinations:\n    - {host: one, address: 'a:1', protection: plain}\n"
        ),
        "outbound.destinations[1]",
        "one",
        "",
    ),
    "empty": (lambda _body: "", "", "", ""),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_yaml_changes_nothing(orders: Reloaded, case: str) -> None:
    """Counted, and told with line and path; what was in force stays so, and a good one is taken after it."""
    change, path, culprit, advice = BAD[case]
    wire = orders.inbound()
    assert orders.asked(wire) == (200, "")
    good = orders.body
    orders.body = change(good).replace("/any/**", "/everything/**")  # what is good in it is not taken either
    assert orders.body != good
    orders.reload(result="failed")
    orders.sidecar.wait_for_log("the last good configuration stays: ")
    told = next(line for line in orders.sidecar.lines if "the last good configuration stays: " in line)
    assert str(orders.sidecar.config) in told
    assert path in told
    assert advice in told
    if path:
        number = int(told.partition("the file:")[2].partition(":")[0])
        assert culprit in orders.sidecar.config.read_text().splitlines()[number - 1]
    assert orders.asked(wire) == (200, "")
    assert orders.asked(wire, "/any/x") == (200, "")
    assert orders.asked(wire, "/everything/x") == (403, "route_not_allowed")
    assert orders.sidecar.ready
    orders.body = good
    orders.reload("/any/**", "/everything/**")
    assert orders.asked(wire, "/everything/x") == (200, "")


def test_a_file_that_is_gone_changes_nothing(orders: Reloaded) -> None:
    """As while it is being replaced."""
    orders.sidecar.config.rename(orders.sidecar.config.with_suffix(".away"))
    orders.sidecar.signal(signal.SIGHUP)
    wait_until(lambda: orders.reloads("failed") == 1, "it is refused")
    assert orders.asked(orders.inbound()) == (200, "")


def test_destinations_come_and_go(mesh: Mesh, orders: Reloaded) -> None:
    """On a connection of the app that was open before."""
    wire = mesh.plain(orders.sidecar.ports["outbound"])

    def reached(host: str) -> tuple[int, str]:
        answer = wire.ask("GET", "/x", host=host)
        return answer.status, answer.reason

    assert reached("one") == (200, "")
    assert reached("two") == (403, "destination_unknown")
    orders.reload("host: one", "host: two")
    assert reached("two") == (200, "")
    assert reached("one") == (403, "destination_unknown")
    orders.reload()
    assert reached("one") == (200, "")
    assert reached("two") == (403, "destination_unknown")


def test_what_needs_a_restart_is_said(orders: Reloaded) -> None:
    """And the rest of the file is taken."""
    orders.reload("GET /orders/{id}", "GET /other/{id}", timeouts="{idle: 10s}")
    orders.sidecar.wait_for_log("changed, which needs a restart")
    told = next(line for line in orders.sidecar.lines if "needs a restart" in line)
    assert "inbound" in told
    assert "policy" not in told
    assert orders.asked(orders.inbound()) == (403, "route_not_allowed")


def test_the_access_log_is_opened_again(mesh: Mesh, orders: Reloaded) -> None:
    """As logrotate does it: rename, SIGHUP. The old file has what came before, the new one what came after."""
    wire = orders.inbound()
    before, after = new_trace(), new_trace()
    wire.ask("GET", "/orders/1", mesh.bearer() | before)
    mesh.record("orders", before)
    log = mesh.folder / "orders.log"
    old = log.rename(mesh.folder / "orders.log.1")
    orders.reload()
    wire.ask("GET", "/orders/1", mesh.bearer() | after)
    mesh.record("orders", after)
    assert before["traceparent"].split("-")[1] not in log.read_text()
    assert after["traceparent"].split("-")[1] not in old.read_text()


def test_many_reloads_under_load(mesh: Mesh, orders: Reloaded) -> None:
    """What stays allowed is served throughout."""
    stop = threading.Event()
    statuses: list[int] = []
    wire = orders.inbound()

    def ask_on() -> None:
        while not stop.is_set():
            statuses.append(wire.ask("GET", "/orders/1", mesh.bearer()).status)

    thread = threading.Thread(target=ask_on, daemon=True)
    thread.start()
    for number in range(10):
        orders.reload("/any/**", f"/any-{number}/**")
    stop.set()
    thread.join(10)
    assert set(statuses) == {200}
    assert len(statuses) > 10

"""Several sidecar processes of one app find each other's transactions, and refuse where one of them does not answer.

The folder in which they meet is theirs alone.
"""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.mesh import Mesh, outbound
from support.sidecar import SOON_S, Sidecar, wait_until
from support.tracing import Outgoing, TracingApp, full, nothing, traceparent_alone
from support.wire import Reply, request

LEDGER = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: orders may book
    peers: [spiffe://example.org/orders-out]
    scopes: [orders.read, orders.write]
    routes: [{{match: "GET /entries/{{id}}"}}]
"""
IN = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
transactions: {{share: {folder}, timeout: 2s}}
timeouts: {{transaction_grace: 200ms}}
policy:
  - name: whoever calls
    peers: ["spiffe://example.org/*"]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/**"}}
      - {{match: "GET /wait/**"}}
      - {{match: "GET /wait/alone/**", propagate: false}}
"""
OUT = """
tokens: {{keys: jwks.json}}
transactions: {{share: {folder}, timeout: 2s}}
"""


@pytest.fixture(scope="module")
def app() -> Iterator[TracingApp]:
    """The app in the middle."""
    made = TracingApp()
    yield made
    made.close()


class Processes:
    """Those of one app: two with inbound, one with outbound."""

    def __init__(self, mesh: Mesh, app: TracingApp) -> None:
        self.mesh, self.app = mesh, app
        self.folder = mesh.folder / "shared"
        self.ledger = mesh.start("ledger", LEDGER.format(app=mesh.app().port))
        self.one, self.two = self.inbound("orders-one"), self.inbound("orders-two")
        at = f'address: "127.0.0.1:{self.ledger.ports["inbound"]}", spiffe_id: spiffe://example.org/ledger'
        self.out = mesh.start(
            "orders-out",
            OUT.format(folder=self.folder)
            + outbound(
                f"host: ledger, {at}, propagate: traceparent",
                f"host: strict, {at}, propagate: tracestate",
                f"host: never, {at}",
            ),
        )
        app.port_of_sidecar = self.out.ports["outbound"]

    def inbound(self, name: str) -> Sidecar:
        """Start one with inbound alone."""
        return self.mesh.start(name, IN.format(app=self.app.port, folder=self.folder))

    def ask(self, sidecar: Sidecar, fields: dict[str, str], path: str = "/orders/1") -> Reply:
        """One request on a connection of its own."""
        with self.mesh.connect(sidecar.ports["inbound"]) as wire:
            return wire.ask("GET", path, fields)

    def pending(self, sidecar: Sidecar, fields: dict[str, str], path: str = "/wait/1") -> Callable[[], Reply]:
        """A request that the app keeps until it is released; its end reads the answer."""
        wire = self.mesh.connect(sidecar.ports["inbound"])
        wire.send(request("GET", path, fields))
        assert self.app.waiting.acquire(timeout=10)

        def end() -> Reply:
            reply = wire.reply()
            wire.close()
            return reply

        return end

    @property
    def asked(self) -> float:
        """How often the others were asked."""
        return self.out.metric("svidecar_sibling_lookup_seconds_count")


@pytest.fixture(scope="module")
def processes(mesh: Mesh, app: TracingApp) -> Processes:
    """All of them."""
    return Processes(mesh, app)


@pytest.fixture(autouse=True)
def _anew(app: TracingApp, processes: Processes) -> Iterator[None]:
    app.passes_on, app.called = full, "ledger"
    app.release.clear()
    app.seen.clear()
    yield
    app.release.set()
    for sidecar in (processes.one, processes.two):
        wait_until(lambda sidecar=sidecar: sidecar.open_connections() == 0, "every caller is gone")  # type: ignore[misc]
    time.sleep(0.3)  # the grace


def sockets(processes: Processes) -> set[Path]:
    """Of all processes."""
    return set(processes.folder.glob("*.sock"))


def trace(trace_id: str | None = None) -> dict[str, str]:
    """A ``traceparent``, of a trace of its own or of this one."""
    return {"traceparent": f"00-{trace_id or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


@pytest.mark.parametrize(("passes_on", "called"), [(full, "ledger"), (traceparent_alone, "ledger"), (full, "strict")])
def test_the_next_hop_gets_the_token_that_another_process_has(
    mesh: Mesh, processes: Processes, app: TracingApp, passes_on: Callable[[dict[str, str]], Outgoing], called: str
) -> None:
    """By its mark, which goes no further, or by its trace id; whichever process took the request."""
    app.passes_on, app.called = passes_on, called
    for sidecar in (processes.one, processes.two):
        token = mesh.bearer()
        told = processes.ask(sidecar, token | trace()).json
        assert (told["status"], told["fields"]["txn-token"]) == (200, token["Txn-Token"])
        assert "svidecar" not in told["fields"].get("tracestate", "")


def test_nobody_is_asked_where_nothing_could_be_found(mesh: Mesh, processes: Processes, app: TracingApp) -> None:
    """No trace, a mark that none of us can have made, a destination that does not propagate; and it leads nowhere."""
    before = processes.asked
    for passes_on, called in (
        (nothing, "ledger"),
        (traceparent_alone, "strict"),
        (full, "never"),
        (lambda fields: full(fields) | {"tracestate": "svidecar=forged"}, "ledger"),
        (lambda fields: full(fields) | {"tracestate": f"{fields['tracestate']},svidecar=" + "0" * 32}, "ledger"),
    ):
        app.passes_on, app.called = passes_on, called
        assert processes.ask(processes.one, mesh.bearer() | trace()).json["reason"] == "token_missing"
    assert processes.asked == before
    app.passes_on, app.called = (lambda fields: full(fields) | {"tracestate": "svidecar=" + "0" * 32}), "ledger"
    assert processes.ask(processes.one, mesh.bearer() | trace()).json["reason"] == "token_missing"
    assert processes.asked == before + 1


@pytest.mark.parametrize("path", ["/wait/2", "/wait/alone/2"])
def test_two_tokens_in_two_processes_make_a_trace_ambiguous(
    mesh: Mesh, processes: Processes, app: TracingApp, path: str
) -> None:
    """As in one; and what has its mark is not touched."""
    shared = secrets.token_hex(16)
    token = mesh.bearer(txn="marked")
    marked = processes.pending(processes.one, token | trace(shared))
    mark = app.seen[-1]["tracestate"]
    ends = [
        processes.pending(processes.one, mesh.bearer(txn="victim") | trace(shared)),
        processes.pending(processes.two, mesh.bearer(txn="attacker") | trace(shared), path),
    ]
    told = app.call(trace(shared) | {"tracestate": mark})
    assert told["fields"]["txn-token"] == token["Txn-Token"]  # type: ignore[index]
    assert app.call(trace() | {"tracestate": mark})["reason"] == "transaction_ambiguous"
    app.passes_on = traceparent_alone
    app.release.set()
    assert [end().json["reason"] for end in (marked, *ends)] == ["transaction_ambiguous"] * 3


def test_one_token_in_two_processes_is_no_doubt(mesh: Mesh, processes: Processes, app: TracingApp) -> None:
    """A caller that fans out to this app."""
    app.passes_on = traceparent_alone
    token, shared = mesh.bearer(), secrets.token_hex(16)
    ends = [processes.pending(each, token | trace(shared)) for each in (processes.one, processes.two)]
    app.release.set()
    assert [end().json["status"] for end in ends] == [200, 200]


def test_what_the_app_copied_is_of_the_transaction_that_another_process_knows(
    mesh: Mesh, processes: Processes, app: TracingApp
) -> None:
    """A replacement passes, another transaction does not."""
    first = mesh.bearer(txn="mine")
    for own, reason in (
        (first, ""),
        (mesh.bearer(txn="mine", scope="orders.read"), ""),
        (mesh.bearer(txn="not-mine"), "transaction_mismatch"),
    ):
        for passes_on in (full, traceparent_alone):
            app.passes_on = lambda fields, own=own, passes_on=passes_on: passes_on(fields) | own  # type: ignore[misc]
            assert processes.ask(processes.two, first | trace()).json["reason"] == reason


def test_a_process_that_hangs_refuses_in_time(mesh: Mesh, processes: Processes, app: TracingApp) -> None:
    """What it knows could make the trace ambiguous; later it answers, and all is well. Nobody else waits for it."""
    token = mesh.bearer()
    os.kill(processes.two.process.pid, signal.SIGSTOP)
    try:
        for passes_on in (full, traceparent_alone):
            app.passes_on = passes_on
            began = time.monotonic()
            told = processes.ask(processes.one, token | trace()).json
            assert (told["status"], told["reason"]) == (503, "sibling_unavailable")
            assert time.monotonic() - began < 2 + SOON_S
        app.called = "never"
        assert processes.ask(processes.one, token | trace()).json["reason"] == "token_missing"
    finally:
        os.kill(processes.two.process.pid, signal.SIGCONT)
    app.called = "ledger"
    wait_until(lambda: processes.ask(processes.one, token | trace()).json["status"] == 200, "it answers again")
    assert processes.out.metric("svidecar_sibling_lookup_seconds_count", result="sibling_unavailable") >= 2


def test_a_process_that_is_killed_is_asked_no_more(mesh: Mesh, processes: Processes) -> None:
    """Its socket is removed; a new one in its place is found as soon as it is there."""
    count = len(sockets(processes))
    processes.two.process.kill()
    processes.two.process.wait()
    token = mesh.bearer()
    wait_until(lambda: processes.ask(processes.one, token | trace()).json["status"] == 200, "the other one serves")
    assert len(sockets(processes)) == count - 1
    processes.two = processes.inbound("orders-two")
    assert processes.ask(processes.two, token | trace()).json["status"] == 200
    assert len(sockets(processes)) == count


def test_a_socket_that_was_swept_away_appears_again(mesh: Mesh, processes: Processes) -> None:
    """Whoever cannot be seen is not asked: nobody may vanish while it serves."""
    before = sockets(processes)
    for path in processes.folder.iterdir():
        path.unlink()
    token = mesh.bearer()
    assert processes.ask(processes.one, token | trace()).json["status"] == 200, "those who are connected are asked"
    wait_until(lambda: len(sockets(processes) - before) == len(before), "all are there again")
    for each in (processes.one, processes.two):
        assert processes.ask(each, token | trace()).json["status"] == 200


def test_the_folder_and_its_sockets_are_closed_to_others(processes: Processes) -> None:
    """The folder was made so."""
    assert processes.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in processes.folder.iterdir()} == {0o600}


def test_a_folder_that_is_open_to_others_is_not_used(mesh: Mesh, tmp_path: Path) -> None:
    """Nor one behind a link; and it is said what to do."""
    tmp_path.chmod(0o755)
    link = mesh.folder / "link"
    link.symlink_to(mesh.folder / "shared")
    for folder, told in ((tmp_path, "with mode 0700"), (link, "name the folder itself")):
        code, said = mesh.fails(
            "orders-bad", OUT.format(folder=folder) + outbound("host: a, address: b:1, protection: plain")
        )
        assert code == 1
        assert "transactions.share" in said
        assert told in said

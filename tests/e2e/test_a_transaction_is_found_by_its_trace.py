"""An app that copies no token, only its trace, stays in the transaction of the request that it works on, or is refused.

Whoever else knows the trace id gains nothing by it (``tokens/passage.py`` says why).
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.mesh import Mesh, outbound
from support.sidecar import Sidecar, wait_until
from support.tracing import Outgoing, TracingApp, full, nothing, traceparent_alone
from support.wire import Reply, request

LEDGER = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: orders may book
    peers: [spiffe://example.org/orders]
    scopes: [orders.read, orders.write]
    routes: [{{match: "GET /entries/{{id}}"}}]
"""
ORDERS = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
limits: {{transactions: 8}}
timeouts: {{transaction_grace: 500ms}}
policy:
  - name: whoever calls
    peers: ["spiffe://example.org/*"]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/**"}}
      - {{match: "GET /wait/**"}}
      - {{match: "GET /quiet/**"}}
      - {{match: "GET /wait/alone/**", propagate: false}}
      - {{match: "GET /alone/**", propagate: false}}
"""


@pytest.fixture(scope="module")
def app() -> Iterator[TracingApp]:
    """The app in the middle."""
    made = TracingApp()
    yield made
    made.close()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: TracingApp) -> Sidecar:
    """The sidecar of the app in the middle; three destinations lead to one ledger."""
    ledger = mesh.start("ledger", LEDGER.format(app=mesh.app().port))
    at = f'address: "127.0.0.1:{ledger.ports["inbound"]}", spiffe_id: spiffe://example.org/ledger'
    plain = f'address: "127.0.0.1:{mesh.app().port}", protection: plain'
    made = mesh.start(
        "orders",
        ORDERS.format(app=app.port)
        + outbound(
            f"host: ledger, {at}, propagate: traceparent",
            f"host: strict, {at}, propagate: tracestate",
            f"host: never, {at}",
            f"host: outside, {plain}",
        ),
    )
    app.port_of_sidecar = made.ports["outbound"]
    return made


@pytest.fixture(autouse=True)
def _anew(app: TracingApp, orders: Sidecar) -> Iterator[None]:
    app.passes_on, app.called = full, "ledger"
    app.release.clear()
    app.seen.clear()
    yield
    app.release.set()
    wait_until(lambda: orders.open_connections() == 0, "every caller is gone")
    time.sleep(0.6)  # the grace


def trace(trace_id: str | None = None) -> dict[str, str]:
    """A ``traceparent``, of a trace of its own or of this one."""
    return {"traceparent": f"00-{trace_id or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


class Pending:
    """A request that the app keeps until it is released."""

    def __init__(
        self, mesh: Mesh, app: TracingApp, orders: Sidecar, fields: dict[str, str], path: str = "/wait/1"
    ) -> None:
        self.wire = mesh.connect(orders.ports["inbound"])
        self.wire.send(request("GET", path, fields))
        assert app.waiting.acquire(timeout=10)

    def end(self) -> Reply:
        """Read the answer."""
        reply = self.wire.reply()
        self.wire.close()
        return reply


def ask(mesh: Mesh, orders: Sidecar, fields: dict[str, str], path: str = "/orders/1", name: str = "edge") -> Reply:
    """One request on a connection of its own."""
    with mesh.connect(orders.ports["inbound"], name) as wire:
        return wire.ask("GET", path, fields)


@pytest.mark.parametrize(("passes_on", "called"), [(full, "ledger"), (traceparent_alone, "ledger"), (full, "strict")])
def test_the_next_hop_gets_the_same_token(
    mesh: Mesh, app: TracingApp, orders: Sidecar, passes_on: Callable[[dict[str, str]], Outgoing], called: str
) -> None:
    """Byte for byte, whether the request brought a trace or the sidecar made it; the mark goes no further."""
    app.passes_on, app.called = passes_on, called
    for fields in (trace(), {}, trace() | {"tracestate": "a=1,svidecar=forged,b=2"}):
        token = mesh.bearer()
        told = ask(mesh, orders, token | fields).json
        assert (told["status"], told["fields"]["txn-token"]) == (200, token["Txn-Token"])
        assert "svidecar" not in told["fields"].get("tracestate", "")
        assert app.seen[-1]["tracestate"].count("svidecar=") == 1
        assert told["fields"].get("tracestate", "a=1,b=2") == "a=1,b=2"


def test_many_at_once_are_never_mixed_up(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """Requests with different tokens, under one trace id too: each mark leads to its own."""
    shared = secrets.token_hex(16)
    tokens = [mesh.bearer(txn=f"t{number}") for number in range(6)]
    pending = [Pending(mesh, app, orders, token | trace(shared)) for token in tokens]
    app.release.set()
    told = [each.end().json for each in pending]
    assert [each["fields"]["txn-token"] for each in told] == [token["Txn-Token"] for token in tokens]


def test_one_token_under_one_trace_is_no_doubt(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """A caller that fans out to this workload: trace and token are the same, and so is what is found by either."""
    app.passes_on = traceparent_alone
    token, shared = mesh.bearer(), secrets.token_hex(16)
    pending = [Pending(mesh, app, orders, token | trace(shared)) for _ in range(3)]
    app.release.set()
    assert [each.end().json["status"] for each in pending] == [200] * 3


@pytest.mark.parametrize("path", ["/wait/2", "/wait/alone/2"])
def test_another_token_under_the_trace_makes_it_ambiguous(
    mesh: Mesh, app: TracingApp, orders: Sidecar, path: str
) -> None:
    """An attacker with a token of its own and the trace id of a victim gets nobody's token, on whatever route."""
    shared = secrets.token_hex(16)
    victim = Pending(mesh, app, orders, mesh.bearer(txn="victim") | trace(shared))
    attacker = Pending(mesh, app, orders, mesh.bearer(txn="attacker") | trace(shared), path)
    app.passes_on = traceparent_alone
    app.release.set()
    told = [victim.end().json, attacker.end().json]
    assert [(each["status"], each["reason"]) for each in told] == [(403, "transaction_ambiguous")] * 2


def test_an_attacker_cannot_deny_whoever_is_marked(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """Its own request is unmarked and refused; the victim's has its mark and its token."""
    shared = secrets.token_hex(16)
    token = mesh.bearer(txn="victim")
    victim = Pending(mesh, app, orders, token | trace(shared))
    attacker = Pending(mesh, app, orders, mesh.bearer(txn="attacker") | trace(shared) | {"X-Attack": "1"})
    app.passes_on = lambda fields: (traceparent_alone if "x-attack" in fields else full)(fields)
    app.release.set()
    assert victim.end().json["fields"]["txn-token"] == token["Txn-Token"]
    assert attacker.end().json["reason"] == "transaction_ambiguous"


def test_marks_that_lead_nowhere(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """Forged, doubled, or of another trace: never the token that the trace id alone would have found."""
    token, shared = mesh.bearer(), secrets.token_hex(16)
    victim = Pending(mesh, app, orders, token | trace(shared))
    mark = app.seen[-1]["tracestate"]
    for state, other, reason in (
        ("svidecar=" + "0" * 32, shared, "token_missing"),
        (f"{mark},{mark}", shared, "token_missing"),
        ("svidecar=", shared, "token_missing"),
        (mark, None, "transaction_ambiguous"),
    ):
        told = app.call(trace(other) | {"tracestate": state})
        assert told["reason"] == reason, state
    assert app.call(trace(shared) | {"tracestate": mark})["status"] == 200
    app.release.set()
    victim.end()


def test_strict_destinations_believe_no_trace_id(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """``propagate: tracestate`` wants the mark; ``never``, and whoever is outside, get no token at all."""
    shared = secrets.token_hex(16)
    victim = Pending(mesh, app, orders, mesh.bearer() | trace(shared))
    for called, fields, reason in (
        ("strict", trace(shared), "token_missing"),
        ("never", trace(shared) | {"tracestate": app.seen[-1]["tracestate"]}, "token_missing"),
    ):
        app.called = called
        assert app.call(fields)["reason"] == reason
    app.called = "outside"
    told = app.call(trace(shared) | {"tracestate": "x=1," + app.seen[-1]["tracestate"]})
    assert told["status"] == 200
    assert isinstance(told["fields"], dict)
    assert "txn-token" not in told["fields"]
    assert told["fields"]["tracestate"] == "x=1"
    app.release.set()
    victim.end()


def test_a_route_that_does_not_propagate(mesh: Mesh, orders: Sidecar) -> None:
    """What came by it has no token for the next hop."""
    assert ask(mesh, orders, mesh.bearer(), "/alone/1").json["reason"] == "token_missing"


def test_it_is_forgotten_after_a_grace(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """Shortly after the answer the app may still finish; later its trace finds nothing."""
    late: dict[str, str] = {}

    def is_known() -> bool:
        ask(mesh, orders, mesh.bearer() | trace(), "/quiet/1")
        late.clear()
        late.update(full(app.seen[-1]))
        return bool(app.call(late)["status"] == 200)

    wait_until(is_known, "it is known within the grace; a busy machine may once take longer")
    time.sleep(0.7)
    assert app.call(late)["reason"] == "token_missing"
    app.passes_on = nothing
    assert ask(mesh, orders, mesh.bearer() | trace()).json["reason"] == "token_missing"


def test_what_the_app_copied_comes_first(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """If it is of the same transaction, a replacement too; another one is refused."""
    first = mesh.bearer(txn="mine")
    for own, status, reason in (
        (first, 200, ""),
        (mesh.bearer(txn="mine", scope="orders.read"), 200, ""),
        (mesh.bearer(txn="not-mine"), 403, "transaction_mismatch"),
        ({"Txn-Token": "x"}, 401, "token_malformed"),
        ({"Txn-Token": mesh.mint.forger().token(txn="mine").decode()}, 401, "token_bad_signature"),
    ):
        app.passes_on = lambda fields, own=own: full(fields) | own  # type: ignore[misc]
        told = ask(mesh, orders, first | trace()).json
        assert (told["status"], told["reason"]) == (status, reason)
        if status == 200:
            assert told["fields"]["txn-token"] == own["Txn-Token"]


def test_a_token_that_ended_while_the_app_had_it(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """It is refused here, and not sent on."""
    pending = Pending(mesh, app, orders, mesh.bearer(iat=int(time.time()) - 10, exp=int(time.time()) + 1) | trace())
    time.sleep(1.5)
    app.release.set()
    assert pending.end().json["reason"] == "token_expired"


def test_the_bound_of_requests_with_the_app(mesh: Mesh, app: TracingApp, orders: Sidecar) -> None:
    """Eight are remembered; the ninth is refused before the app sees it, and the next is served when one has left."""
    pending = [Pending(mesh, app, orders, mesh.bearer() | trace()) for _ in range(8)]
    seen = len(app.seen)
    refused = ask(mesh, orders, mesh.bearer())
    assert (refused.status, refused.reason, refused.get("retry-after")) == (503, "transactions_full", "1")
    assert len(app.seen) == seen
    assert orders.metric("svidecar_transaction_memory_ratio", memory="with_app") == 1
    threading.Timer(0.1, app.release.set).start()
    assert [each.end().status for each in pending] == [200] * 8
    wait_until(lambda: orders.metric("svidecar_transaction_memory_ratio", memory="with_app") == 0, "the grace is over")
    assert ask(mesh, orders, mesh.bearer()).status == 200

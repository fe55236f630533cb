"""``traceparent`` passes as it is and is made where it is missing; ``Via`` is added, and finds loops (RFC 9110 7.6.3)."""

import re

import pytest
from support.apps import App
from support.mesh import INBOUND, Mesh, new_trace, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import Wire

VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the sidecar."""
    return mesh.app()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: App) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port))


@pytest.fixture(scope="module")
def edge(mesh: Mesh, orders: Sidecar) -> Sidecar:
    """The sidecar beside the caller."""
    return mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")


@pytest.fixture
def wire(mesh: Mesh, edge: Sidecar) -> Wire:
    """A connection through both."""
    return mesh.plain(edge.ports["outbound"])


def test_a_valid_one_passes(mesh: Mesh, app: App, wire: Wire) -> None:
    """Byte for byte, with its tracestate, and stands in both logs."""
    trace = new_trace()
    assert wire.ask("GET", "/any/1", mesh.bearer() | trace | {"tracestate": "a=1,b=2"}).status == 200
    assert app.fields("traceparent") == [trace["traceparent"]]
    assert app.fields("tracestate") == ["a=1,b=2"]
    assert mesh.record("edge", trace)["trace_id"] == mesh.record("orders", trace)["trace_id"]


def test_a_missing_one_is_made(mesh: Mesh, app: App, wire: Wire) -> None:
    """By the first sidecar, for all that come after it; each request has its own."""
    made = []
    for _ in range(3):
        assert wire.ask("GET", "/any/1", mesh.bearer() | {"TraceState": "a=1"}).status == 200
        made += app.fields("traceparent")
        assert app.fields("tracestate") == [], "it belonged to a trace that nobody knows"
        assert mesh.record("orders", {"traceparent": made[-1]})["peer"] == "spiffe://example.org/edge"
        assert mesh.record("edge", {"traceparent": made[-1]})["destination"] == "orders"
    assert all(VALID.fullmatch(value) for value in made)
    assert len({value.split("-")[1] for value in made}) == 3


@pytest.mark.parametrize(
    "value",
    [
        "00-00000000000000000000000000000000-0000000000000001-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "x",
        "",
    ],
)
def test_one_that_is_not_valid_is_replaced(mesh: Mesh, app: App, wire: Wire, value: str) -> None:
    """And never logged."""
    assert wire.ask("GET", "/any/1", mesh.bearer() | {"traceparent": value, "tracestate": "a=1"}).status == 200
    (made,) = app.fields("traceparent")
    assert VALID.fullmatch(made)
    assert made != value
    assert app.fields("tracestate") == []


def test_two_are_none(mesh: Mesh, app: App, wire: Wire) -> None:
    """Which of them would the app follow?"""
    first, second = new_trace()["traceparent"], new_trace()["traceparent"]
    token = mesh.bearer()["Txn-Token"]
    head = f"GET /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n"
    wire.send((head + f"traceparent: {first}\r\nTraceparent: {second}\r\n\r\n").encode())
    assert wire.reply().status == 200
    (made,) = app.fields("traceparent")
    assert made not in {first, second}


def test_a_refused_request_has_its_trace_in_the_log(mesh: Mesh, wire: Wire) -> None:
    """So that who asks why finds it."""
    trace = new_trace()
    assert wire.ask("GET", "/any/1", trace).reason == "token_missing"
    assert mesh.record("orders", trace)["reason"] == "token_missing"
    assert mesh.record("edge", trace)["status"] == 401


def test_via_names_each_hop(mesh: Mesh, app: App, wire: Wire) -> None:
    """By a pseudonym that tells nothing about the inside; what came before stays."""
    assert wire.ask("GET", "/any/1", mesh.bearer() | {"Via": "1.0 old, 1.1 proxy (x)"}).status == 200
    (via,) = app.fields("via")
    hops = [hop.strip() for hop in via.split(",")]
    assert hops[:2] == ["1.0 old", "1.1 proxy (x)"]
    assert len(hops) == 4
    assert re.fullmatch(r"1\.1 svidecar-out-[0-9a-f]{8}", hops[2])
    assert re.fullmatch(r"1\.1 svidecar-in-[0-9a-f]{8}", hops[3])


def test_a_loop_is_found(mesh: Mesh) -> None:
    """A destination whose app calls the same destination again: it ends with 508 after one turn."""
    relay = mesh.app()  # holds a port for the destination; the outbound port is only known after the start
    loop = mesh.start(
        "loop",
        outbound(f'host: round, address: "127.0.0.1:{relay.port}", protection: plain') + "tokens: {keys: jwks.json}\n",
    )
    wire = mesh.plain(loop.ports["outbound"])
    assert wire.ask("GET", "/", host="round").status == 200
    (via,) = relay.fields("via")
    answer = wire.ask("GET", "/", {"Via": via}, host="round")
    assert (answer.status, answer.reason) == (508, "loop_detected")
    answer = wire.ask(
        "GET", "/", {"Via": "1.1 a, " + via.upper().replace("1.1 SVIDECAR", "1.1 svidecar").lower()}, host="round"
    )
    assert answer.reason == "loop_detected"
    assert loop.decisions(reason="loop_detected", direction="outbound", decision="deny") == 2
    assert len(relay.requests) == 1

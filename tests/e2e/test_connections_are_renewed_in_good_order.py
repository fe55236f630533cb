"""A connection ends before its SVIDs do: first its next answer says so, then it is cut, whatever goes on over it."""

import time
from collections.abc import Iterator

import pytest
from support.apps import RawApp
from support.mesh import INBOUND, Mesh, mesh_in, orders_at, outbound
from support.sidecar import SOON_S, Sidecar, wait_until
from support.streams import begin, lives_s, reload, streaming_app

EDGE = "[spiffe://example.org/edge]"


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(streaming_app)


def test_the_next_answer_says_so(mesh: Mesh, app: RawApp) -> None:
    """Of an idle connection, and of one in use, the answer after its time has ``Connection: close``; before, none has."""
    yaml = INBOUND.format(app=app.port) + "tls: {connection_age: 2s, connection_jitter_percent: 0}\n"
    orders = mesh.start("orders", yaml)
    idle, busy = mesh.connect(orders.ports["inbound"]), mesh.connect(orders.ports["inbound"])
    assert not idle.ask("GET", "/any/1", mesh.bearer()).closes
    began, closed_after = time.monotonic(), 0.0
    while not closed_after:
        if busy.ask("GET", "/any/1", mesh.bearer()).closes:
            closed_after = time.monotonic() - began
        time.sleep(0.02)
    assert busy.ends()
    assert 0.5 < closed_after < 2 + SOON_S
    time.sleep(1.5)
    assert idle.ask("GET", "/any/1", mesh.bearer()).closes, "it was not cut while a request might be on its way"
    assert idle.ends()


def test_kept_connections_to_servers_grow_old(mesh: Mesh, app: RawApp) -> None:
    """Requests go on over new ones, and none is lost."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    yaml = outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\ntls: {connection_age: 1s}\n"
    edge = mesh.start("edge", yaml)
    wire, token = mesh.plain(edge.ports["outbound"]), mesh.bearer()
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        assert wire.ask("GET", "/any/1", token).status == 200
    assert 2 <= edge.metric("svidecar_tls_handshake_seconds_count", role="client", result="ok") <= 7


def rotate(mesh: Mesh, sidecar: Sidecar, name: str) -> None:
    """Give a sidecar that runs an SVID of five seconds."""
    before = sidecar.metric("svidecar_svid_rotations_total")
    mesh.svid(name, lifetime_s=5)
    wait_until(lambda: sidecar.metric("svidecar_svid_rotations_total") > before, "the rotation")


def test_a_stream_is_cut_when_an_svid_ends(mesh: Mesh, app: RawApp) -> None:
    """The peer's, ours, and that of the server that we call: an answer that goes on ends with the first of them."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    short = mesh.connect(orders.ports["inbound"], svid=mesh.ca.svid("spiffe://example.org/edge", lifetime_s=5))
    silent = mesh.connect(orders.ports["inbound"], svid=mesh.ca.svid("spiffe://example.org/edge", lifetime_s=5))
    begin(mesh, short, "/any/stream")
    begin(mesh, silent, "/any/silent")
    assert short.head().status == 200
    assert lives_s(short) > 1
    answer = silent.reply()
    assert (answer.status, answer.reason, answer.closes) == (403, "grant_ended", True)
    wait_until(lambda: orders.decisions(reason="grant_ended", direction="inbound") == 2, "both are written down")

    brief = mesh.start("brief", INBOUND.format(app=app.port))
    rotate(mesh, brief, "brief")
    ours = begin(mesh, mesh.connect(brief.ports["inbound"]), "/any/stream")
    assert ours.head().status == 200
    assert lives_s(ours) > 0.5

    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")
    rotate(mesh, edge, "edge")
    through = begin(mesh, mesh.plain(edge.ports["outbound"]), "/any/stream")
    assert through.head().status == 200
    assert lives_s(through) > 0.5
    assert edge.decisions(direction="outbound", decision="allow") == 0


def test_a_stream_is_cut_with_the_rule_that_allowed_it(mesh: Mesh, app: RawApp) -> None:
    """Within a second of the reload; and that of a peer that is still named goes on."""
    yaml = INBOUND.format(app=app.port)
    both = yaml.replace(EDGE, "[spiffe://example.org/edge, spiffe://example.org/shop]")
    orders = mesh.start("orders", both)
    goes = begin(mesh, mesh.connect(orders.ports["inbound"]), "/any/stream")
    never = begin(mesh, mesh.connect(orders.ports["inbound"]), "/any/silent")
    stays = begin(mesh, mesh.connect(orders.ports["inbound"], "shop"), "/any/stream")
    assert goes.head().status == stays.head().status == 200
    reload(mesh, orders, "orders", yaml.replace(EDGE, "[spiffe://example.org/shop]"))
    assert lives_s(goes) < SOON_S
    answer = never.reply()
    assert (answer.reason, answer.closes) == ("grant_ended", True)
    assert stays.take(6 * 40)
    assert orders.decisions(reason="peer_not_allowed", direction="inbound") == 2


def test_a_stream_from_a_destination_that_is_listed_no_more(mesh: Mesh, app: RawApp) -> None:
    """It is cut within a second; that of another destination, listed as before, goes on."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    here, there = orders_at(orders), orders_at(orders, host="there")
    end = "tokens: {keys: jwks.json}\n"
    edge = mesh.start("edge", outbound(here, there) + end)
    stays, goes = (mesh.plain(edge.ports["outbound"]) for _ in range(2))
    begin(mesh, stays, "/any/stream")
    begin(mesh, goes, "/any/stream", host="there")
    assert goes.head().status == stays.head().status == 200
    reload(mesh, edge, "edge", outbound(here) + end)
    assert lives_s(goes) < SOON_S
    assert stays.take(6 * 40)

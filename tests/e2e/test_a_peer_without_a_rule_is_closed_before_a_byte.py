"""A workload that no rule names is closed after its handshake: the app sees no connection, whatever was sent."""

import contextlib
import socket
import ssl

import pytest
from support.apps import RawApp, Recorder
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar, wait_until
from support.wire import request

STRANGERS = ("stranger", "audit/edge", "edges", "edge-2")


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """An app that counts connections."""
    return mesh.raw_app(Recorder())


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """A sidecar whose rule names ``edge`` alone."""
    return mesh.start("orders", INBOUND.format(app=app.port))


@pytest.mark.parametrize("name", STRANGERS)
def test_the_stranger_is_closed(mesh: Mesh, orders: Sidecar, app: RawApp, name: str) -> None:
    """Also when its request is on the way before the sidecar has judged it, and whatever token it has."""
    before = orders.decisions(reason="peer_not_allowed")
    mesh.svid(name)
    wire = mesh.connect(orders.ports["inbound"], name)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        wire.send(request("GET", "/orders/1", mesh.bearer()) * 3)
        assert wire.ends(), "no answer: who is not admitted has no HTTP here"
    assert orders.decisions(reason="peer_not_allowed") == before + 1
    assert app.accepted == 0
    wait_until(lambda: orders.open_connections() == 0, "it is gone")
    peer = f"spiffe://example.org/{name}"
    wait_until(lambda: any(r.get("peer") == peer for r in mesh.records("orders")), "its record")
    records = [r for r in mesh.records("orders") if r.get("peer") == peer]
    assert [(r["kind"], r["decision"], r["reason"]) for r in records] == [("connection", "deny", "peer_not_allowed")]


def test_a_stranger_that_stays_is_cut(mesh: Mesh, orders: Sidecar, app: RawApp) -> None:
    """It never reads and never closes: its connection ends all the same, and takes nobody's place."""
    sock = socket.create_connection(("127.0.0.1", orders.ports["inbound"]))
    with mesh.context("stranger").wrap_socket(sock):
        wait_until(lambda: orders.open_connections() == 0, "it is gone")
    assert app.accepted == 0


def test_the_peer_with_a_rule_is_served(mesh: Mesh, orders: Sidecar, app: RawApp) -> None:
    """The same sidecar, the same token."""
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert app.accepted == 1

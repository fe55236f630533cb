"""What only a start, or a crowd of handshakes, needed is let go of soon after, and what connections held when they have ended."""

import pytest
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar, wait_until

MB = 1_000_000
CONNECTIONS = 150


@pytest.fixture
def orders(mesh: Mesh) -> Sidecar:
    """One that has just become ready."""
    return mesh.start("orders", INBOUND.format(app=mesh.app().port)).wait_until_ready()


def test_the_code_of_the_start(mesh: Mesh, orders: Sidecar) -> None:
    """At least 10 MB of pages of files, within seconds; and all goes on, through handshakes, errors and a reload."""
    wait_until(lambda: orders.file_bytes < 14 * MB, "the pages have gone", timeout_s=20)
    at_rest = orders.file_bytes
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/nowhere/1", mesh.bearer()).status == 403
    mesh.svid("orders")
    wait_until(lambda: orders.metric("svidecar_svid_rotations_total") == 1, "the rotation")
    assert mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer()).status == 200
    assert orders.file_bytes > at_rest, "what is used is resident again"
    assert orders.metric("process_resident_memory_bytes") < 60 * MB


def test_what_connections_held(mesh: Mesh, orders: Sidecar) -> None:
    """150 of them take megabytes, and most of those are back with the system soon after they have ended."""
    port = orders.ports["inbound"]
    first = mesh.connect(port)
    assert first.ask("GET", "/orders/1", mesh.bearer()).status == 200
    before = orders.anonymous_bytes
    wires = [mesh.connect(port) for _ in range(CONNECTIONS)]
    assert all(wire.ask("GET", "/orders/1", mesh.bearer()).status == 200 for wire in wires)
    held = orders.anonymous_bytes - before
    wait_until(lambda: orders.file_bytes < 14 * MB, "the code of the handshakes has gone", timeout_s=20)
    assert all(wire.ask("GET", "/orders/1", mesh.bearer()).status == 200 for wire in wires)
    assert held > CONNECTIONS * 20_000
    for wire in wires:
        wire.close()
    wait_until(lambda: orders.anonymous_bytes - before < held / 2, "most of it has gone back", timeout_s=20)
    assert first.ask("GET", "/orders/1", mesh.bearer()).status == 200

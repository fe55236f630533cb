"""No connection outlives the SVIDs that opened it, and none of its requests is lost for that: others take its place."""

import threading
import time
from collections.abc import Iterator

import pytest
from support.load import Load
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar

LIFETIME_S = 8.0
"""A tenth of it is left for what is under way: a machine that stands still for that long would lose a request."""


@pytest.fixture
def chain(mesh: Mesh) -> Iterator[tuple[Sidecar, Sidecar]]:
    """Two sidecars whose SVIDs live for seconds, and are renewed all the time."""
    stop = threading.Event()

    def rotate() -> None:
        while not stop.wait(0.5):
            for name in ("short", "shop"):
                mesh.svid(name, lifetime_s=LIFETIME_S)

    for name in ("short", "shop"):
        mesh.svid(name, lifetime_s=LIFETIME_S)
    rotating = threading.Thread(target=rotate, daemon=True)
    rotating.start()
    yaml = INBOUND.format(app=mesh.app().port).replace("example.org/edge", "example.org/shop")
    short = mesh.start("short", yaml)
    destination = orders_at(short, host="short", spiffe_id="spiffe://example.org/short")
    yield mesh.start("shop", outbound(destination) + "tokens: {keys: jwks.json}\n"), short
    stop.set()
    rotating.join(5)


def test_svids_of_seconds(mesh: Mesh, chain: tuple[Sidecar, Sidecar]) -> None:
    """Connections end again and again, between two sidecars and beneath requests."""
    shop, short = chain
    port, token = shop.ports["outbound"], mesh.bearer()
    with Load(lambda: mesh.plain(port), lambda wire: wire.ask("GET", "/any/1", token, host="short"), threads=2) as load:
        time.sleep(LIFETIME_S + 1)  # every connection ends at least once in this time
    refused = [record for name in ("short", "shop") for record in mesh.records(name) if record["decision"] != "allow"]
    assert load.lost == {}, refused[:3]
    assert short.metric("svidecar_tls_handshake_seconds_count", role="server", result="ok") >= 4

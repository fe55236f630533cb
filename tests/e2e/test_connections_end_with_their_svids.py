"""No connection outlives the SVIDs that opened it, and none of its requests is lost for that: others take its place."""

import threading
import time

from support.load import Load
from support.mesh import INBOUND, Mesh, orders_at, outbound


def test_svids_of_seconds(mesh: Mesh) -> None:
    """Connections end with their SVIDs again and again, between two sidecars and beneath requests: none is lost."""
    mesh.svid("short", lifetime_s=3)
    mesh.svid("shop", lifetime_s=3)
    yaml = INBOUND.format(app=mesh.app().port).replace("example.org/edge", "example.org/shop")
    short = mesh.start("short", yaml)
    destination = orders_at(short, host="short", spiffe_id="spiffe://example.org/short")
    shop = mesh.start("shop", outbound(destination) + "tokens: {keys: jwks.json}\n")
    stop = threading.Event()

    def rotate() -> None:
        while not stop.wait(0.8):
            mesh.svid("short", lifetime_s=3)
            mesh.svid("shop", lifetime_s=3)

    rotating = threading.Thread(target=rotate, daemon=True)
    token = mesh.bearer()

    def connect_and_ask() -> Load:
        port = shop.ports["outbound"]
        return Load(lambda: mesh.plain(port), lambda wire: wire.ask("GET", "/any/1", token, host="short"))

    with connect_and_ask() as load:
        rotating.start()
        time.sleep(5)  # every connection ends at least once in this time
    stop.set()
    rotating.join(5)
    assert load.lost == {}, [r for s in ("short", "shop") for r in mesh.records(s) if r["decision"] != "allow"]
    assert short.metric("svidecar_tls_handshake_seconds_count", role="server", result="ok") > 4

"""A serial that a CRL names is refused at once, on both sides, and its live connections are closed within a second."""

import time
from collections.abc import Iterator

import pytest
from support.apps import RawApp
from support.mesh import DOMAIN, INBOUND, Mesh, mesh_in, orders_at, outbound
from support.sidecar import SOON_S, Sidecar, wait_until
from support.streams import lives_s, stream, streaming_app
from support.wire import Truncated, Wire


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


def files(name: str, *more: str) -> str:
    """The identity of a sidecar that reads ``crl.pem``."""
    of_three = [f"{role}: {name}/{file}" for role, file in FILES.items()]
    return f"{{files: {{{', '.join([*of_three, 'crl: crl.pem', 'poll: 50ms', *more])}}}}}"


FILES = {"svid": "svid.pem", "key": "svid_key.pem", "bundle": "svid_bundle.pem"}


def revoke(mesh: Mesh, *names: str, next_update_s: float = 3600.0) -> None:
    """Write the CRL, whole."""
    crl = mesh.ca.crl(*(mesh.svids[name].certificate for name in names), next_update_s=next_update_s)
    (mesh.folder / "crl.new").write_bytes(crl)
    (mesh.folder / "crl.new").rename(mesh.folder / "crl.pem")


def start_orders(mesh: Mesh, *more: str) -> tuple[Sidecar, RawApp]:
    """The sidecar that is called, of two peers."""
    app = mesh.raw_app(streaming_app)
    for name in ("edge", "shop"):
        mesh.svid(name)
    yaml = INBOUND.format(app=app.port).replace(
        f"spiffe://{DOMAIN}/edge", f"spiffe://{DOMAIN}/edge, spiffe://{DOMAIN}/shop"
    )
    return mesh.start("orders", yaml, identity=files("orders", *more)), app


def test_inbound(mesh: Mesh) -> None:
    """A streaming answer is cut, an idle connection closed, a new one refused; the other peer notices nothing."""
    revoke(mesh)
    orders, _ = start_orders(mesh)
    port = orders.ports["inbound"]
    idle, cut = mesh.connect(port), stream(mesh, mesh.connect(port, "edge"))
    other, other_idle = stream(mesh, mesh.connect(port, "shop")), mesh.connect(port, "shop")
    for wire in (idle, other_idle):
        assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    revoke(mesh, "edge")
    orders.wait_for_decision(2, reason="certificate_revoked")
    began = time.monotonic()
    assert idle.ends()
    lives_s(cut)
    assert time.monotonic() - began < SOON_S
    with pytest.raises((Truncated, OSError)):
        mesh.connect(orders.ports["inbound"]).ask("GET", "/any/1", mesh.bearer())
    assert orders.decisions(reason="certificate_revoked", direction="inbound", decision="deny") == 3
    assert other.take(60)
    assert other_idle.ask("GET", "/any/1", mesh.bearer()).status == 200
    assert mesh.connect(orders.ports["inbound"], "shop").ask("GET", "/any/1", mesh.bearer()).status == 200


def test_outbound(mesh: Mesh) -> None:
    """A server whose SVID was revoked is called no more, not over a kept connection either; what it sends is cut."""
    revoke(mesh)
    orders, app = start_orders(mesh)
    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n", identity=files("edge"))
    token = mesh.bearer()
    wire, cut = mesh.plain(edge.ports["outbound"]), mesh.plain(edge.ports["outbound"])
    assert wire.ask("GET", "/any/1", token).status == 200
    stream(mesh, cut)
    revoke(mesh, "orders")
    lives_s(cut)
    refused = wire.ask("GET", "/any/1", token)
    assert (refused.status, refused.reason) == (502, "upstream_untrusted")
    assert "certificate_revoked" in refused.json["detail"]
    assert edge.decisions(reason="upstream_untrusted", direction="outbound") == 2
    mesh.svid("orders")
    edge.wait_until_ready()
    assert _asked_until_served(wire, token) == 200
    assert app.failures == []


def test_by_an_intermediate_that_nobody_knows_but_its_peers(mesh: Mesh) -> None:
    """Its list waits for it: a connection that is open ends within a second, a new one is refused, all others stay."""
    revoke(mesh)
    below = mesh.ca.intermediate()
    mesh.svids["edge"] = below.svid(f"spiffe://{DOMAIN}/edge")
    orders, _ = start_orders(mesh)
    gone, stays = (below.svid(f"spiffe://{DOMAIN}/edge") for _ in range(2))
    port = orders.ports["inbound"]
    cut, idle = stream(mesh, mesh.connect(port, svid=gone)), mesh.connect(port, svid=stays)
    assert idle.ask("GET", "/any/1", mesh.bearer()).status == 200
    (mesh.folder / "crl.new").write_bytes(mesh.ca.crl() + below.crl(gone.certificate))
    (mesh.folder / "crl.new").rename(mesh.folder / "crl.pem")
    orders.wait_for_log(f"CRLs of {DOMAIN} wait for peers")
    lives_s(cut)
    assert mesh.connect(port, svid=gone).ends()
    orders.wait_for_decision(2, reason="certificate_revoked", direction="inbound", decision="deny")
    assert idle.ask("GET", "/any/1", mesh.bearer()).status == 200
    assert mesh.connect(port, svid=stays).ask("GET", "/any/1", mesh.bearer()).status == 200


def _asked_until_served(wire: Wire, token: dict[str, str]) -> int:
    status = 0
    for _ in range(100):
        status = wire.ask("GET", "/any/1", token).status
        if status == 200:
            break
        time.sleep(0.05)
    return status


@pytest.mark.parametrize("choice", ["refuse", "accept"])
def test_a_list_that_has_grown_old(mesh: Mesh, choice: str) -> None:
    """By choice nobody new comes in, or who is not named in it; open connections stay, and what it names is refused."""
    revoke(mesh)
    orders, _ = start_orders(mesh, f"stale_crl: {choice}")
    kept = mesh.connect(orders.ports["inbound"], "shop")
    assert kept.ask("GET", "/any/1", mesh.bearer()).status == 200
    revoke(mesh, "edge", next_update_s=-1)
    orders.wait_for_log("has passed its nextUpdate")
    wire = mesh.connect(orders.ports["inbound"], "shop")
    if choice == "accept":
        assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    else:
        assert wire.ends()
        orders.wait_for_decision(reason="revocation_unknown", direction="inbound", decision="deny")
    assert mesh.connect(orders.ports["inbound"], "edge").ends()
    orders.wait_for_decision(reason="certificate_revoked", direction="inbound", decision="deny")
    assert kept.ask("GET", "/any/1", mesh.bearer()).status == 200
    revoke(mesh)
    wait_until(lambda: _is_served(mesh, orders), "a newer list opens the door again")


def _is_served(mesh: Mesh, orders: Sidecar) -> bool:
    try:
        return mesh.connect(orders.ports["inbound"], "shop").ask("GET", "/any/1", mesh.bearer()).status == 200
    except (Truncated, OSError):
        return False

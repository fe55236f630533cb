"""The sidecar with a real SPIRE: first SVID, rotation, federation, an agent that dies, entries that go, JWT-SVIDs."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mesh import Mesh, mesh_in
from support.sidecar import Sidecar, wait_until
from support.spire import Spire

from proxy.tokens.jwt_svid import read_bundles, verify_jwt_svid
from proxy.workload_api.client import WorkloadApiClient
from proxy.workload_api.endpoint import parse_endpoint
from proxy.workload_api.failure import CallFailed
from proxy.workload_api.messages import JWTBundlesResponse

pytestmark = [pytest.mark.spire, pytest.mark.timeout(150)]

INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
policy:
  - name: all of both domains
    peers: ["spiffe://example.org/*", "spiffe://other.org/*"]
    scopes: [orders.read, orders.write]
    routes: [{{match: "GET /orders/{{id}}", scopes: [orders.read]}}]
"""

OUTBOUND = """
outbound:
  listen: 127.0.0.1:0
  destinations:
    - {{host: orders, address: "127.0.0.1:{port}", spiffe_id: "{spiffe_id}"}}
"""


@pytest.fixture(scope="module")
def spires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Spire, Spire]]:
    """Two trust domains that know each other's bundles."""
    with contextlib.ExitStack() as stack:
        started = []
        for domain in ("example.org", "other.org"):
            spire = Spire(tmp_path_factory.mktemp("s"), domain)
            stack.callback(spire.close)
            started.append(spire.start())
        ours, other = started
        ours.trust(other)
        other.trust(ours)
        yield ours, other


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """Apps, token keys and sidecars; its CA signs nothing here."""
    with mesh_in(tmp_path) as made:
        yield made


def launch(mesh: Mesh, spire: Spire, name: str, body: str, hint: str = "") -> Sidecar:
    """A sidecar whose identity comes from the agent; of several entries it uses the one with the hint."""
    identity = f"{{workload_api: {{socket: {spire.endpoint!r}, hint: {hint or name}}}}}"
    return mesh.run(mesh.config(name, body, identity=identity, trust_domain=spire.domain))


@contextlib.contextmanager
def entered(spire: Spire, path: str, *more: str, **selector: str) -> Iterator[str]:
    """A registration for the block; its hint is its path."""
    entry = spire.enter(path, "-hint", path, *more, **selector)
    try:
        yield entry
    finally:
        with contextlib.suppress(AssertionError):  # a test may have deleted it
            spire.delete(entry)


def call(mesh: Mesh, edge: Sidecar) -> int:
    """One request through both sidecars."""
    with mesh.plain(edge.ports["outbound"]) as wire:
        return wire.ask("GET", "/orders/1", mesh.bearer()).status


def test_rotation_under_load_loses_nothing(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """A TTL of a minute is renewed after half a minute; every request before, during and after it is served."""
    ours, _ = spires
    with entered(ours, "orders", "-x509SVIDTTL", "60"), entered(ours, "edge", "-x509SVIDTTL", "60"):
        orders = launch(mesh, ours, "orders", INBOUND.format(app=mesh.app().port)).wait_until_ready()
        port = orders.ports["inbound"]
        edge = launch(mesh, ours, "edge", OUTBOUND.format(port=port, spiffe_id=ours.id("orders"))).wait_until_ready()
        statuses: list[int] = []
        until = time.monotonic() + 75
        while time.monotonic() < until:
            statuses.append(call(mesh, edge))
            if orders.metric("svidecar_svid_rotations_total") and edge.metric("svidecar_svid_rotations_total"):
                until = min(until, time.monotonic() + 2)
            time.sleep(0.02)
        assert set(statuses) == {200}
        assert orders.metric("svidecar_svid_rotations_total") >= 1
        assert edge.metric("svidecar_svid_rotations_total") >= 1


def test_two_federated_servers(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """A workload of the other domain comes in by the federated bundle, and only where the entry federates."""
    ours, other = spires
    federated = ("-federatesWith", f"spiffe://{other.domain}")
    answers: dict[str, int] = {}
    with entered(other, "edge", "-federatesWith", f"spiffe://{ours.domain}"):
        for name, more in (
            ("open", federated),
            ("shut", ()),
        ):  # one at a time: an agent gives the bundles of all entries
            with entered(ours, name, *more):
                inbound = launch(mesh, ours, name, INBOUND.format(app=mesh.app().port)).wait_until_ready()
                body = OUTBOUND.format(port=inbound.ports["inbound"], spiffe_id=ours.id(name))
                edge = launch(mesh, other, f"edge-{name}", body, hint="edge").wait_until_ready()
                answers[name] = call(mesh, edge)
                if name == "open":  # proved and admitted; but no token of a transaction leaves its trust domain
                    assert inbound.decisions(direction="inbound", reason="token_missing") == 1
                else:
                    assert inbound.decisions(direction="inbound", decision="deny") >= 1
    assert answers == {"open": 401, "shut": 502}


def test_an_agent_that_dies_and_comes_back(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """The last SVID serves on; the stream is found again."""
    ours, _ = spires
    with entered(ours, "orders"):
        orders = launch(mesh, ours, "orders", INBOUND.format(app=mesh.app().port)).wait_until_ready()
        ours.kill_agent()
        wait_until(lambda: not orders.metric("svidecar_workload_api_stream_open", stream="x509"), "the lost stream")
        orders.wait_until_ready()
        ours.start_agent()
        wait_until(lambda: orders.metric("svidecar_workload_api_reconnects_total") >= 1, "the stream", 30)


def test_an_entry_that_is_deleted(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """The identity is given up within seconds, and taken again with a new entry."""
    ours, _ = spires
    with entered(ours, "brief") as entry:
        brief = launch(mesh, ours, "brief", INBOUND.format(app=mesh.app().port)).wait_until_ready()
        ours.delete(entry)
        wait_until(lambda: brief.get("health", "/healthz/ready")[0] == 503, "not ready without an identity", 30)
        assert "svid" in brief.get("health", "/healthz/ready")[1]
    with entered(ours, "brief"):
        brief.wait_until_ready(30)


def test_selectors_that_do_not_match(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """An entry for another user gives us nothing: not ready, with a reason, and no end of the process."""
    ours, _ = spires
    with entered(ours, "stranger", selector="unix:uid:4242424"):
        stranger = launch(mesh, ours, "stranger", INBOUND.format(app=mesh.app().port))
        stranger.wait_for_log("register one whose selectors match it", 20)
        status, why = stranger.get("health", "/healthz/ready")
        assert status == 503
        assert json.loads(why)["gates"]["svid"]["ok"] is False


async def test_a_jwt_svid(spires: tuple[Spire, Spire]) -> None:
    """What SPIRE signs, the keys of its JWT bundle verify by our rules; for its audience alone."""
    ours, _ = spires
    with entered(ours, "orders"):
        client = WorkloadApiClient(parse_endpoint(ours.endpoint))
        try:
            async with asyncio.timeout(30):
                svid = await _jwt_svid(client, ours.id("orders"))
                bundles: list[JWTBundlesResponse] = []
                with pytest.raises(CallFailed):
                    await asyncio.gather(client.jwt_bundles(bundles.append), _close_when(client, bundles))
        finally:
            client.close()
    known, refused = read_bundles(bundles[0].bundles)
    assert refused == []
    assert str(verify_jwt_svid(svid, known, "https://as.example.org", time.time()).spiffe_id) == ours.id("orders")


async def _jwt_svid(client: WorkloadApiClient, spiffe_id: str) -> bytes:
    """As soon as the agent has heard of the entry."""
    while True:
        try:
            return (await client.jwt_svids("https://as.example.org", spiffe_id)).svids[0].svid.encode()
        except CallFailed:
            await asyncio.sleep(0.5)


async def _close_when(client: WorkloadApiClient, came: list[JWTBundlesResponse]) -> None:
    while not came:
        await asyncio.sleep(0.05)
    client.close()


def test_identity_show(spires: tuple[Spire, Spire], mesh: Mesh) -> None:
    """The verb reads SPIRE's agent."""
    ours, _ = spires
    with entered(ours, "orders"):
        launch(mesh, ours, "orders", INBOUND.format(app=mesh.app().port)).wait_until_ready()
        command = [sys.executable, "-m", "proxy", "identity", "show", "--socket", ours.endpoint, "--json"]
        shown = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
        assert ours.id("orders") in [one["spiffe_id"] for one in shown["identities"]]

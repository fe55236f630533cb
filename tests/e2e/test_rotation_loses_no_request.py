"""SVIDs, keys and bundles change under load: no request fails, no connection ends, and the next handshake is the newest's."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import pytest
from cryptography import x509
from support.mesh import EDGE, INBOUND, ORDERS, Mesh, mesh_in, orders_at, outbound
from support.pki import Authority, der, new_key, write_svid, write_volume
from support.sidecar import wait_until
from support.wire import Wire

ROTATIONS = 4


class Chain:
    """``edge`` -> ``orders``: the SVID of ``edge`` comes in a Kubernetes volume, that of ``orders`` from spiffe-helper."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.ca = mesh.ca
        self.peer = mesh.context("caller", mesh.ca.svid(EDGE))
        self.peer.load_verify_locations(cadata=mesh.ca.bundle_pem.decode())
        self.write()
        self.orders = mesh.start("orders", INBOUND.format(app=mesh.app().port))
        self.edge = mesh.start("edge", outbound(orders_at(self.orders)) + "tokens: {keys: jwks.json}\n")
        self.sidecars = (self.edge, self.orders)

    def write(self) -> None:
        """Write new SVIDs for both."""
        mesh = self.mesh
        mesh.svids |= {"edge": self.ca.svid(EDGE), "orders": self.ca.svid(ORDERS)}
        write_volume(mesh.folder / "edge", mesh.svids["edge"], self.ca)
        write_svid(mesh.folder / "orders", mesh.svids["orders"], self.ca)

    def rotate(self) -> None:
        """Write new SVIDs, and wait until both sidecars have them."""
        before = [sidecar.metric("svidecar_svid_rotations_total") for sidecar in self.sidecars]
        self.write()
        for sidecar, count in zip(self.sidecars, before, strict=True):
            wait_until(lambda s=sidecar, n=count: s.metric("svidecar_svid_rotations_total") == n + 1, "it is taken")  # type: ignore[misc]

    def connect(self) -> Wire:
        """A connection of a peer whose own SVID stays."""
        sock = socket.create_connection(("127.0.0.1", self.orders.ports["inbound"]), timeout=10)
        return Wire(self.peer.wrap_socket(sock))

    def shown(self) -> bytes:
        """The certificate that ``orders`` shows in a new handshake."""
        with self.connect() as wire:
            assert isinstance(wire.sock, ssl.SSLSocket)
            return wire.sock.getpeercert(binary_form=True) or b""


@pytest.fixture
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain for each test: its metrics begin at 0."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as mesh:
        yield Chain(mesh)


class Load:
    """Callers that ask on until the block ends: over kept connections and over new ones, through both and to ``orders``."""

    def __init__(self, chain: Chain) -> None:
        mesh, outbound_port = chain.mesh, chain.edge.ports["outbound"]
        self._token = {"Txn-Token": mesh.mint.token().decode()}
        self._stop = threading.Event()
        self.statuses: list[int] = []
        self.failures: list[str] = []

        def through() -> Wire:
            return Wire(socket.create_connection(("127.0.0.1", outbound_port), timeout=10))

        shapes = ((through, True), (through, False), (chain.connect, True), (chain.connect, False))
        self._threads = [threading.Thread(target=self._run, args=shape, daemon=True) for shape in shapes]

    def _run(self, connect: Callable[[], Wire], keep: bool) -> None:  # noqa: FBT001
        try:
            with contextlib.ExitStack() as stack:
                wire = stack.enter_context(connect())
                while not self._stop.is_set():
                    self.statuses.append(wire.ask("GET", "/orders/1", self._token).status)
                    if not keep:
                        stack.close()
                        wire = stack.enter_context(connect())
        except (OSError, AssertionError) as error:
            self.failures.append(f"{connect.__name__}, keep {keep}: {error!r}")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until so many more requests were answered."""
        before = len(self.statuses)
        wait_until(lambda: self.failures or len(self.statuses) >= before + count, "requests")


def _all_served(load: Load) -> None:
    assert load.failures == []
    assert set(load.statuses) == {200}


def test_new_svids_under_load(chain: Chain) -> None:
    """Both sides change again and again; kept connections live on, and each new handshake has the newest SVID."""
    serials = set()
    with Load(chain) as load:
        for _ in range(ROTATIONS):
            chain.rotate()
            assert chain.shown() == der(chain.mesh.svids["orders"].certificate)
            serials.add(x509.load_der_x509_certificate(chain.shown()).serial_number)
            load.wait_for_more()
    _all_served(load)
    assert len(serials) == ROTATIONS
    for sidecar in chain.sidecars:
        assert sidecar.metric("svidecar_svid_rotations_total") == ROTATIONS
        assert sidecar.decisions(decision="deny") == sidecar.decisions(decision="error") == 0
        assert sidecar.ready
    # contexts of old connections end with them
    wait_until(lambda: chain.orders.metric("svidecar_tls_context_generations") <= 3, "old contexts are gone")


def test_a_new_authority_under_load(chain: Chain) -> None:
    """As a CA is rotated: its certificate joins the bundles, then it signs, then the old one leaves."""
    old, new = chain.ca, Authority.make("example.org", subject="the next CA")
    with Load(chain) as load:
        for signer, anchors in (
            (old, (old.certificate, new.certificate)),
            (new, (old.certificate, new.certificate)),
        ):
            chain.ca = replace(signer, anchors=anchors)
            chain.peer.load_verify_locations(cadata=chain.ca.bundle_pem.decode())
            chain.rotate()
            load.wait_for_more()
    _all_served(load)
    wires = [chain.connect(), chain.connect()]
    for wire in wires:
        chain.mesh.also_close(wire.close)
    assert wires[0].ask("GET", "/orders/1", chain.mesh.bearer()).status == 200
    before = chain.orders.decisions(reason="untrusted_chain", decision="deny")
    chain.ca = new
    chain.rotate()
    assert all(wire.ends() for wire in wires), "their SVID is of the authority that has left"
    chain.orders.wait_for_decision(before + 2, reason="untrusted_chain", decision="deny")
    with pytest.raises((OSError, AssertionError)), chain.connect() as wire:
        wire.ask("GET", "/orders/1", chain.mesh.bearer())
    chain.mesh.ca = new
    wire = chain.mesh.connect(chain.orders.ports["inbound"], svid=new.svid(EDGE))
    assert wire.ask("GET", "/orders/1", chain.mesh.bearer()).status == 200


def test_a_set_that_does_not_fit_keeps_the_last_good(chain: Chain) -> None:
    """Certificate and key of two SVIDs: counted and told once, the age grows, and all goes on until a whole set comes."""
    orders, mesh = chain.orders, chain.mesh
    good = mesh.svids["orders"]
    rotations = orders.metric("svidecar_svid_rotations_total")
    with Load(chain) as load:
        failed = orders.metric("svidecar_reload_total", result="failed")
        # The key first and the certificate after it, unlike spiffe-helper: each state on the way is one that does not fit.
        (mesh.folder / "orders" / "svid_key.pem").write_bytes(replace(good, key=new_key()).key_pem)
        orders.wait_for_log("does not belong to the certificate")
        load.wait_for_more()
        assert chain.shown() == der(good.certificate)
        age = orders.metric("svidecar_identity_age_seconds")
        wait_until(lambda: orders.metric("svidecar_identity_age_seconds") > age + 0.2, "the age grows")
        assert orders.metric("svidecar_reload_total", result="failed") == failed + 1
        assert orders.ready, "the last good identity serves on"
        chain.rotate()
        load.wait_for_more()
    _all_served(load)
    assert orders.metric("svidecar_identity_age_seconds") < age
    assert orders.metric("svidecar_svid_rotations_total") == rotations + 1
    told = [line for line in orders.lines if "does not belong to the certificate" in line]
    assert len(told) <= 2, "once for the set that we wrote, at most once for one that was seen half-way"
    assert "write both again" in told[0]

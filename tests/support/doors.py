"""A sidecar whose doors are real, and nothing beyond them: connections that were admitted, and socket pairs behind."""

import asyncio
import socket
from pathlib import Path
from typing import Any

from loadtest.loop import Nowhere
from proxy.app import Sidecar
from proxy.config.load import load_text
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import InboundConnection
from proxy.flow.outbound import OutboundConnection
from proxy.http1.limits import Limits
from proxy.identity.peer import identify
from proxy.policy.compile import compile_policy
from proxy.policy.grant import admit
from proxy.upstream.connection import Upstream
from proxy.upstream.endpoint import Endpoint
from support.flow import open_upstream
from support.pki import Authority, write_svid
from support.tokens import TokenMint

CA = Authority.make("example.org")
CONFIG = """
service: orders
trust_domain: example.org
identity: {files: {svid: svid.pem, key: svid_key.pem, bundle: svid_bundle.pem}}
inbound: {listen: "127.0.0.1:1", app: "http://127.0.0.1:2"}
outbound:
  listen: "127.0.0.1:3"
  destinations: [{host: ledger, address: "127.0.0.1:4", spiffe_id: spiffe://example.org/ledger, propagate: tracestate}]
tokens: {audience: example.org, keys: jwks.json}
policy:
  - name: edge may read
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    routes: [{match: "GET /orders/{id}", scopes: [orders.read]}]
"""


class Kept(Nowhere):
    """A transport that keeps all that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: Any) -> None:
        """Take bytes."""
        self.sent += data


class Bench:
    """A sidecar of which every connection to another side is a socket pair, there once ``may_open`` is set."""

    def __init__(self, folder: Path, text: str = CONFIG) -> None:
        paths = write_svid(folder, CA.svid("spiffe://example.org/orders"), CA)
        assert {path.parent for path in paths.values()} == {folder}
        self.folder = folder
        self.text = text
        self.mint = TokenMint()
        (folder / "jwks.json").write_bytes(self.mint.jwks())
        self.sidecar = Sidecar(load_text(text, folder, {}), asyncio.get_running_loop())
        self.sidecar.source.begin()
        self.doors = self.sidecar.doors
        self.may_open = asyncio.Event()
        self.opened: list[tuple[str, socket.socket]] = []

    async def dial(self, endpoint: Endpoint, _limits: Limits, _timeout_s: float, *, held: bool = False) -> Upstream:
        """In the place of the dialer."""
        await self.may_open.wait()
        upstream, other = await open_upstream()
        upstream.held = held
        self.opened.append((str(endpoint), other))
        return upstream

    def take(self, old: str, new: str) -> None:
        """What a reload does; ``old`` is there, and ``new`` in its place."""
        assert old in self.text
        settings = load_text(self.text.replace(old, new), self.folder, {})
        self.sidecar.take(settings.policy, settings.destinations, compile_policy(settings.policy, "example.org"))

    def become(self, name: str) -> None:
        """Take the SVID of another workload."""
        write_svid(self.folder, CA.svid(f"spiffe://example.org/{name}"), CA)
        self.sidecar.source.load()  # type: ignore[attr-defined]  # it reads files

    def inbound(self) -> tuple[InboundConnection, Kept]:
        """A connection of ``edge``."""
        door, listener = self.doors.inbound_door, self.doors.inbound
        assert door is not None
        assert listener is not None
        bundles, now = self.sidecar.foundation.store.trusted, listener.runtime.now()
        chain = [*CA.svid("spiffe://example.org/edge").chain_der, next(iter(bundles["example.org"].by_der))]
        connection, transport = door.connection(listener), Kept()
        assert isinstance(connection, InboundConnection)
        peer = identify(chain, bundles, now)
        connection._grant = admit(door.policy, peer, peer.not_after)
        connection._forwarded_client_cert = b"X-Forwarded-Client-Cert: By=a;Hash=b;URI=c"
        connection.account.policy = door.policy.version
        Downstream.connection_made(connection, transport)
        door.lifetimes.add(connection)
        return connection, transport

    def outbound(self) -> tuple[OutboundConnection, Kept]:
        """A connection of the app."""
        door, listener = self.doors.outbound_door, self.doors.outbound
        assert door is not None
        assert listener is not None
        connection, transport = OutboundConnection(listener, door), Kept()
        connection.connection_made(transport)
        return connection, transport

    def request(self, first: str = "GET /orders/17 HTTP/1.1", more: str = "") -> bytes:
        """A request that the rules of the beginning allow."""
        token = self.mint.token(scope="orders.read").decode()
        return f"{first}\r\nHost: ledger\r\nTxn-Token: {token}\r\n{more}\r\n".encode()

    async def opens(self) -> None:
        """Let what is dialled open, and all that follows happen."""
        self.may_open.set()
        await settle()

    def received(self) -> dict[str, bytes]:
        """What each address was sent."""
        found = {}
        for where, other in self.opened:
            try:
                found[where] = other.recv(1 << 20)
            except BlockingIOError:
                found[where] = b""
        return found


async def settle() -> None:
    """Let the loop see what has happened."""
    for _ in range(20):
        await asyncio.sleep(0)

"""A connection to a real sidecar whose peer was admitted: no socket, what it sends is handed in, the rest is kept."""

import asyncio
import time
from pathlib import Path
from typing import Any

from loadtest.loop import CONFIG, Nowhere
from proxy.app import Sidecar
from proxy.config.load import load_text
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import InboundConnection
from proxy.http1.limits import Limits
from proxy.identity.bundle import Bundles
from proxy.identity.peer import identify
from proxy.net.deadlines import NEVER
from proxy.policy.grant import admit
from proxy.upstream.connection import Upstream
from support.pki import Authority, write_svid
from support.tokens import TokenMint

CA = Authority.make("example.org")
LOCAL = "spiffe://example.org/orders"


class Kept(Nowhere):
    """A transport that keeps what it is given, and says whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        """Take bytes."""
        self.sent += data

    def close(self) -> None:
        """Nothing is buffered."""
        self.closed = True

    def resume_reading(self) -> None:
        """Nothing is read."""


class Admitted:
    """A connection of ``edge`` to ``orders``, whose Grant ends after ``until_s``: long before the peer's SVID."""

    def __init__(self, folder: Path, text: str = CONFIG, until_s: float = 300.0) -> None:
        self.folder = folder
        paths = write_svid(folder, CA.svid(LOCAL), CA)
        self.mint = TokenMint()
        (folder / "jwks.json").write_bytes(self.mint.jwks())
        names = {"orders.pem": paths["svid"].name, "orders.key": paths["key"].name, "bundle.pem": paths["bundle"].name}
        for old, new in names.items():
            text = text.replace(old, new)
        self.sidecar = Sidecar(load_text(text, folder, {}), asyncio.get_running_loop())
        self.sidecar.source.begin()
        doors = self.sidecar.doors
        assert doors.inbound is not None
        assert doors.inbound_door is not None
        self.door = doors.inbound_door
        self.now = time.time()
        self.until = self.now + until_s
        self.peer = identify([*CA.svid("spiffe://example.org/edge").chain_der, self.anchor], self.bundles, self.now)
        self.connection = InboundConnection(doors.inbound, self.door)
        self.connection.account.local, self.connection.account.peer = LOCAL, self.peer.uri
        self.connection._grant = admit(self.door.policy, self.peer, self.until)
        self.connection._forwarded_client_cert = b"X-Forwarded-Client-Cert: By=a;Hash=b;URI=c"
        self.transport = Kept()
        Downstream.connection_made(self.connection, self.transport)
        self.door.lifetimes.add(self.connection)

    def lend(self) -> Kept:
        """Have a connection to the app stand ready; give what it is sent."""
        transport, upstream = Kept(), Upstream(Limits())
        upstream.connection_made(transport)
        upstream.idle_until = NEVER
        self.door.pool.ledger.opening()
        self.door.pool.ledger.take_back(upstream)
        return transport

    async def aclose(self) -> None:
        """End it, and what it has open itself."""
        await self.sidecar.close()
        await asyncio.sleep(0.02)

    @property
    def bundles(self) -> Bundles:
        """Those that the sidecar holds."""
        return self.sidecar.foundation.store.trusted

    @property
    def anchor(self) -> bytes:
        """Our authority."""
        return next(iter(self.bundles["example.org"].by_der))

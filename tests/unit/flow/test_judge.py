"""An open connection that is judged anew: its Grant never becomes more, and whoever is proved no more is cut in time."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.pki import Authority, write_svid
from support.tokens import TokenMint

from loadtest.loop import CONFIG, Nowhere
from proxy.app import Sidecar
from proxy.config.load import load_text
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import InboundConnection
from proxy.identity.bundle import Bundles
from proxy.identity.peer import identify
from proxy.policy.compile import compile_policy
from proxy.policy.grant import admit
from proxy.policy.settings import PolicySettings
from proxy.tls.proofs import GRACE_S, Proofs

CA = Authority.make("example.org")
UNTIL_S = 5.0


class Closing(Nowhere):
    """A transport that says whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def close(self) -> None:
        """Nothing is buffered."""
        self.closed = True


class Judged:
    """A connection of ``edge``, whose Grant ends with our own SVID: long before the peer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = write_svid(folder, CA.svid("spiffe://example.org/orders"), CA)
        self.mint = TokenMint()
        (folder / "jwks.json").write_bytes(self.mint.jwks())
        names = {"orders.pem": paths["svid"].name, "orders.key": paths["key"].name, "bundle.pem": paths["bundle"].name}
        text = CONFIG
        for old, new in names.items():
            text = text.replace(old, new)
        self.sidecar = Sidecar(load_text(text, folder, {}), asyncio.get_running_loop())
        self.sidecar.source.begin()
        doors = self.sidecar.doors
        assert doors.inbound is not None
        assert doors.inbound_door is not None
        self.door = doors.inbound_door
        self.now = time.time()
        self.until = self.now + UNTIL_S
        self.peer = identify([*CA.svid("spiffe://example.org/edge").chain_der, self.anchor], self.bundles, self.now)
        self.connection = InboundConnection(doors.inbound, self.door)
        self.connection._grant = admit(self.door.policy, self.peer, self.until)
        self.transport = Closing()
        Downstream.connection_made(self.connection, self.transport)
        self.door.lifetimes.add(self.connection)

    def prove(self, bundles: Bundles) -> None:
        """Its turn in a round of judging by these bundles."""
        self.door.proofs = Proofs(bundles, self.now)
        self.connection.judge()

    def ask(self) -> bytes:
        """Send a request that the rules of the beginning allow; what was answered at once."""
        head = b"GET /orders/17 HTTP/1.1\r\nHost: orders\r\nTxn-Token: "
        token = self.mint.token(scope="orders.read")
        self.connection.data_received(head + token + b"\r\n\r\n")
        return bytes(self.transport.last)

    @property
    def bundles(self) -> Bundles:
        """Those that the sidecar holds."""
        return self.sidecar.foundation.store.trusted

    @property
    def anchor(self) -> bytes:
        """Our authority."""
        return next(iter(self.bundles["example.org"].by_der))


@pytest.fixture(name="judged")
async def _judged(tmp_path: Path) -> AsyncIterator[Judged]:
    made = Judged(tmp_path)
    yield made
    await made.sidecar.close()


async def test_what_is_still_proved_lives_no_longer(judged: Judged) -> None:
    """The earlier end of the two SVIDs holds on, whatever the peer's own is."""
    assert judged.peer.not_after > judged.until
    judged.prove(judged.bundles)
    assert judged.connection._grant.until == judged.until
    assert judged.connection.ends_at > time.monotonic() + GRACE_S
    assert not judged.transport.closed


async def test_what_is_proved_no_more_ends_within_the_grace(judged: Judged) -> None:
    """Nothing more is granted from this moment on, and the next look comes in time to cut what goes on."""
    began = time.monotonic()
    judged.prove({})
    assert judged.connection._grant.until == 0
    assert judged.connection.ends_at <= time.monotonic() + GRACE_S
    assert judged.door.lifetimes.deadline <= judged.connection.ends_at
    assert began + GRACE_S <= judged.connection.ends_at
    assert judged.transport.closed, "nothing is in progress that the grace would be for"


async def test_a_request_is_not_judged_by_rules_that_were(judged: Judged) -> None:
    """Another policy was taken, and the round of judging has not come to this connection yet."""
    await judged.sidecar.keys.load()
    settings = judged.sidecar.settings
    text = CONFIG.replace("GET /orders/{id}", "GET /others/{id}")
    other = load_text(text, judged.folder, {}).policy
    judged.sidecar.take(other, settings.destinations, compile_policy(other, "example.org"))
    assert b'"route_not_allowed"' in judged.ask()
    assert judged.connection.account.policy == judged.door.policy.version
    assert not judged.transport.closed


async def test_a_request_of_one_who_is_named_no_more_ends_its_connection(judged: Judged) -> None:
    """It was admitted by rules that were; the answer says that the Grant has ended, and nothing reaches the app."""
    await judged.sidecar.keys.load()
    nobody = PolicySettings(rules=())
    judged.sidecar.take(nobody, judged.sidecar.settings.destinations, compile_policy(nobody, "example.org"))
    answer = judged.ask()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b'"grant_ended"' in answer
    assert b"\r\nConnection: close\r\n" in answer


async def test_the_round_judges_once(judged: Judged) -> None:
    """What a request has had judged is passed over: of two judgements within a round the second says nothing new."""
    judged.prove(judged.bundles)
    judged.connection.ends_at = 0.0
    judged.connection.judge()
    assert judged.connection.ends_at == 0.0

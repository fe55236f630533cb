"""An open connection that is judged anew: its Grant never becomes more, and whoever is proved no more is cut in time."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.admitted import Admitted

from loadtest.loop import CONFIG
from proxy.config.load import load_text
from proxy.identity.bundle import Bundles
from proxy.policy.compile import compile_policy
from proxy.policy.settings import PolicySettings
from proxy.tls.proofs import GRACE_S, Proofs

UNTIL_S = 5.0


class Judged(Admitted):
    """Its Grant ends with our own SVID."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, until_s=UNTIL_S)

    def prove(self, bundles: Bundles) -> None:
        """Its turn in a round of judging by these bundles."""
        self.door.proofs = Proofs(bundles, self.now)
        self.connection.judge()

    def ask(self) -> bytes:
        """Send a request that the rules of the beginning allow; what was answered at once."""
        head = b"GET /orders/17 HTTP/1.1\r\nHost: orders\r\nTxn-Token: "
        token = self.mint.token(scope="orders.read")
        self.connection.data_received(head + token + b"\r\n\r\n")
        return self.transport.sent


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

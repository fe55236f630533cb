"""The identity of an agent: every rule of specs 2.7, against gRPC's own server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from spiffe._proto import workload_pb2
from support.agent import Agent, x509_response, x509_svid
from support.pki import Authority, der

from proxy.errors import NotReady
from proxy.identity.settings import IdentitySettings, WorkloadApiSettings
from proxy.identity.sources import workload_api as module
from proxy.identity.sources.source import Told
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.identity.store import IdentityStore
from proxy.workload_api import follow

CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
URI = "spiffe://example.org/orders"


class Followed:
    """A source over a socket, its store, and all that it told."""

    def __init__(self, socket: Path, hint: str = "") -> None:
        self.now = time.time()
        self.loaded: list[tuple[bool, str]] = []
        self.taken_back: list[str] = []
        self.streams: list[tuple[str, bool]] = []
        self.failures: list[tuple[str, str]] = []
        self.store = IdentityStore()
        settings = IdentitySettings(
            trust_domain="example.org", workload_api=WorkloadApiSettings(socket=f"unix://{socket}", hint=hint)
        )
        told = Told(
            loaded=lambda ok, detail: self.loaded.append((ok, detail)),
            taken_back=self.taken_back.append,
            stream=lambda name, is_up: self.streams.append((name, is_up)),
            failed=lambda name, kind: self.failures.append((name, kind)),
        )
        self.source = WorkloadApiSource(settings, self.store, lambda: self.now, lambda: 0.0, told)

    @property
    def serial(self) -> int:
        """Which SVID is current; 0 for none."""
        current = self.store.current
        return current.svid.certificates[0].serial_number if current else 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the agent within the block."""
        self.source.begin()
        task = asyncio.get_running_loop().create_task(self.source.watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.source.close()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back in hundredths of a second."""
    monkeypatch.setattr(follow, "BACKOFF_STEP_S", 0.01)
    monkeypatch.setattr(follow, "BACKOFF_MAX_S", 0.05)


async def test_it_starts_before_its_agent(tmp_path: Path) -> None:
    """It says once why it waits, tries on, and takes what comes when the agent does."""
    followed = Followed(tmp_path / "s")
    async with followed.running():
        await followed.until(lambda: len(followed.failures) > 3)
        ((ok, why),) = followed.loaded
        assert not ok
        assert "start the agent" in why
        assert followed.store.current is None
        with Agent.start(tmp_path / "s") as agent:
            agent.give(x509_response(CA.svid(URI), CA))
            await followed.until(lambda: followed.store.current)
    assert followed.loaded[-1] == (True, f"took the SVID of {URI} as generation 1")
    assert followed.streams[-1] == ("x509", True)


async def test_a_message_is_the_full_state(tmp_path: Path) -> None:
    """A rotation and a federated bundle come; what the next message has not is gone; the same again is nothing new."""
    followed = Followed(tmp_path / "s")
    first, second = CA.svid(URI), CA.svid(URI)
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(first, CA, {"spiffe://other.org": der(OTHER.certificate)}))
        async with followed.running():
            await followed.until(lambda: followed.serial == first.certificate.serial_number)
            assert set(followed.store.require().bundles) == {"example.org", "other.org"}
            agent.give(x509_response(second, CA))
            await followed.until(lambda: followed.serial == second.certificate.serial_number)
            assert set(followed.store.require().bundles) == {"example.org"}
            agent.give(x509_response(second, CA))
            agent.give(x509_response(first, CA))
            await followed.until(lambda: followed.serial == first.certificate.serial_number)
    assert followed.store.require().generation == 3
    assert followed.failures == []


async def test_a_bad_message_is_told_and_discarded(tmp_path: Path) -> None:
    """The last good one serves on, and the stream goes on: the next message is taken."""
    followed = Followed(tmp_path / "s")
    first, second = CA.svid(URI), CA.svid(URI)
    bad = workload_pb2.X509SVIDResponse(svids=[x509_svid(second, CA, bundle=b"")])
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(first, CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            agent.give(bad)
            await followed.until(lambda: followed.failures)
            assert followed.serial == first.certificate.serial_number
            assert followed.failures == [("x509", "bad_answer")]
            assert "lacks a mandatory field" in followed.loaded[-1][1]
            agent.give(x509_response(CA.svid(URI), OTHER))
            await followed.until(lambda: len(followed.failures) == 2)
            agent.give(x509_response(second, CA))
            await followed.until(lambda: followed.serial == second.certificate.serial_number)
        assert agent.opened == 1


async def test_an_agent_that_ends_and_comes_back(tmp_path: Path) -> None:
    """What it gave serves on; the new agent's SVID is taken."""
    followed = Followed(tmp_path / "s")
    first, second = CA.svid(URI), CA.svid(URI)
    agent = Agent()
    async with followed.running():
        with agent.listening(tmp_path / "s"):
            agent.give(x509_response(first, CA))
            await followed.until(lambda: followed.serial)
        await followed.until(lambda: ("x509", "unreachable") in followed.failures)
        assert followed.serial == first.certificate.serial_number
        assert followed.taken_back == []
        with agent.listening(tmp_path / "s"):
            agent.give(x509_response(second, CA))
            await followed.until(lambda: followed.serial == second.certificate.serial_number)
    assert followed.streams[0] == ("x509", False)
    assert followed.streams.count(("x509", True)) == 2


async def test_permission_denied_after_a_working_stream_takes_the_identity_away(tmp_path: Path) -> None:
    """At once; and it comes back as a new generation when the agent gives one again."""
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(CA.svid(URI), CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            agent.refuse(grpc.StatusCode.PERMISSION_DENIED)
            await followed.until(lambda: followed.store.current is None)
            assert len(followed.taken_back) == 1
            with pytest.raises(NotReady, match="our SVID was taken away"):
                followed.store.require()
            await followed.until(lambda: len(followed.failures) > 3)
            assert len(followed.taken_back) == 1
            agent.give(x509_response(CA.svid(URI), CA))
            await followed.until(lambda: followed.serial)
            assert followed.store.require().generation == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_other_statuses_leave_the_identity(code: grpc.StatusCode, tmp_path: Path) -> None:
    """They say nothing about who we are."""
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(CA.svid(URI), CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            agent.refuse(code)
            await followed.until(lambda: len(followed.failures) > 2)
            assert followed.serial
            assert followed.taken_back == []


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED])
async def test_final_statuses_are_not_tried_again(code: grpc.StatusCode, tmp_path: Path) -> None:
    """The standard forbids it; what we hold serves on."""
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(CA.svid(URI), CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            agent.refuse(code)
            await followed.until(lambda: followed.failures)
            await asyncio.sleep(0.2)
            assert len(followed.failures) == 1
            assert "it is not asked again" in followed.loaded[-1][1]
            assert followed.source.trouble == followed.loaded[-1][1]
            assert followed.serial
        assert agent.opened == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED])
async def test_another_agent_in_its_place_is_asked(
    code: grpc.StatusCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the one before it did not know: nobody has to start us anew."""
    monkeypatch.setattr(module, "ANOTHER_S", 0.01)
    followed = Followed(tmp_path / "s")
    agent = Agent()
    async with followed.running():
        with agent.listening(tmp_path / "s"):
            agent.refuse(code)
            await followed.until(lambda: followed.failures)
            await asyncio.sleep(0.1)
            assert agent.opened == 1
        with Agent.start(tmp_path / "s") as better:
            better.give(x509_response(CA.svid(URI), CA))
            await followed.until(lambda: followed.serial)
    assert followed.source.trouble == ""


async def test_an_operator_may_have_it_asked_again(tmp_path: Path) -> None:
    """Once for each time that he says so."""
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.refuse(grpc.StatusCode.UNIMPLEMENTED)
        async with followed.running():
            await followed.until(lambda: followed.failures)
            followed.source.ask_anew()
            await followed.until(lambda: len(followed.failures) == 2)
            await asyncio.sleep(0.1)
            assert agent.opened == 2
            agent.give(x509_response(CA.svid(URI), CA))
            followed.source.ask_anew()
            await followed.until(lambda: followed.serial)


async def test_the_svid_of_our_hint_is_taken_away(tmp_path: Path) -> None:
    """Another identity is never used in its place (Workload API 4.4)."""
    followed = Followed(tmp_path / "s", hint="internal")
    mine, other = x509_svid(CA.svid(URI), CA, hint="internal"), x509_svid(CA.svid("spiffe://example.org/x"), CA)
    with Agent.start(tmp_path / "s") as agent:
        agent.give(workload_pb2.X509SVIDResponse(svids=[other, mine]))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            assert str(followed.store.require().svid.spiffe_id) == URI
            agent.give(workload_pb2.X509SVIDResponse(svids=[other]))
            await followed.until(lambda: followed.taken_back)
            assert followed.store.current is None
            assert "none has the hint 'internal'" in followed.taken_back[0]


async def test_a_silent_stream_is_reopened_when_a_new_svid_is_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that hangs with its connection open would else cost us the identity."""
    monkeypatch.setattr(module, "MIN_PATIENCE_S", 0.05)
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(CA.svid(URI, lifetime_s=3600), CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            await asyncio.sleep(0.2)
            assert agent.opened == 1
            svid = followed.store.require().svid
            followed.now = svid.not_after - module.OVERDUE * (svid.not_after - svid.not_before) + 1
            agent.give(x509_response(CA.svid(URI), CA, {"spiffe://other.org": der(OTHER.certificate)}))
            await followed.until(lambda: len(followed.store.require().bundles) == 2)
            followed.now = followed.store.require().svid.not_after - 1
            agent.give(x509_response(CA.svid(URI), CA))
            await followed.until(lambda: agent.opened > 2)
            assert followed.serial


async def test_jwt_svids_are_asked_for_the_identity_in_use(tmp_path: Path) -> None:
    """By its ID, so that of several the same one speaks in TLS and in tokens."""
    followed = Followed(tmp_path / "s")
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(CA.svid(URI), CA))
        async with followed.running():
            await followed.until(lambda: followed.serial)
            await followed.source.jwt_svids("aud")
            assert agent.asked[0].spiffe_id == URI


async def test_no_secret_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong with a key."""
    followed = Followed(tmp_path / "s")
    svid = CA.svid(URI)
    with Agent.start(tmp_path / "s") as agent:
        agent.give(workload_pb2.X509SVIDResponse(svids=[x509_svid(svid, CA, x509_svid_key=b"S3CR3T" * 9)]))
        async with followed.running():
            await followed.until(lambda: followed.failures)
    assert "S3CR3T" not in caplog.text + repr(followed.loaded)

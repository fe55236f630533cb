"""Identity by the Workload API: waited for, followed through every rotation without a lost request, kept, taken back."""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from support.agent import Agent, x509_response
from support.mesh import INBOUND, ORDERS, Mesh
from support.pki import Authority, der
from support.sidecar import Sidecar, wait_until

OTHER = Authority.make("other.org")


def launch(mesh: Mesh, socket: Path) -> Sidecar:
    """A sidecar whose YAML says nothing of identity; its environment names the socket."""
    body = INBOUND.format(app=mesh.app().port)
    path = mesh.config("orders", body.replace("example.org/edge", "example.org/edge, spiffe://other.org/edge"))
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("identity:")]
    path.write_text("".join(lines))
    return mesh.run(path, SPIFFE_ENDPOINT_SOCKET=f"unix://{socket}")


def call(mesh: Mesh, sidecar: Sidecar) -> int:
    """One request on a connection of its own."""
    with mesh.connect(sidecar.ports["inbound"]) as wire:
        return wire.ask("GET", "/orders/1", mesh.bearer()).status


@contextlib.contextmanager
def calling(mesh: Mesh, sidecar: Sidecar) -> Iterator[list[int]]:
    """Call again and again, each time with a handshake, and on one connection that stays."""
    statuses: list[int] = []
    ended = threading.Event()

    def work() -> None:
        with mesh.connect(sidecar.ports["inbound"]) as kept:
            while not ended.is_set():
                statuses.append(kept.ask("GET", "/orders/1", mesh.bearer()).status)
                statuses.append(call(mesh, sidecar))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def rotate(mesh: Mesh, sidecar: Sidecar, agent: Agent) -> None:
    """Give another SVID, and wait until it is in use."""
    before = sidecar.metric("svidecar_svid_rotations_total")
    agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
    wait_until(lambda: sidecar.metric("svidecar_svid_rotations_total") == before + 1, "the rotation")


def test_the_life_of_an_identity(mesh: Mesh, tmp_path: Path) -> None:
    """The start before the agent, rotation under load, an agent that ends and comes back, the end of the entry."""
    socket = tmp_path / "api.sock"
    sidecar = launch(mesh, socket)
    wait_until(lambda: "there is no socket" in sidecar.get("health", "/healthz/ready")[1], "why it is not ready")
    assert sidecar.get("health", "/healthz/ready")[0] == 503
    agent = Agent()
    with agent.listening(socket):
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        sidecar.wait_until_ready()
        assert sidecar.metric("svidecar_workload_api_stream_open", stream="x509") == 1
        with calling(mesh, sidecar) as statuses:
            for _ in range(10):
                rotate(mesh, sidecar, agent)
            wait_until(lambda: len(statuses) > 20, "calls during the rotations")
        assert set(statuses) == {200}
    wait_until(lambda: not sidecar.metric("svidecar_workload_api_stream_open", stream="x509"), "the lost agent")
    assert sidecar.metric("svidecar_workload_api_errors_total", stream="x509") >= 1
    sidecar.wait_until_ready()
    assert call(mesh, sidecar) == 200
    with agent.listening(socket):
        wait_until(
            lambda: sidecar.metric("svidecar_workload_api_reconnects_total") == 1, "the agent is back", timeout_s=15
        )
        with mesh.connect(sidecar.ports["inbound"]) as kept:
            assert kept.ask("GET", "/orders/1", mesh.bearer()).status == 200
            agent.refuse(grpc.StatusCode.PERMISSION_DENIED)
            assert kept.ends()
        wait_until(lambda: not sidecar.ready, "not ready without an identity")
        assert "the agent has no identity for this process" in sidecar.get("health", "/healthz/ready")[1]
        with pytest.raises((OSError, EOFError)):
            call(mesh, sidecar)
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        sidecar.wait_until_ready()
        assert call(mesh, sidecar) == 200
    assert "PRIVATE KEY" not in sidecar.log


def test_federation_comes_and_goes_with_the_agents_messages(mesh: Mesh, tmp_path: Path) -> None:
    """A foreign domain's peer is admitted with its bundle, cut and refused without, and never by our own domain's."""
    with Agent.start(tmp_path / "api.sock") as agent:
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca, {"spiffe://other.org": der(OTHER.certificate)}))
        sidecar = launch(mesh, tmp_path / "api.sock").wait_until_ready()
        assert sidecar.metric("svidecar_bundle_not_after_seconds", trust_domain="other.org")
        forged = OTHER.svid("spiffe://example.org/edge")
        with mesh.connect(sidecar.ports["inbound"], svid=forged) as wire:
            assert wire.ends()
        sidecar.wait_for_decision(reason="untrusted_chain")
        kept = [mesh.connect(sidecar.ports["inbound"], svid=OTHER.svid("spiffe://other.org/edge")) for _ in range(2)]
        for wire in kept:
            assert wire.ask("GET", "/orders/1", mesh.bearer()).status == 200
        ours = mesh.connect(sidecar.ports["inbound"])
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        wait_until(lambda: sidecar.metric("svidecar_svid_rotations_total") == 1, "the next state")
        assert all(wire.ends() for wire in kept)
        sidecar.wait_for_decision(2, reason="unknown_trust_domain")
        assert ours.ask("GET", "/orders/1", mesh.bearer()).status == 200
        assert call(mesh, sidecar) == 200


def test_an_agent_that_may_not_be_asked_again(mesh: Mesh, tmp_path: Path) -> None:
    """It is told everywhere, what we hold serves on, and SIGHUP or an agent started in its place ends it."""
    agent = Agent()
    with agent.listening(tmp_path / "api.sock"):
        agent.refuse(grpc.StatusCode.INVALID_ARGUMENT)
        sidecar = launch(mesh, tmp_path / "api.sock")
        wait_until(lambda: "it is not asked again" in sidecar.get("health", "/healthz/ready")[1], "why it is not ready")
        assert sidecar.get("health", "/healthz/ready")[0] == 503
        assert sidecar.metric("svidecar_workload_api_errors_total", stream="x509", kind="invalid_argument") == 1
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        sidecar.process.send_signal(signal.SIGHUP)
        sidecar.wait_until_ready()
        agent.refuse(grpc.StatusCode.UNIMPLEMENTED)
        name = "svidecar_workload_api_last_error_seconds"
        wait_until(lambda: sidecar.metric(name, stream="x509", kind="unimplemented"), "the failure")
        assert sidecar.metric("svidecar_workload_api_stream_open", stream="x509") == 0
        assert call(mesh, sidecar) == 200
        held = json.loads(sidecar.get("admin", "/identity")[1])
        assert [one["spiffe_id"] for one in held["identities"]] == [ORDERS]
        assert "send SIGHUP to svidecar" in held["trouble"]
        assert agent.opened == 2
    with Agent.start(tmp_path / "api.sock") as other:
        other.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        wait_until(lambda: sidecar.metric("svidecar_svid_rotations_total") == 1, "the other agent's", timeout_s=15)
        assert json.loads(sidecar.get("admin", "/identity")[1])["trouble"] == ""


def test_its_memory_at_rest(mesh: Mesh, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """With the Workload API on: under 60 MB when it is ready, and after rotations with five federated domains as well."""
    federated = {f"spiffe://partner{n}.org": der(Authority.make(f"partner{n}.org").certificate) for n in range(5)}
    with Agent.start(tmp_path / "api.sock") as agent:
        agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca))
        sidecar = launch(mesh, tmp_path / "api.sock").wait_until_ready()
        ready = sidecar.metric("process_resident_memory_bytes") / 1e6
        for number in range(20):
            agent.give(x509_response(mesh.ca.svid(ORDERS), mesh.ca, federated))
            wait_until(lambda n=number: sidecar.metric("svidecar_svid_rotations_total") == n + 1, "the rotation")  # type: ignore[misc]
        assert sidecar.metric("svidecar_tls_context_generations") == 1
        rotated = sidecar.metric("process_resident_memory_bytes") / 1e6
    record_property("resident_mb", {"ready": ready, "after 20 rotations": rotated})
    print(f"resident: {ready:.1f} MB when ready, {rotated:.1f} MB after 20 rotations")  # noqa: T201 - a figure, for pytest -s
    assert max(ready, rotated) < 60

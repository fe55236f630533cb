"""The client on real wires: gRPC's own server, servers that speak badly, and nobody at all, on every loop."""

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from spiffe._proto import workload_pb2
from support.agent import Agent, x509_response
from support.pki import Authority

from proxy.net.transport import EventLoop, new_loop
from proxy.workload_api import client as module
from proxy.workload_api.client import WorkloadApiClient
from proxy.workload_api.endpoint import Endpoint, parse_endpoint
from proxy.workload_api.failure import CallFailed, Failure
from proxy.workload_api.messages import MAX_MESSAGE_BYTES, X509SVIDResponse

CA = Authority.make("example.org")
SVID = CA.svid("spiffe://example.org/orders")


class Enough(BaseException):
    """Ends a stream from within; no failure of the call."""


@contextlib.contextmanager
def client_of(endpoint: str) -> Iterator[WorkloadApiClient]:
    """A client that is closed at the end."""
    client = WorkloadApiClient(parse_endpoint(endpoint))
    try:
        yield client
    finally:
        client.close()


async def follow(endpoint: str, on_message: Callable[[X509SVIDResponse], None], patience: float = 10) -> CallFailed:
    """Follow the identities; give what ended it."""
    with client_of(endpoint) as client, pytest.raises(CallFailed) as failed:
        await client.x509_svids(on_message, lambda: patience)
    return failed.value


def run(kind: EventLoop, main: Coroutine[Any, Any, None]) -> None:
    """Run on one kind of loop."""
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main)


@pytest.mark.parametrize("kind", EventLoop)
@pytest.mark.parametrize("socket", ["s", ""], ids=["unix", "tcp"])
def test_the_stream_brings_every_state(kind: EventLoop, socket: str, tmp_path: Path) -> None:
    """The first message at once, the next when something changes, with the header that the standard demands."""
    with Agent.start(tmp_path / socket if socket else None) as agent:
        agent.give(x509_response(SVID, CA))
        seen: list[X509SVIDResponse] = []

        def on_message(message: X509SVIDResponse) -> None:
            seen.append(message)
            if len(seen) == 1:
                agent.give(x509_response(SVID, CA, {"spiffe://other.org": b"other"}))
            else:
                agent.refuse(grpc.StatusCode.PERMISSION_DENIED)

        async def main() -> None:
            failure = await follow(agent.endpoint, on_message)
            assert failure.kind is Failure.PERMISSION_DENIED
            assert f"unix:uid:{os.getuid()}" in failure.detail

        run(kind, main())
        assert [one.svids[0].spiffe_id for one in seen] == ["spiffe://example.org/orders"] * 2
        assert seen[0].svids[0].x509_svid_key == SVID.key_der
        assert [dict(one.federated_bundles) for one in seen] == [{}, {"spiffe://other.org": b"other"}]
        assert agent.metadata == [("workload.spiffe.io", "true")]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, Failure.PERMISSION_DENIED),
        (grpc.StatusCode.UNAVAILABLE, Failure.UNAVAILABLE),
        (grpc.StatusCode.INVALID_ARGUMENT, Failure.INVALID_ARGUMENT),
        (grpc.StatusCode.UNIMPLEMENTED, Failure.UNIMPLEMENTED),
        (grpc.StatusCode.INTERNAL, Failure.OTHER),
    ],
)
async def test_each_status_has_its_kind(code: grpc.StatusCode, kind: Failure, tmp_path: Path) -> None:
    """Of the stream and of the call; and what the agent said about it is not repeated."""
    with Agent.start(tmp_path / "s") as agent:
        agent.refuse(code)
        failure = await follow(agent.endpoint, lambda _: None)
        assert failure.kind is kind
        assert "no identity issued" not in failure.detail
        with client_of(agent.endpoint) as client, pytest.raises(CallFailed) as failed:
            await client.jwt_svids("aud", "")
        assert failed.value.kind is kind


async def test_a_service_without_the_api() -> None:
    """gRPC, but another service: most likely the wrong socket."""
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        failure = await follow(f"tcp://127.0.0.1:{port}", lambda _: None)
    finally:
        server.stop(None).wait()
    assert failure.kind is Failure.UNIMPLEMENTED
    assert "is it the agent's public socket?" in failure.detail


async def test_nobody_is_there(tmp_path: Path) -> None:
    """What a person should do depends on what is missing."""
    failure = await follow(f"unix://{tmp_path}/none", lambda _: None)
    assert failure.kind is Failure.UNREACHABLE
    assert "start the agent, mount its folder, or correct the address" in failure.detail
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    assert "the agent is not running" in (await follow(f"unix://{tmp_path}/dead", lambda _: None)).detail
    assert "the agent is not running" in (await follow("tcp://127.0.0.1:1", lambda _: None)).detail
    assert "is no socket: correct the address" in (await follow(f"unix://{tmp_path}", lambda _: None)).detail


async def test_the_agent_ends_while_we_follow(tmp_path: Path) -> None:
    """A lost connection is told as such; the same client comes back when the agent does."""
    agent = Agent()
    agent.give(x509_response(SVID, CA))
    with contextlib.ExitStack() as stack:
        stack.enter_context(agent.listening(tmp_path / "s"))
        with client_of(agent.endpoint) as client:
            with pytest.raises(CallFailed) as failed:
                await client.x509_svids(lambda _: stack.close(), lambda: 10)
            assert failed.value.kind in {Failure.UNREACHABLE, Failure.UNAVAILABLE}
            with agent.listening(tmp_path / "s"), pytest.raises(Enough):
                await client.x509_svids(stop, lambda: 10)


def stop(_message: object) -> None:
    """One is enough."""
    raise Enough


def into(seen: list[Any]) -> Callable[[object], None]:
    """Keep one, and end."""

    def keep(message: object) -> None:
        seen.append(message)
        raise Enough

    return keep


async def test_patience_ends_a_silent_stream(tmp_path: Path) -> None:
    """A stream that hangs is left when it is time."""
    with Agent.start(tmp_path / "s") as agent:
        agent.give(x509_response(SVID, CA))
        failure = await follow(agent.endpoint, lambda _: None, patience=0.1)
    assert failure.kind is Failure.UNAVAILABLE
    assert "nothing new, though it was time" in failure.detail


async def test_an_agent_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first message is wanted without delay."""
    monkeypatch.setattr(module, "FIRST_MESSAGE_S", 0.2)
    with Agent.start(tmp_path / "s") as agent:
        agent.give(None)
        failure = await follow(agent.endpoint, lambda _: None)
    assert (failure.kind, failure.detail) == (Failure.UNAVAILABLE, "the agent does not answer in time")


async def test_jwt_svids(tmp_path: Path) -> None:
    """The audience and the ID go out, the tokens come back; JWT bundles come by their stream."""
    with Agent.start(tmp_path / "s") as agent:
        token = workload_pb2.JWTSVID(spiffe_id="spiffe://example.org/orders", svid="a.b.c")
        agent.jwt_svid = lambda _request: workload_pb2.JWTSVIDResponse(svids=[token])
        agent.give(None, workload_pb2.JWTBundlesResponse(bundles={"spiffe://example.org": b"{}"}))
        with client_of(agent.endpoint) as client:
            answer = await client.jwt_svids("https://as.example.org", "spiffe://example.org/orders")
            assert answer.svids[0].svid == "a.b.c"
            assert list(agent.asked[0].audience) == ["https://as.example.org"]
            assert agent.asked[0].spiffe_id == "spiffe://example.org/orders"
            seen: list[Any] = []
            with pytest.raises(Enough):
                await client.jwt_bundles(into(seen))
            assert seen[0].bundles == {"spiffe://example.org": b"{}"}


class BadServer(asyncio.Protocol):
    """Real HTTP/2 by h2, and then whatever ``script`` writes on the first stream."""

    def __init__(self, script: Callable[[h2.connection.H2Connection, int], None]) -> None:
        self.script = script
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write our preface."""
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Answer a request that is whole."""
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                self.script(self.h2, event.stream_id)
        self.flush()

    def flush(self) -> None:
        """Write what h2 has."""
        self.transport.write(self.h2.data_to_send())  # type: ignore[attr-defined]


HEAD = [(":status", "200"), ("content-type", "application/grpc")]


def answering(head: list[tuple[str, str]], data: bytes, *, ends: bool = False) -> Callable[..., None]:
    """A script: a head, some bytes, and maybe the end."""

    def script(connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, head)
        for start in range(0, len(data), 16384):
            connection.send_data(stream, data[start : start + 16384])
        if ends:
            connection.end_stream(stream)

    return script


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answering(HEAD, b"\0" + struct.pack(">I", MAX_MESSAGE_BYTES + 1)), f"larger than {MAX_MESSAGE_BYTES} bytes"),
        (answering(HEAD, b"\0" + struct.pack(">I", 2) + b"\x0a\x09"), "a field is cut off"),
        (answering(HEAD, b"\1" + struct.pack(">I", 2) + b"\x0a\x00"), "does not speak gRPC as we know it"),
        (answering(HEAD, b"\0\0\0", ends=True), "does not speak gRPC as we know it"),
        (answering([(":status", "200"), ("content-type", "text/html")], b"<p>"), "the gRPC status UNKNOWN"),
        (answering([(":status", "503"), ("content-type", "text/html")], b"<p>"), "cannot serve now"),
        (answering([*HEAD, ("grpc-status", "x")], b""), "the gRPC status UNKNOWN"),
    ],
)
async def test_bad_answers_are_failures(script: Callable[..., None], words: str, tmp_path: Path) -> None:
    """Each is told, none of them hangs or comes out as another exception."""
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: BadServer(script), str(tmp_path / "s"))
    try:
        failure = await asyncio.wait_for(follow(f"unix://{tmp_path}/s", lambda _: None), 10)
    finally:
        server.close()
    assert words in failure.detail


async def test_a_message_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """n, where n+1 is refused above; it comes through windows that are smaller."""
    body = b"\x12" + b"\xfb\xff\xff\x01" + bytes(MAX_MESSAGE_BYTES - 5)
    with Agent.start(tmp_path / "s") as agent:
        agent.give(workload_pb2.X509SVIDResponse.FromString(body))
        seen: list[X509SVIDResponse] = []
        with client_of(agent.endpoint) as client, pytest.raises(Enough):
            await client.x509_svids(into(seen), lambda: 10)
        assert len(seen[0].crl[0]) == MAX_MESSAGE_BYTES - 5


async def test_cancelling_ends_it(tmp_path: Path) -> None:
    """The owner's end is not told as a failure of the agent."""
    with Agent.start(tmp_path / "s") as agent, client_of(agent.endpoint) as client:
        agent.give(x509_response(SVID, CA))
        came = asyncio.Event()
        call = asyncio.get_running_loop().create_task(client.x509_svids(lambda _: came.set(), lambda: 10))
        await came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_tcp_is_shown_with_its_address() -> None:
    """In what a person reads."""
    assert str(Endpoint(host="::1", port=1)) == "tcp://[::1]:1"

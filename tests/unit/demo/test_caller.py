"""The caller of the demo sends exactly what it is told, and tells an answer from an end and from silence."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from support.mesh import Mesh

from proxy.demo import caller
from proxy.demo.caller import Answer, ask, peer_context, request

Serve = Callable[[bytes], "asyncio.Future[int]"]

PROBLEM = b"""{"status": 401, "reason": "token_missing"}"""


@pytest.fixture
async def server() -> AsyncIterator[tuple[Callable[[bytes | None], None], int, list[bytes]]]:
    """A server that answers every connection with the bytes given, and closes; None keeps it waiting."""
    answers: list[bytes | None] = [b""]
    seen: list[bytes] = []
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        if answers[0] is None:
            await released.wait()
        else:
            writer.write(answers[0])
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)

    def answer(raw: bytes | None) -> None:
        answers[0] = raw

    yield answer, listening.sockets[0].getsockname()[1], seen
    released.set()
    listening.close()
    await listening.wait_closed()


def test_a_request_is_what_it_was_told_to_be() -> None:
    """Also with a field twice, which no client library would send."""
    raw = request("POST", "/orders", "orders", [("Txn-Token", "a"), ("Txn-Token", "b")], b"{}")
    assert raw == (
        b"POST /orders HTTP/1.1\r\nHost: orders\r\nTxn-Token: a\r\nTxn-Token: b\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(status=200, body=b"ok")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Answer(status=200, body=b"")),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", Answer(status=200, body=b"to the end")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Answer(status=200, body=b"ok")),
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(PROBLEM), PROBLEM),
            Answer(status=401, body=PROBLEM, reason="token_missing"),
        ),
        (b"", None),
        (b"\x15\x03\x03\x00\x02\x02\x28", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", None),
    ],
    ids=["counted", "empty", "until close", "chunked", "problem", "end", "an alert of TLS", "cut"],
)
async def test_what_comes_back_is_told(
    server: tuple[Callable[[bytes | None], None], int, list[bytes]], raw: bytes, expected: Answer | None
) -> None:
    """A whole answer, or None: half an answer is none."""
    answer, port, seen = server
    answer(raw)
    assert await ask(port, request("GET", "/", "a")) == expected
    assert seen == [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]


async def test_silence_is_neither(
    server: tuple[Callable[[bytes | None], None], int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by an exception, for who waits for ever was not refused."""
    answer, port, _ = server
    answer(None)
    monkeypatch.setattr(caller, "ANSWER_S", 0.1)
    with pytest.raises(TimeoutError):
        await ask(port, request("GET", "/", "a"))


async def test_a_port_of_nobody_gives_no_answer() -> None:
    """The log of the sidecar, which is not there, will say that it was not refused."""
    listening = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    assert await ask(port, request("GET", "/", "a")) is None


async def test_a_peer_shows_its_svid(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And believes who has one of the same bundle."""
    folder = tmp_path_factory.mktemp("caller")
    mesh = Mesh(folder)
    edge = mesh.svid("edge")
    server = mesh.context("orders")
    assert server.cert_store_stats()["x509_ca"] == 1
    context = peer_context(edge, edge / "svid_bundle.pem")
    assert context.cert_store_stats()["x509_ca"] == 1
    assert not context.check_hostname
    mesh.close()

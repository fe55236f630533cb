"""The client against a server of real sockets that stalls, ends, garbles and refuses when it is told to."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.ports import refused_port
from support.sidecar import SOON_S

from loadtest.openloop.account import Report
from loadtest.openloop.client import CannotConnect, Client
from loadtest.openloop.request import Target, requests
from loadtest.openloop.schedule import Schedule

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STALL_S = 0.4


class Server:
    """``answer(n)`` gives the bytes for the nth request; None ends the connection without any."""

    def __init__(self, listener: socket.socket, answer: Callable[[int], bytes | None]) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener, self._answer, self._numbers = listener, answer, itertools.count()
        self.connections = 0
        self.heads: list[bytes] = []
        self._open: list[socket.socket] = []
        self.thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                self._open.append(sock)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,)).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while head := sock.recv(65536):
                self.heads.append(head)
                answer = self._answer(next(self._numbers))
                if answer is None:
                    return
                sock.sendall(answer)
                if b"close" in answer:
                    return

    def end(self) -> None:
        """Wake every thread."""
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def serving(answer: Callable[[int], bytes | None]) -> Iterator[Server]:
    """A server for the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener, answer)
        server.thread.start()
        try:
            yield server
        finally:
            server.end()
            server.thread.join()


def run(
    server: Server, *, rate: float = 200, seconds: float = 0.5, connections: int = 2, timeout_s: float = 5
) -> Report:
    """A short run."""
    target = Target.parse(f"http://127.0.0.1:{server.port}/")
    with Client(target, connections, timeout_s=timeout_s) as client:
        return client.run(Schedule(rate=rate, seconds=seconds), requests(target, []))


def balanced(report: Report) -> bool:
    """Whether every request that was due is accounted for."""
    return bool(report.completed + sum(report.errors.values()) == report.figures["requested"])


def test_a_stall_is_everybodys_delay() -> None:
    """One answer takes 400 ms: a closed loop would see one slow request; here all that were due meanwhile are slow."""

    def stall_once(number: int) -> bytes:
        if number == 20:
            time.sleep(STALL_S)
        return GOOD

    with serving(stall_once) as server:
        report = run(server, rate=100, seconds=1, connections=1)
    figures = report.figures
    assert report.errors == {}
    assert figures["requested"] == figures["completed"] == figures["sent"] == 100
    assert figures["percentiles_ms"]["max"] >= STALL_S * 1e3
    # 40 requests were due in the stall, the last of them a moment before its end: their delays go from 400 ms down to 0
    assert figures["percentiles_ms"]["p75"] > STALL_S * 1e3 * 0.3
    assert figures["service_percentiles_ms"]["p90"] < STALL_S * 1e3 * 0.5
    assert figures["waited_for_a_connection"] >= 35
    assert figures["lag_ms"]["p90"] < STALL_S * 1e3 * 0.3, "the server's delay is none of ours"


def test_the_rate_is_kept() -> None:
    """As many as were asked for, in the time that was asked for, over all connections."""
    with serving(lambda _: GOOD) as server:
        report = run(server, rate=400, seconds=0.5, connections=4)
    assert report.errors == {}
    assert report.figures["sent"] == 200
    assert 0.5 <= report.figures["seconds"] < SOON_S
    assert server.connections == 4
    assert len(server.heads) == 200


def test_a_client_that_is_late_says_so() -> None:
    """Its own delay is in the latencies, in its lag, and in the verdict."""
    with serving(lambda _: GOOD) as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}/")
        plain = requests(target, [])

        def slow() -> Iterator[bytes]:
            for number, request in enumerate(plain):
                if number == 5:
                    time.sleep(0.1)
                yield request

        with Client(target, 2) as client:
            report = client.run(Schedule(rate=200, seconds=0.5), slow())
    assert "the client was late" in report.bad
    assert report.figures["lag_ms"]["max"] > 50
    assert report.figures["percentiles_ms"]["max"] > 50


def test_warm_up_does_not_count() -> None:
    """Neither its requests nor their delays."""

    def slow_start(number: int) -> bytes:
        if number == 0:
            time.sleep(STALL_S)
        return GOOD

    with serving(slow_start) as server:
        target = Target.parse(f"http://127.0.0.1:{server.port}/")
        with Client(target, 2) as client:
            report = client.run(Schedule(rate=100, seconds=0.5, warmup=1), requests(target, []))
    assert report.figures["requested"] == report.completed == 50
    assert len(server.heads) == 150
    assert report.figures["percentiles_ms"]["max"] < STALL_S * 1e3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort", "closed"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "malformed"),
    ],
)
def test_errors_by_kind(answer: bytes | None, kind: str) -> None:
    """One request of many fails: it is counted by its kind, and the run goes on over a new connection."""
    with serving(lambda number: answer if number == 7 else GOOD) as server:
        report = run(server)
    assert report.errors == {kind: 1}
    assert balanced(report)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_answers_of_every_framing(answer: bytes) -> None:
    """Whole is whole, however its end is told."""
    with serving(lambda _: answer) as server:
        report = run(server, rate=100, seconds=0.3)
    assert report.errors == {}
    assert report.completed == 30


def test_silence_is_a_timeout() -> None:
    """It is counted, its connection is given up, and the run is bad: the worst are not in its percentiles."""
    held = threading.Event()

    def silent(number: int) -> bytes | None:
        return GOOD if number != 3 or held.wait(2) else None

    with serving(silent) as server:
        report = run(server, timeout_s=0.3)
        held.set()
    assert report.errors == {"timeout": 1}
    assert balanced(report)
    assert "no answer" in report.bad


def test_a_server_that_goes_away_fails_each_request() -> None:
    """Refused connections are errors of the requests that needed them; the run ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Target.parse(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        with Client(target, 2) as client:
            for _ in range(2):
                listener.accept()[0].close()
            listener.close()
            report = client.run(Schedule(rate=200, seconds=0.3), requests(target, []))
    assert report.completed == 0
    assert report.errors["connect"] >= 50
    assert balanced(report)


def test_nobody_there() -> None:
    """Told before anything is measured."""
    with refused_port() as port:
        target = Target.parse(f"http://127.0.0.1:{port}/")
        with pytest.raises(CannotConnect, match="2 of 2 connections"), Client(target, 2):
            pass

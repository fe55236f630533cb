"""The callers that break off, against a TLS server of real sockets."""

import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ports import refused_port

from loadtest import material
from loadtest.scenarios.short_connections import Caller

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok."


class Door:
    """Takes mTLS connections; counts what it saw."""

    def __init__(self, context: ssl.SSLContext, listener: socket.socket) -> None:
        self.seen: Counter[str] = Counter()
        self._context, self._listener = context, listener
        self.port: int = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Take no more, and be done with those that came."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, raw: socket.socket) -> None:
        seen = "reset"
        with raw, contextlib.suppress(OSError):
            try:
                with self._context.wrap_socket(raw, server_side=True) as secured:
                    seen = "request" if secured.recv(65536) else "silent"
                    secured.sendall(ANSWER)
            except ssl.SSLError:
                seen = "refused" if seen == "reset" else seen
        self.seen[seen] += 1


@pytest.fixture
def trust(tmp_path: Path) -> material.Material:
    """A trust domain."""
    return material.make(tmp_path)


@pytest.fixture
def door(trust: material.Material) -> Iterator[Door]:
    """One that demands a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust.orders.certificate, trust.orders.key)
    context.load_verify_locations(trust.bundle)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # as ours: unread ones would make a reset of the end of a caller who says nothing
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = Door(context, listener)
        yield door
        door.end()


def test_each_way_is_what_it_says(door: Door, trust: material.Material) -> None:
    """In a turn of forty: what the server saw is what the callers claim."""
    caller = Caller(door.port, trust)
    ways = Counter(caller.call(number) for number in range(40))
    assert ways == caller.expected(40)
    assert ways["answered"] == 36
    door.end()
    assert sum(door.seen.values()) == 40
    assert door.seen["request"] == 37, "36 that were answered, and one that asked for more and left"
    assert door.seen["silent"] == 1
    assert door.seen["refused"] + door.seen["reset"] == 2, "no certificate, and a ClientHello that stops"


def test_nobody_there_is_a_failure(trust: material.Material) -> None:
    """It is never taken for a refusal."""
    with refused_port() as port:
        caller = Caller(port, trust)
        assert caller.call(0).startswith("failed")
        assert caller.call(37).startswith("failed")

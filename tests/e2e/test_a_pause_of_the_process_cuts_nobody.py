"""A sidecar that was stopped (a frozen container, a machine that moves) reads what came meanwhile before it looks who is late."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.apps import read_head
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar

TIMEOUTS = "timeouts: {head: 1s, idle: 1s, body: 1s, first_byte: 1s}\n"
PAUSE_S = 1.6
"""Longer than each of them."""


@pytest.fixture(scope="module")
def answers() -> Iterator[threading.Event]:
    """Set when the app is to answer."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, answers: threading.Event) -> Sidecar:
    """Of little patience."""

    def script(connection: socket.socket) -> None:
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            if b"POST" in head:
                left = 4
                while left:
                    left -= len(connection.recv(left))
            if b"/late" in head:
                answers.wait(20)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return mesh.start("orders", INBOUND.format(app=mesh.raw_app(script).port) + TIMEOUTS)


@contextlib.contextmanager
def stopped(sidecar: Sidecar) -> Iterator[None]:
    """The process is frozen while the block runs, and for longer than any of its times."""
    sidecar.signal(signal.SIGSTOP)
    try:
        yield
        time.sleep(PAUSE_S)
    finally:
        sidecar.signal(signal.SIGCONT)


def _head(mesh: Mesh, first: str, more: str = "") -> bytes:
    token = mesh.bearer()["Txn-Token"]
    return f"{first} HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n{more}\r\n".encode()


def test_a_request_on_an_idle_connection(mesh: Mesh, orders: Sidecar) -> None:
    """It was idle for too long only as seen from a process that did not look."""
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/a", mesh.bearer()).status == 200
    with stopped(orders):
        wire.send(_head(mesh, "GET /any/a"))
    assert wire.reply().status == 200


@pytest.mark.parametrize("at", [10, -3], ids=["head", "body"])
def test_the_rest_of_a_request(mesh: Mesh, orders: Sidecar, at: int) -> None:
    """The second half of a head, or of a body, was in time."""
    request = _head(mesh, "POST /any/a", "Content-Length: 4\r\n") + b"body"
    wire = mesh.connect(orders.ports["inbound"]).send(request[:at])
    time.sleep(0.3)  # until the first half has been read
    with stopped(orders):
        wire.send(request[at:])
    assert wire.reply().status == 200


def test_an_answer_of_the_app(mesh: Mesh, orders: Sidecar, answers: threading.Event) -> None:
    """It came in time, too."""
    wire = mesh.connect(orders.ports["inbound"]).send(_head(mesh, "GET /any/late"))
    time.sleep(0.3)
    with stopped(orders):
        answers.set()
    assert wire.reply().status == 200


def test_who_says_nothing_is_cut_all_the_same(mesh: Mesh, orders: Sidecar) -> None:
    """One look later."""
    wire = mesh.connect(orders.ports["inbound"]).send(b"GET /any/a HTT")
    time.sleep(0.3)
    with stopped(orders):
        pass
    answer = wire.reply()
    assert (answer.status, answer.reason) == (408, "head_timeout")

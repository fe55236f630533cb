"""A connection that is reset together with its last bytes ends then, and not with its deadline; on every event loop."""

import contextlib
import socket
import struct
import time

import pytest
from support.apps import read_head
from support.mesh import INBOUND, Mesh
from support.sidecar import wait_until
from support.wire import Truncated, request

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
PATIENCE_S = 4.0
"""Far below every timeout that could end it instead: a head has 10 s, an answer that stops 300 s."""


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _half_an_answer(connection: socket.socket) -> None:
    read_head(connection)
    connection.sendall(HALF)
    _reset(connection)


@pytest.mark.parametrize("loop", ["uvloop+aiofastnet", "uvloop", "asyncio"])
def test_by_whom_we_call_and_by_who_calls_us(mesh: Mesh, loop: str) -> None:
    """An app that dies in its answer: its caller knows at once. Callers that die in their head: nothing of them stays."""
    name = f"orders-{len(loop)}"
    orders = mesh.start(name, INBOUND.format(app=mesh.raw_app(_half_an_answer).port), event_loop=loop)
    began = time.monotonic()
    for _ in range(5):
        wire = mesh.connect(orders.ports["inbound"])
        with pytest.raises((Truncated, OSError)):
            wire.ask("GET", "/any/1", mesh.bearer())
    orders.wait_for_decision(5, decision="error", direction="inbound")
    assert time.monotonic() - began < PATIENCE_S
    before = orders.descriptors
    for port in orders.ports.values():
        for data in (
            request("GET", "/x")[:-2],
            b"\x16\x03\x01",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
        ):
            sock = socket.create_connection(("127.0.0.1", port))
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
            _reset(sock)
    wait_until(lambda: orders.descriptors <= before, "they are gone", PATIENCE_S)

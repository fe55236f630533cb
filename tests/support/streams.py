"""Answers that go on until somebody ends them, and how long they lived."""

import signal
import socket
import ssl
import time

import pytest

from support.apps import read_head
from support.mesh import Mesh
from support.sidecar import Sidecar, wait_until
from support.wire import Truncated, Wire


def streaming_app(connection: socket.socket) -> None:
    """An answer that never ends to /any/stream, one that never begins to /any/silent, a short one to all else."""
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        if b"/any/silent" in head:
            time.sleep(15)
        if b"/any/stream" not in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            continue
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\nx\r\n")
            time.sleep(0.05)


def begin(mesh: Mesh, wire: Wire, path: str, host: str = "orders") -> Wire:
    """Send a request with a token, and read nothing yet."""
    token = mesh.bearer()["Txn-Token"]
    return wire.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nTxn-Token: {token}\r\n\r\n".encode())


def stream(mesh: Mesh, wire: Wire, host: str = "orders") -> Wire:
    """Have an answer that goes on."""
    assert begin(mesh, wire, "/any/stream", host).head().status == 200
    return wire


def lives_s(wire: Wire) -> float:
    """Read a stream to its end, which comes by force; give the seconds that it took. It fails where it goes on."""
    began = time.monotonic()
    with pytest.raises((Truncated, ConnectionError, ssl.SSLError)):
        while time.monotonic() - began < 20:
            wire.take(1)
    return time.monotonic() - began


def reload(mesh: Mesh, sidecar: Sidecar, name: str, yaml: str) -> None:
    """Give a running sidecar another YAML, and wait until it has taken it."""
    before = sidecar.log.count("reload: ")
    mesh.config(name, yaml)
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: sidecar.log.count("reload: ") > before, "the reload")

"""Ports that a test can count on: one that nobody else is given, and one where nobody ever listens."""

import contextlib
import socket
from collections.abc import Iterator

from loadtest.processes import free_ports


def free_port() -> int:
    """A port for a server that cannot take port 0 and tell, or that comes back to where it was."""
    (port,) = free_ports(1)
    return port


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses connections until the block ends: it is bound, so nobody else gets it, and nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])

"""Ending a connection at once, also from within its own ``data_received``."""

import asyncio
import socket
import struct

_RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` of no time: what is not sent is dropped, and the other side is told."""


def cut(transport: asyncio.Transport) -> None:
    """End it now, and drop what is buffered.

    aiofastnet goes on reading a socket that was aborted in ``data_received``, until its buffer is full and it logs a
    fault of its own. A paused one it leaves alone.
    """
    if not transport.is_closing():
        transport.pause_reading()
    transport.abort()


def reset(transport: asyncio.Transport) -> None:
    """End it now, with a reset: the other side cannot take this for the end of what was sent."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    cut(transport)

"""Ending a connection at once, also from within its own ``data_received``."""

import asyncio


def cut(transport: asyncio.Transport) -> None:
    """End it now, and drop what is buffered.

    aiofastnet goes on reading a socket that was aborted in ``data_received``, until its buffer is full and it logs a
    fault of its own. A paused one it leaves alone.
    """
    if not transport.is_closing():
        transport.pause_reading()
    transport.abort()

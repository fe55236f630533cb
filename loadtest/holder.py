"""``python -m loadtest.holder PORT``: an app whose answers to ``/orders/held`` never end; others are small."""

import asyncio
import sys
from typing import Final, cast

import uvloop

from loadtest.backend import SMALL_BYTES

HELD: Final = "/orders/held"

_BEGUN: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"
_WHOLE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (SMALL_BYTES, b"." * SMALL_BYTES)


class Holder(asyncio.Protocol):
    """One connection, whose requests have no bodies and come one after the other."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour, not by class

    def data_received(self, data: bytes) -> None:
        """Answer each whole head."""
        *heads, self._head = (self._head + data).split(b"\r\n\r\n")
        for head in heads:
            self._transport.write(_BEGUN if head.split(b" ", 2)[1] == HELD.encode() else _WHOLE)


async def serve(port: int) -> None:
    """For ever."""
    server = await asyncio.get_running_loop().create_server(Holder, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""``python -m loadtest.sink PORT``: reads a body to its end, throws it away, answers how many bytes it was.

nginx alone would answer before it has read the body, and each proxy treats an early answer in its own way. The bytes go
into one buffer that is never looked at; a path with ``stalled`` in it is read only after STALL_S, to show what the
proxies hold meanwhile.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

BUFFER_BYTES = 1 << 18
STALL_S = 2.0
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,12})\r\n", re.IGNORECASE)


class Sink(asyncio.BufferedProtocol):
    """One connection, one request after the other."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._head = b""
        self._length = 0
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour, not by class

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the signature is asyncio's
        """Always the same one."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count; a new head begins only where no body is left."""
        if self._left == 0:
            nbytes = self._begin(bytes(self._buffer[:nbytes]))
            if nbytes < 0:
                return
        self._left -= nbytes
        if self._left == 0:
            self._answer()

    def _begin(self, data: bytes) -> int:
        """Take in a part of a head. The number of body bytes behind it, or -1 while it is not whole."""
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return -1
        self._head = b""
        length = LENGTH.search(head + b"\r\n")
        if length is None:
            self._transport.write(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n")
            return -1
        self._length = self._left = int(length[1])
        if b"stalled" in head.split(b"\r\n", 1)[0]:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(STALL_S, self._transport.resume_reading)
        return len(body)

    def _answer(self) -> None:
        body = b"%d\n" % self._length
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int) -> None:
    """For ever."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""How much is read at once."""

import subprocess
import sys

READS = """
import asyncio, socket
from proxy.net.reads import READ_BYTES
from proxy.net.transport import EventLoop, Transports, new_loop

class Reader(asyncio.Protocol):
    sizes = []
    def data_received(self, data):
        self.sizes.append(len(data))

async def run():
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.setblocking(False)
    sent = theirs.send(bytes(4 * READ_BYTES))
    await Transports(asyncio.get_running_loop(), EventLoop.FAST).accepted(Reader, ours, None, 1)
    await asyncio.sleep(0.1)
    assert sum(Reader.sizes) == sent and max(Reader.sizes) == READ_BYTES, (sent, Reader.sizes)

with asyncio.Runner(loop_factory=lambda: new_loop(EventLoop.FAST)) as runner:
    runner.run(run())
"""


def test_a_read_is_smaller_than_a_block_that_glibc_maps() -> None:
    """Else each read of a small message would map memory, and unmap it: 40 us of the kernel's time a request."""
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr

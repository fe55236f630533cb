"""Large blocks of the C library."""

import subprocess
import sys

from proxy.net.memory import BLOCK_BYTES
from proxy.net.reads import READ_BYTES
from proxy.net.transport import OUTGOING_BYTES

MAPPED = """
from proxy.net.memory import BLOCK_BYTES, map_large_blocks

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

assert map_large_blocks()
for size in (BLOCK_BYTES * 4, BLOCK_BYTES * 3):  # the first one freed would raise glibc's own threshold above the second
    held = [bytearray(size) for _ in range(100)]
    between = [bytearray(1024) for _ in range(100)]
    full = resident()
    del held
    assert full - resident() > 90 * size, (full, resident())
"""


def test_a_large_block_goes_back_to_the_kernel_when_it_is_freed() -> None:
    """Whatever else was allocated behind it, and whatever was freed before."""
    done = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


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


def test_a_read_is_smaller_than_a_block_that_is_mapped() -> None:
    """Else each read of a small message would map memory, and unmap it: 40 us of the kernel's time a request."""
    assert READ_BYTES + 64 < BLOCK_BYTES <= OUTGOING_BYTES
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr

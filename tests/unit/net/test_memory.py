"""Large blocks of the C library."""

import subprocess
import sys

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

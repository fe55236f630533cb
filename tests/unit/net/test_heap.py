"""Memory goes back to the system when many connections have ended, and only then."""

import ctypes
import resource
from pathlib import Path

import pytest

from proxy.net.heap import ENDED, Heap, give_back

BLOCK_BYTES = 64 * 1024
"""Below what glibc maps on its own."""


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    ("seen", "times"),
    [
        ([0, 0], 0),
        ([ENDED - 1, 0], 0),
        ([ENDED, 0], 1),
        ([ENDED, 0, 0, 0], 1),
        ([ENDED + 5, 6, 5, 5], 1),
        ([50, ENDED, 60, 1, 0], 1),
        ([ENDED, 0, ENDED, 0], 2),
    ],
)
async def test_when(seen: list[int], times: int) -> None:
    """At so many less than at most since the last time; not at one fewer, and not again for the same ones."""
    trimmed: list[bool] = []
    heap = Heap(lambda: trimmed.append(True))
    for connections in seen:
        await heap.look(connections)
    assert len(trimmed) == times


async def test_a_crowd_between_two_looks() -> None:
    """Counted while it was there, it is found to be gone."""
    trimmed: list[bool] = []
    heap = Heap(lambda: trimmed.append(True))
    await heap.look(1)
    heap.count(ENDED + 1)
    heap.count(1)
    assert not trimmed
    await heap.look(1)
    await heap.look(1)
    assert trimmed == [True]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim")
def test_what_is_free_between_others_goes_back() -> None:
    """The kernel sees it: tens of megabytes."""
    blocks = [bytearray(b"x" * BLOCK_BYTES) for _ in range(1000)]
    kept = [bytes(1000) for _ in range(1000)]
    held = _resident_bytes()
    last = blocks.pop()  # at the end of the heap, so that it cannot shrink by itself
    blocks.clear()
    give_back()
    assert held - _resident_bytes() > 30_000_000
    assert len(last) == BLOCK_BYTES
    assert len(kept) == 1000

"""The memory that connections have used goes back to the system when many of them have ended.

A TLS connection has two buffers in the heap of the C library (``transport.py``), and glibc shrinks a heap only from its
end: after a thousand connections 37 MB stayed with the process for good. ``malloc_trim(3)`` gives back what is free
in between. Where there is none (musl), nothing is done.
"""

from collections.abc import Callable
from typing import Final

from proxy.net.aside import aside

ENDED: Final = 100
"""Connections less than there were: some 4 MB are free. For fewer it is not worth the walk through the heap."""


class Heap:
    """``count`` often, ``look`` now and then; ``trim`` gives memory back, in a thread."""

    __slots__ = ("_most", "_trim")

    def __init__(self, trim: Callable[[], None] | None = None) -> None:
        self._most = 0  # connections at once, since memory was given back
        self._trim = trim or give_back

    def count(self, connections: int) -> None:
        """Take how many there are now: a crowd that comes and goes between two looks leaves its memory as well."""
        self._most = max(self._most, connections)

    async def look(self, connections: int) -> None:
        """Give memory back if there are many connections less than there were."""
        self.count(connections)
        if self._most - connections >= ENDED:
            self._most = connections
            await aside(self._trim)


def give_back() -> None:
    """Give free memory of the C library's heap back to the system."""
    import ctypes  # noqa: PLC0415 - 0.4 MB, for a process that needs it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

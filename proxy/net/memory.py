"""How the C library keeps the buffers of connections.

A TLS connection has two of them (``transport.INCOMING_BYTES``, ``OUTGOING_BYTES``). Carved from the heap, they keep
every page that one long body has touched, and lie between other things when the connection has gone. Mapped on their
own, an idle connection holds the pages that it used, and the kernel gets all of them back when it ends. glibc decides
by size, but moves its threshold up with the first block that is freed; a threshold that was set stays.
"""

import ctypes

BLOCK_BYTES = 64 * 1024
"""Not above OUTGOING_BYTES. A block of its own costs two system calls, beside a handshake that costs a millisecond."""

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def map_large_blocks() -> bool:
    """Let blocks of ``BLOCK_BYTES`` be mapped on their own; False where the C library has no such knob (musl)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, BLOCK_BYTES))

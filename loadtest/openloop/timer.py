"""A wake-up at an instant: timerfd_create(2), which Python has only from 3.13 on.

epoll_wait(2) and the timers of event loops count milliseconds; at 1000 requests a second half of one would be added to
every latency.
"""

import ctypes
import os

CLOCK_MONOTONIC = 1
NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC have the values of these
ABSTIME = 1
SECOND_NS = 1_000_000_000

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Readable from the instant on; to be watched edge-triggered, so that nobody need read it."""

    __slots__ = ("_spec", "_where", "fd")

    def __init__(self) -> None:
        self.fd: int = _LIBC.timerfd_create(CLOCK_MONOTONIC, NONBLOCK_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._where = ctypes.byref(self._spec)

    def wake_at(self, instant_ns: int) -> None:
        """At ``instant_ns`` of ``time.monotonic_ns``; at once where that has passed. The last call counts."""
        self._spec.value_s, self._spec.value_ns = divmod(instant_ns, SECOND_NS)
        if _LIBC.timerfd_settime(self.fd, ABSTIME, self._where, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Let it go."""
        os.close(self.fd)

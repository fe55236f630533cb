"""The end of a connection whose last answer is written: it must arrive whole, and nobody may keep us waiting."""

import asyncio
from collections.abc import Callable

from proxy.flow.settings import Timeouts
from proxy.net.cut import cut
from proxy.net.deadlines import NEVER

LINGER_BYTES = 1024 * 1024
"""What is read and dropped after an early answer; then reading stops, and the connection ends with its time."""


class Farewell:
    """Two steps: reading on where the caller may still be sending, then closing, once the answer has left our buffer.

    A close with unread bytes is a reset, and might eat the answer (RFC 9112 section 9.6); so we read on for a while.
    To close earlier would cut a slow reader's answer in TLS, whose shutdown has seconds, and in plain TCP wait for ever
    for one that does not read at all. ``look`` gives the time to look again, on ``clock``.
    """

    __slots__ = ("_clock", "_cut_at", "_dropped_bytes", "_timeouts", "_transport")

    def __init__(self, transport: asyncio.Transport, clock: Callable[[], float], timeouts: Timeouts) -> None:
        self._transport = transport
        self._clock = clock
        self._timeouts = timeouts
        self._cut_at = NEVER
        self._dropped_bytes = 0

    def linger(self) -> float:
        """Begin with the first step."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        return self._clock() + self._timeouts.linger_s

    def look(self) -> float:
        """Close if the answer has left us; cut a caller that does not take it in time."""
        now = self._clock()
        if not self._transport.get_write_buffer_size():
            self._transport.close()
            return NEVER
        if now > self._cut_at:
            cut(self._transport)
            return NEVER
        if self._cut_at == NEVER:
            self._cut_at = now + self._timeouts.stream_idle_s
        return now

    def drop(self, data: bytes) -> None:
        """Take what still comes, for nothing."""
        self._dropped_bytes += len(data)
        if self._dropped_bytes > LINGER_BYTES and not self._transport.is_closing():
            self._transport.pause_reading()

    @property
    def is_sending(self) -> bool:
        """Whether part of the answer is still here."""
        return self._transport.get_write_buffer_size() > 0

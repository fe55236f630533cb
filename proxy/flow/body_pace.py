"""How slowly the body of a request may come: each piece in time, and all of them at a least rate.

A pause between two pieces is bounded by ``timeouts.body``. That alone lets a caller who sends one byte before each of
them hold a connection of the upstream for weeks.
"""

from typing import Protocol


class Body(Protocol):
    """A request whose body is coming."""

    request_bytes: int


class BodyPace:
    """The measure of one body. It begins anew whenever we ourselves have held the caller back. Seconds and bytes."""

    __slots__ = ("_before", "_body_s", "_rate", "_since", "body")

    def __init__(self, body: Body, now: float, body_s: float, rate: int) -> None:
        self.body = body
        self._before = body.request_bytes
        self._since = now
        self._body_s = body_s
        self._rate = rate

    def deadline(self, now: float) -> float:
        """Return when the next piece must have come. ``rate`` of 0 asks for no least rate."""
        next_piece = now + self._body_s
        if not self._rate:
            return next_piece
        return min(next_piece, self._since + self._body_s + (self.body.request_bytes - self._before) / self._rate)

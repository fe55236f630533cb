"""Bodies of a known length, and those that the end of the connection ends (RFC 9112 section 6).

Every body has the same ``take(buffer)``: it gives ``(event, consumed)`` from the front of a buffer that the caller
keeps. The event is data, the end, or None when more bytes are needed.
"""

from proxy.http1.message import END, EndOfMessage


class Body:
    """What is to come after a head."""

    __slots__ = ()

    @property
    def is_whole(self) -> bool:
        """Whether its end may be given without another byte."""
        return False

    def take(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        """Decode the next event from the front of ``buffer``."""
        raise NotImplementedError  # pragma: no cover - every kind of body has it


class CountedBody(Body):
    """A body of ``length`` bytes; 0 is its end at once."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    @property
    def is_whole(self) -> bool:
        """Whether its end may be given without another byte."""
        return self.remaining == 0

    def take(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        """Decode the next event from the front of ``buffer``."""
        remaining = self.remaining
        if remaining == 0:
            return END, 0
        size = len(buffer)
        if size > remaining:
            self.remaining = 0
            return buffer[:remaining], remaining
        self.remaining = remaining - size
        return buffer or None, size


class BodyUntilClose(Body):
    """A body that ends with the connection: ``take`` never gives its end."""

    __slots__ = ()

    def take(self, buffer: bytes) -> tuple[bytes | EndOfMessage | None, int]:
        """Decode the next event from the front of ``buffer``."""
        return buffer or None, len(buffer)

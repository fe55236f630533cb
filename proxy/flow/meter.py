"""How many bytes of bodies one connection may carry, over all its requests and both ways together, and how many it has.

Where the rules of a peer set no such limit there is no meter, and nobody counts.
"""

from typing import Final

from proxy.errors import BytesSpent
from proxy.http1.message import UNTIL_CLOSE

SPENT: Final = "the connection has carried as many bytes as its rules allow"


class Meter:
    """Of one connection. ``max_bytes`` may change with the policy, also to less than was carried."""

    __slots__ = ("carried", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.carried = 0

    @property
    def left(self) -> int:
        """How many may still pass."""
        return max(self.max_bytes - self.carried, 0)

    def expect(self, length: int | None) -> None:
        """Hold what is to come to what is left; ``length`` as heads have it. Raises BytesSpent.

        A body of unknown length is held to it as it comes; but nothing is begun where nothing is left.
        """
        if not self.left or (length is not None and length != UNTIL_CLOSE and length > self.left):
            raise BytesSpent(SPENT)

    def takes(self, count: int) -> bool:
        """Count what is to pass, all or nothing; whether it may."""
        if count > self.left:
            return False
        self.carried += count
        return True

    def part(self, data: bytes) -> bytes:
        """Count and give as much of ``data`` as may pass: itself, or its beginning. Raises BytesSpent if none may."""
        left = self.left
        if not left:
            raise BytesSpent(SPENT)
        passed = data if len(data) <= left else data[:left]
        self.carried += len(passed)
        return passed

    def lower(self, max_bytes: int) -> int:
        """Give the limit of a tunnel: its own, where 0 is none, or what is left. Raises BytesSpent."""
        self.expect(UNTIL_CLOSE)
        return min(max_bytes or self.left, self.left)

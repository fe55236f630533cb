"""A request body that is read whole before anything is decided, because a fact is taken from it.

Bounded, and only where a route asks for it: every other body streams.
"""

from proxy.errors import BodyTooLarge

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""To a caller that waits for it: nobody behind us can say it before the body is here (RFC 9110 section 10.1.1)."""


class Hold:
    """See the module. ``body`` is None until it is here; ``began`` and ``waited_s`` are on the caller's clock."""

    __slots__ = ("_began", "_limit_bytes", "_pieces", "_size_bytes", "body", "pending", "trailers", "waited_s")

    def __init__(self, length: int | None, limit_bytes: int, began: float) -> None:
        """Begin; ``length`` is that of the head.

        Raises:
            BodyTooLarge: it says itself that it is larger.

        """
        self.body: bytes | None = b"" if length == 0 else None
        self.pending = length != 0  # the steps have to be taken again once it is here
        self.trailers = False
        self.waited_s = 0.0
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._began = began
        self._add(length or 0)
        self._size_bytes = 0

    def take(self, data: bytes) -> BodyTooLarge | None:
        """Take a piece, or give the refusal of it."""
        try:
            self._add(len(data))
        except BodyTooLarge as error:
            return error
        self._pieces.append(data)
        return None

    def end(self, now: float, *, trailers: bool) -> None:
        """Take the end, and whether fields came behind the body."""
        self.trailers = trailers
        self.body = b"".join(self._pieces)
        self._pieces.clear()
        self.waited_s = now - self._began

    def has_come(self) -> bool:
        """Whether the body is here, and the steps were not taken again since."""
        due = self.pending and self.body is not None
        if due:
            self.pending = False
        return due

    def _add(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        if self._size_bytes > self._limit_bytes:
            raise BodyTooLarge(f"a fact is taken from the body, and it is larger than {self._limit_bytes} bytes")

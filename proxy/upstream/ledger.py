"""The bookkeeping of a pool, without sockets: who is idle, who may be lent, who is too many."""

from typing import Generic, TypeVar


class Lendable:
    """What the ledger must know of a connection. Times are seconds on the loop's clock."""

    __slots__ = ("idle_until",)

    idle_until: float
    """When it is too old to be lent again: past its idle time, or past the end of an identity."""

    def is_open(self) -> bool:
        """Whether it is open."""
        raise NotImplementedError  # pragma: no cover

    def is_reusable(self) -> bool:
        """Whether it is open and in step: no answer pending, nothing received unasked."""
        raise NotImplementedError  # pragma: no cover


L = TypeVar("L", bound=Lendable)


class Ledger(Generic[L]):
    """Connections to one endpoint. The last one returned is the first one lent: the others may grow old and go."""

    __slots__ = ("_idle", "_max_connections", "_max_idle", "_open")

    def __init__(self, max_connections: int, max_idle: int) -> None:
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._idle: list[L] = []
        self._open = 0

    @property
    def open(self) -> int:
        """How many connections are open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """How many of them wait to be lent."""
        return len(self._idle)

    def lend(self, now: float) -> L | None:
        """Give the connection that was used last, if one is idle and still good."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.idle_until > now and connection.is_open():
                return connection
        return None

    def may_open(self) -> bool:
        """Whether one more connection may be opened."""
        return self._open < self._max_connections

    def opening(self) -> None:
        """Count a connection that is about to be opened."""
        self._open += 1

    def closed(self, connection: L | None) -> None:
        """Take a connection off the books; None for one that never came to be."""
        self._open -= 1
        if connection is not None and connection in self._idle:
            self._idle.remove(connection)

    def take_back(self, connection: L) -> bool:
        """Take a connection back that was lent; False when it must be closed instead."""
        if len(self._idle) >= self._max_idle or not connection.is_reusable():
            return False
        self._idle.append(connection)
        return True

    def drop_idle(self) -> list[L]:
        """Give up all idle connections, for the caller to close."""
        idle, self._idle = self._idle, []
        return idle

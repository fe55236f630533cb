"""The pools of all destinations, each made when it is first called."""

from collections.abc import Callable, Mapping

from proxy.policy.permit import Destination
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool


class Pools:
    """By the name of the destination; ``make`` gives a new one."""

    def __init__(self, make: Callable[[Endpoint], Pool]) -> None:
        self._make = make
        self._pools: dict[str, Pool] = {}
        self._former: list[tuple[str, Pool]] = []  # retired, and something of them is on loan still

    def of(self, destination: Destination) -> Pool:
        """Give the pool of a destination."""
        pool = self._pools.get(destination.name)
        if pool is None:
            pool = self._pools[destination.name] = self._make(Endpoint.of(destination))
        return pool

    @property
    def open(self) -> int:
        """How many connections are open or being opened."""
        return sum(pool.ledger.open for pool in [*self._pools.values(), *(pool for _, pool in self._former)])

    def withdraw(self, known: Mapping[str, Endpoint]) -> None:
        """Nobody may go any more where no destination leads, or another one leads now."""
        gone = [name for name, pool in self._pools.items() if known.get(name) != pool.endpoint]
        for name in gone:
            self._pools.pop(name).withdraw()
        for name, pool in self._former:
            if known.get(name) != pool.endpoint:
                pool.withdraw()

    def retire(self) -> None:
        """Lend none of what is open now to anybody; what is on loan ends with its exchange."""
        for pool in self._pools.values():
            pool.retire()
        self._former = [(name, pool) for name, pool in [*self._former, *self._pools.items()] if pool.ledger.open]
        self._pools.clear()

    def close(self) -> None:
        """End every connection."""
        for pool in self._pools.values():
            pool.close()

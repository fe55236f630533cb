"""Traffic in the background: threads that ask until they are told to stop, and keep every answer that was not good."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from support.wire import Reply, Wire


class Load:
    """``connect`` gives a connection, ``ask`` sends one request over it. ``renew``: each request on a new connection."""

    def __init__(
        self, connect: Callable[[], Wire], ask: Callable[[Wire], Reply], *, threads: int = 4, renew: bool = False
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._connect = connect
        self._ask = ask
        self._renew = renew
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    @property
    def lost(self) -> Counter[str]:
        """What was not answered with 200."""
        return Counter({outcome: count for outcome, count in self.outcomes.items() if outcome != "200"})

    def _run(self) -> None:
        wire: Wire | None = None
        while not self._stop.is_set():
            try:
                wire = wire or self._connect()
                answer = self._ask(wire)
                self.outcomes[f"{answer.status} {answer.reason}".strip()] += 1
                if self._renew or answer.closes:
                    wire.close()
                    wire = None
            except (OSError, AssertionError) as failure:
                self.outcomes[repr(failure)] += 1
                wire = None
        if wire is not None:
            wire.close()

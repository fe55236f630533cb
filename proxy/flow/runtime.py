"""What every exchange of one process shares: clocks, deadlines, tasks, and where it is written down."""

from collections.abc import Callable
from typing import TypeAlias

from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.audit.trail import Trail
from proxy.observe.catalog import Direction, Metrics
from proxy.observe.cells import Counter, Histogram
from proxy.observe.trace import TraceIds

Key: TypeAlias = tuple[bytes, int, str, str, str]
"""A kind of exchange: method, status, rule, route, reason."""

Cells: TypeAlias = dict[Key, tuple[Histogram, Counter]]
"""Where exchanges of each kind are counted, once that is known."""


class Runtime:
    """``clock`` never steps back and is the loop's; ``now`` is the calendar's. Both in seconds.

    ``pseudonym`` is our name in ``Via``: made anew by each process, so that seeing it again proves a loop.
    """

    __slots__ = (
        "access_log",
        "audit",
        "cells",
        "clock",
        "deadlines",
        "metrics",
        "now",
        "pseudonym",
        "tasks",
        "trace_ids",
        "transports",
    )

    def __init__(
        self,
        *,
        transports: Transports,
        deadlines: Deadlines,
        tasks: Tasks,
        clock: Callable[[], float],
        now: Callable[[], float],
        metrics: Metrics,
        access_log: AccessLog,
        trace_ids: TraceIds,
        pseudonym: bytes,
        audit: Trail | None = None,
    ) -> None:
        self.transports = transports
        self.deadlines = deadlines
        self.tasks = tasks
        self.clock = clock
        self.now = now
        self.metrics = metrics
        self.access_log = access_log
        self.audit = audit
        self.trace_ids = trace_ids
        self.pseudonym = pseudonym
        self.cells: dict[Direction, Cells] = {"inbound": {}, "outbound": {}}  # of all connections: they do the same

"""What every exchange of one process shares: clocks, deadlines, tasks, and where it is written down."""

from collections.abc import Callable

from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.catalog import Metrics
from proxy.observe.trace import TraceIds


class Runtime:
    """``clock`` never steps back and is the loop's; ``now`` is the calendar's. Both in seconds.

    ``pseudonym`` is our name in ``Via``: made anew by each process, so that seeing it again proves a loop.
    """

    __slots__ = ("access_log", "clock", "deadlines", "metrics", "now", "pseudonym", "tasks", "trace_ids", "transports")

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
    ) -> None:
        self.transports = transports
        self.deadlines = deadlines
        self.tasks = tasks
        self.clock = clock
        self.now = now
        self.metrics = metrics
        self.access_log = access_log
        self.trace_ids = trace_ids
        self.pseudonym = pseudonym

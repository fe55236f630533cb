"""What every exchange of one process shares: clocks, deadlines, tasks, and where it is written down."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.catalog import Metrics
from proxy.observe.trace import TraceIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """``clock`` never steps back and is the loop's; ``now`` is the calendar's. Both in seconds.

    ``pseudonym`` is our name in ``Via``: made anew by each process, so that seeing it again proves a loop.
    """

    transports: Transports
    deadlines: Deadlines
    tasks: Tasks
    clock: Callable[[], float]
    now: Callable[[], float]
    metrics: Metrics
    access_log: AccessLog
    trace_ids: TraceIds
    pseudonym: bytes

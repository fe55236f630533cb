"""What the sidecar's agent does, as metrics: whether each stream is open, how often it was reopened, and its errors."""

from collections.abc import Callable

from proxy.observe.catalog import Metrics


class AgentMetrics:
    """Takes what a source of identity tells of its agent."""

    __slots__ = ("_metrics", "_now", "_worked")

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self._now = now
        self._worked: set[str] = set()

    def stream(self, name: str, is_up: bool) -> None:  # noqa: FBT001 - the source's own callback
        """Take that a stream is open and has brought something, or is not. One that is so again was reopened."""
        self._metrics.agent_stream(name).set(float(is_up))
        if is_up and name in self._worked:
            self._metrics.agent_reconnects(name).inc()
        elif is_up:
            self._worked.add(name)

    def failed(self, name: str, kind: str) -> None:
        """Take that a call failed, or that what came could not be used."""
        self._metrics.agent_errors(name, kind).inc()
        self._metrics.agent_last_error(name, kind).set(self._now())

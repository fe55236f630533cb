"""What is revoked, as metrics: how much of each kind, how old the word of each source is, what became of events."""

from collections.abc import Callable, Iterable

from proxy.observe.catalog import Metrics


class RevocationMetrics:
    """Binds the cells."""

    __slots__ = ("_kinds", "_metrics")

    def __init__(self, metrics: Metrics, kinds: Iterable[str]) -> None:
        self._metrics = metrics
        self._kinds = tuple(kinds)

    def counted(self, count: Callable[[str], int]) -> None:
        """Take how many there are of each kind."""
        for kind in self._kinds:
            self._metrics.revocations(kind).set(count(kind))

    def heard(self, source: str, at: float) -> None:
        """Take when a source was heard last, in Unix time; before that for one that never was."""
        if at >= 0:
            self._metrics.revocation_heard(source, at)

    def event(self, result: str) -> None:
        """Take what became of an event of the feed."""
        self._metrics.revocation_events(result).inc()

"""A metric with its children: one cell for each set of label values, never more than a limit."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from proxy.observe.cells import Cell, Histogram
from proxy.observe.table import Declaration

MAX_CHILDREN = 1000
"""Far above what a configuration needs (routes x methods x statuses); at 20 lines each, 20 000 lines a scrape."""

OVERFLOW = "_overflow"
"""The value of every label of the one child that counts what came after the limit."""

SAMPLES_A_PIECE = 48
"""About 1 ms of rendering: what a scrape may hold the loop for at a time."""

C = TypeVar("C", bound=Cell)


Values = tuple[str, ...]


class Family(Generic[C]):
    """The children of one metric by key. Look into ``children`` first; only a miss calls ``learn``.

    A key is the values of the labels, or what ``spread`` makes them from: two keys must never make the same values,
    for Prometheus refuses a scrape in which a series stands twice.
    """

    __slots__ = ("_make", "_overflow", "_spread", "children", "declaration")

    def __init__(
        self, declaration: Declaration, make: Callable[[], C], spread: Callable[[Values], Values] = tuple
    ) -> None:
        self.declaration = declaration
        self.children: dict[Values, C] = {}
        self._make = make
        self._spread = spread
        self._overflow: C | None = None

    def learn(self, key: Values) -> C:
        """Give the child of this key, a new one if there is none; past the limit, the one for all the rest."""
        child = self.children.get(key)
        if child is not None:
            return child
        if len(self.children) < MAX_CHILDREN:
            return self.children.setdefault(key, self._make())
        if self._overflow is None:
            self._overflow = self._make()
        return self._overflow

    def metrics(self) -> Iterator[Metric]:
        """Give the children as pieces of at most ``SAMPLES_A_PIECE`` samples (or one child), at least one piece."""
        declaration = self.declaration
        rows = [(self._spread(key), cell) for key, cell in self.children.items()]  # whole, for it grows meanwhile
        if self._overflow is not None:
            rows.append(((OVERFLOW,) * len(declaration.labels), self._overflow))
        # a histogram has a line for each bound and three more
        step = max(1, SAMPLES_A_PIECE // (len(declaration.buckets) + 3)) if declaration.buckets else SAMPLES_A_PIECE
        for start in range(0, max(1, len(rows)), step):
            yield self._piece(rows[start : start + step])

    def _piece(self, rows: list[tuple[Values, C]]) -> Metric:
        declaration = self.declaration
        labels = (*declaration.labels, *(name for name, _ in declaration.constants))
        constants = tuple(value for _, value in declaration.constants)
        metric: Metric = _EMPTY[declaration.kind](declaration.name, declaration.help, labels=labels)
        for values, cell in rows:
            _add(metric, cell, [*map(_utf8, values), *constants])
        return metric


_EMPTY: dict[str, Callable[..., Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _add(metric: Any, cell: Cell, values: list[str]) -> None:
    if isinstance(cell, Histogram):
        bounds = [*map(floatToGoString, cell.bounds), "+Inf"]
        metric.add_metric(values, list(zip(bounds, accumulate(cell.counts), strict=True)), cell.total)
    elif cell.value is not None:
        metric.add_metric(values, cell.value)


def _utf8(value: str) -> str:
    """Text that can be encoded: a lone surrogate, which YAML can write, would end every scrape with an error."""
    return value.encode("utf-8", "backslashreplace").decode()

"""A metric with its children: one cell for each set of label values, never more than a limit."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from proxy.observe.cells import Cell, Histogram
from proxy.observe.exposition import Piece
from proxy.observe.lines import histogram, number, single, write_labels
from proxy.observe.table import Declaration

MAX_CHILDREN = 1000
"""Far above what a configuration needs (routes x methods x statuses); at 20 lines each, 20 000 lines a scrape."""

OVERFLOW = "_overflow"
"""The value of every label of the one child that counts what came after the limit."""

SAMPLES_A_PIECE = 100
"""At most half a millisecond of rendering: what a scrape may hold the loop for at a time. A sample takes 1 to 5 us."""

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

    def pieces(self) -> Iterator[Piece]:
        """Give the children as pieces of at most ``SAMPLES_A_PIECE`` samples (or one child), at least one piece."""
        declaration = self.declaration
        rows = [(self._spread(key), cell) for key, cell in self.children.items()]  # whole, for it grows meanwhile
        if self._overflow is not None:
            rows.append(((OVERFLOW,) * len(declaration.labels), self._overflow))
        bounds = [*map(number, declaration.buckets)]
        # a histogram has a line for each bound and three more
        step = max(1, SAMPLES_A_PIECE // (len(bounds) + 3)) if bounds else SAMPLES_A_PIECE
        for start in range(0, max(1, len(rows)), step):
            lines = "".join(self._lines(values, cell, bounds) for values, cell in rows[start : start + step])
            yield Piece(name=declaration.name, kind=declaration.kind, help=declaration.help, lines=lines)

    def _lines(self, values: Values, cell: C, bounds: list[str]) -> str:
        declaration = self.declaration
        labels = write_labels([*zip(declaration.labels, values, strict=True), *declaration.constants])
        if isinstance(cell, Histogram):
            return histogram(declaration.name, labels, bounds, cell)
        value = cell.value
        return "" if value is None else single(declaration.name, labels, value)

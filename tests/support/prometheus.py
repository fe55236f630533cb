"""prometheus_client as the judge of our exposition: what it would write, and what it reads."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.observe.catalog import Metrics
from proxy.observe.cells import Cell, Histogram
from proxy.observe.exposition import OPENMETRICS, Piece, render
from proxy.observe.table import Declaration

FAMILIES: dict[str, Callable[..., Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class _Metrics(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self.metrics


def declared(declaration: Declaration, children: Iterable[tuple[Sequence[str], Cell]]) -> Metric:
    """The library's own metric with these children."""
    labels = [*declaration.labels, *(name for name, _ in declaration.constants)]
    metric: Any = FAMILIES[declaration.kind](declaration.name, declaration.help, labels=labels)
    for values, cell in children:
        everything = [*values, *(value for _, value in declaration.constants)]
        if isinstance(cell, Histogram):
            bounds = [*map(floatToGoString, cell.bounds), "+Inf"]
            metric.add_metric(everything, [*zip(bounds, accumulate(cell.counts), strict=True)], cell.total)
        elif cell.value is not None:
            metric.add_metric(everything, cell.value)
    return metric  # type: ignore[no-any-return]


def written(metrics: Sequence[Metric], content_type: str, service: str | None = None) -> bytes:
    """What the library writes."""
    registry = CollectorRegistry(target_info={"service_name": service} if service is not None else None)
    registry.register(_Metrics(metrics))
    write: Callable[[CollectorRegistry], bytes] = (
        openmetrics.generate_latest if content_type == OPENMETRICS else generate_latest
    )
    return write(registry)


def read(body: bytes, content_type: str) -> dict[str, Metric]:
    """What the library's parser of that format makes of a scrape, by name."""
    parse = read_openmetrics if content_type == OPENMETRICS else read_text
    return {metric.name: metric for metric in parse(body.decode())}


def read_pieces(pieces: Iterable[Piece], content_type: str) -> dict[str, Metric]:
    """The same for pieces of ours."""
    return read(b"".join(render(pieces, content_type)), content_type)


def exposed(metrics: Metrics, accept: str = "") -> tuple[str, bytes]:
    """Give content type and body whole, as a scrape would get them."""
    content_type, pieces = metrics.render(accept)
    return content_type, b"".join(pieces)

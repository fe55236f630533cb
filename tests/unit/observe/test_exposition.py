"""What a scrape is answered, and how it is put together."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest
from prometheus_client.registry import Collector

from proxy.observe.exposition import OPENMETRICS, TEXT, choose, render

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;q=1e9", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("application/openmetrics-text;q=-1", TEXT),
        ("application/openmetrics-text;q=٣", TEXT),
        ("application/vnd.google.protobuf;encoding=delimited", TEXT),
        ("application/json", TEXT),
    ],
)
def test_accept(accept: str, content_type: str) -> None:
    """OpenMetrics only where it is asked for and liked best; whatever else comes, the text format."""
    assert choose(accept) == content_type


@given(st.text(alphabet='aq=;,/*.0159 texplinov-"\r\n\x00é', max_size=200))
def test_no_accept_field_makes_an_error_or_comes_back(accept: str) -> None:
    """The library echoes the version that it was asked for; we do not."""
    assert choose(accept) in {TEXT, OPENMETRICS}


class _Metrics(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> list[Metric]:
        return self.metrics


def _counter(name: str, values: list[str]) -> CounterMetricFamily:
    metric = CounterMetricFamily(name, "A\nhelp \\ text.", labels=["v"])
    for value in values:
        metric.add_metric([value], 1)
    return metric


NASTY = ["plain", 'quo"te', "line\nfeed", "back\\slash", "\n# HELP a forged\n# TYPE a counter", "é漢", ""]


@pytest.mark.parametrize(("content_type", "library"), [(TEXT, generate_latest), (OPENMETRICS, openmetrics_latest)])
def test_pieces_together_are_what_the_library_would_have_written(
    content_type: str, library: Callable[[CollectorRegistry], bytes]
) -> None:
    """Byte for byte, whatever the values are: a line feed in a value can never begin a line."""
    registry = CollectorRegistry()
    registry.register(_Metrics([_counter("a", NASTY), _counter("b", [])]))
    pieces = [_counter("a", [value]) for value in NASTY]
    written = b"".join(render([*pieces, _counter("b", [])], content_type))
    assert written == library(registry)

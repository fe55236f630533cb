"""What an agent does, as metrics."""

from prometheus_client.parser import text_string_to_metric_families as read_text
from support.prometheus import exposed

from proxy.observe.agent import AgentMetrics
from proxy.observe.catalog import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """What a scrape reads of the agent: value by name and values of labels."""
    _, body = exposed(metrics)
    return {
        (
            sample.name.removeprefix("svidecar_workload_api_"),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
        if not sample.name.endswith("_created") and sample.name.startswith("svidecar_workload_api_")
    }


def test_a_stream_that_is_reopened_is_counted() -> None:
    """Not its first opening, and not one that never worked."""
    metrics = Metrics("1", "orders")
    agent = AgentMetrics(metrics, lambda: 950.0)
    agent.stream("x509", False)
    assert samples(metrics) == {("stream_open", "x509"): 0, ("reconnects_total", "x509"): 0}
    for is_up in (True, False, False, True, False):
        agent.stream("x509", is_up)
    assert samples(metrics) == {("stream_open", "x509"): 0, ("reconnects_total", "x509"): 1}


def test_errors_have_their_kind_and_time() -> None:
    """The latest of them is the last error."""
    metrics = Metrics("1", "orders")
    agent = AgentMetrics(metrics, lambda: 950.0)
    agent.failed("x509", "unreachable")
    agent.failed("x509", "unreachable")
    assert samples(metrics) == {
        ("errors_total", "unreachable", "x509"): 2,
        ("last_error_seconds", "unreachable", "x509"): 950.0,
    }

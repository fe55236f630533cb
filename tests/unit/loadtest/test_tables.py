"""Every table of a run."""

from dataclasses import replace

import pytest
from support.loads import load, turn, whole

from loadtest import tables
from loadtest.figures import Figure
from loadtest.results import Results


def test_a_figure_shows_its_spread_where_there_is_one() -> None:
    """One round has none; nothing measured is no zero."""
    assert tables.show(Figure(31.24, 30.0, 32.0, 3)) == "31.2 (30.0-32.0)"
    assert tables.show(Figure(31.24, 31.24, 31.24, 1)) == "31.2"
    assert tables.show(None) == "-"


def test_every_row_is_as_wide_as_its_head() -> None:
    """In every table of a whole run."""
    titles = []
    for table in tables.every(whole()):
        assert {len(row) for row in table.rows} == {len(table.rows[0])}, table.title
        titles.append(table.title)
    assert "Latency at 1000 requests/s (rate-1000)" in titles


def test_who_is_absent_is_said_with_the_reason() -> None:
    """A contender that is not here, a scenario that one was spared, a load that went wrong."""
    spared = replace(
        turn("haproxy"), skipped={"rate-half": "too fast"}, loads={"one-token": load(1, errors={"read": 2})}
    )
    rows = tables.absent(Results(contenders=("haproxy",), checks={}, turns=[spared], absent={"envoy": "pip"})).rows
    assert ("envoy", "pip") in rows
    assert ("haproxy, rate-half", "too fast") in rows
    assert ("haproxy, round 1", "does not count: one-token: errors: 2 read") in rows


@pytest.mark.parametrize(("load_core", "said"), [(0.94, "waiting"), (0.95, "client and app")])
def test_a_client_that_is_the_bottleneck_is_said_to_be(load_core: float, said: str) -> None:
    """Where the proxies' core is not full, but the client's is; from 95 % on."""
    slow = replace(load(1.0, load_core=load_core).slices[0], proxies_core=0.6)
    one = replace(turn("nginx"), loads={"one-token": replace(load(1.0), slices=(slow,))})
    results = Results(contenders=("nginx",), checks={}, turns=[one], scenarios=("one-token",))
    assert tables.limited_by(results, "nginx", "one-token") == said
    assert ("*" in tables.throughput(results).rows[1][1]) == (said == "client and app")


def test_full_proxies_are_the_bottleneck() -> None:
    """Whatever the client's core does."""
    one = replace(turn("nginx"), loads={"one-token": load(1.0, load_core=0.99)})
    results = Results(contenders=("nginx",), checks={}, turns=[one], scenarios=("one-token",))
    assert tables.limited_by(results, "nginx", "one-token") == "proxies"


def test_a_run_without_rivals_shows_only_what_it_can_know() -> None:
    """No row of ratios that could never be measured."""
    alone = Results(contenders=("svidecar", "direct"), checks={}, turns=[turn("svidecar", us=60)])
    assert [row[0] for row in tables.held_budget(alone).rows] == ["", "rss_mb_at_rest"]

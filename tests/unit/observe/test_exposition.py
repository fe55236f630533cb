"""What a scrape is answered, and how it is put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import InfoMetricFamily, Metric
from support.prometheus import declared, read_pieces, written

from proxy.observe.cells import Counter
from proxy.observe.exposition import OPENMETRICS, TEXT, Piece, choose, render
from proxy.observe.lines import single, write_labels
from proxy.observe.table import Declaration, Kind

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
    """Nothing that a caller sends is in the content type."""
    assert choose(accept) in {TEXT, OPENMETRICS}


HELP = 'A\nhelp \\ "text".'
NASTY = ["plain", 'quo"te', "line\nfeed", "back\\slash", "\n# HELP a forged\n# TYPE a counter", "é漢", ""]
FORMATS = pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])


def _piece(name: str, values: list[str]) -> Piece:
    lines = "".join(single(name, write_labels([("v", value)]), 1) for value in values)
    return Piece(name=name, kind="counter", help=HELP, lines=lines)


def _counter(name: str, values: list[str]) -> Metric:
    one = Counter()
    one.inc()
    return declared(
        Declaration(name=name, kind=Kind.COUNTER, help=HELP, labels=("v",)), [((value,), one) for value in values]
    )


@FORMATS
def test_pieces_together_are_what_the_library_would_have_written(content_type: str) -> None:
    """Byte for byte, whatever the values are: a line feed in a value can never begin a line."""
    pieces = [*(_piece("a_total", [value]) for value in NASTY), _piece("b_total", [])]
    ours = b"".join(render(pieces, content_type))
    assert ours == written([_counter("a_total", NASTY), _counter("b_total", [])], content_type)


@FORMATS
def test_both_readers_find_what_was_meant(content_type: str) -> None:
    """Values, kind and help come back; nothing is forged."""
    found = read_pieces([_piece("a_total", NASTY)], content_type)
    assert [*found] == ["a"]
    assert [sample.labels["v"] for sample in found["a"].samples] == NASTY
    assert (found["a"].type, found["a"].documentation) == ("counter", HELP)


@FORMATS
def test_an_info_is_a_gauge_where_infos_are_not_known(content_type: str) -> None:
    """As the library does it, which calls ``x`` what the text format calls ``x_info``."""
    ours = Piece(name="x_info", kind="info", help="X.", lines=single("x_info", write_labels([("v", "1")]), 1))
    library = InfoMetricFamily("x", "X.")
    library.add_metric([], {"v": "1"})
    assert b"".join(render([ours], content_type)) == written([library], content_type)


@FORMATS
def test_a_scrape_of_nothing(content_type: str) -> None:
    """OpenMetrics has an end even then: without it a reader takes a scrape for one that was cut off."""
    assert b"".join(render([], content_type)) == written([], content_type)

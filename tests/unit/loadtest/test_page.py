"""The page: one file, that needs nothing else."""

import datetime as dt
import re
from html.parser import HTMLParser

from support.loads import whole

from loadtest import page
from loadtest.results import Results

ABOUT = {
    "machine": {"cpu": "<b>CPU</b>", "cores": 2, "kernel": "6"},
    "svidecar": "plain Python",
    "contenders": {"envoy": {"configs": {"a.json": '{"a": "<script>"}'}}},
}
VOID = {"meta", "br"}


class Balance(HTMLParser):
    """Every element that is opened is closed, inside the one that it was opened in."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - its signature
        """Open it."""
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Open and close it."""
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """It must be the last one that was opened."""
        assert self.open.pop() == tag


def test_it_is_well_formed_and_has_plots() -> None:
    """Of a whole run."""
    html = page.html(whole(), ABOUT, dt.datetime(2026, 11, 22, tzinfo=dt.UTC))
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert html.count("<svg") == 9
    assert "2026-11-22" in html


def test_it_asks_the_network_for_nothing() -> None:
    """No script, no font, no image, no style from elsewhere."""
    html = page.html(whole(), ABOUT)
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import|<script|<link""", html)


def test_what_others_wrote_is_text() -> None:
    """A configuration, a CPU's name, a reason."""
    html = page.html(whole(), ABOUT)
    assert "&lt;script&gt;" in html
    assert "<b>CPU" not in html
    assert "&lt;go install&gt;" in html


def test_a_run_without_figures_has_a_page_without_plots() -> None:
    """And no crash."""
    html = page.html(Results(contenders=("svidecar",), checks={}, turns=[]), {})
    assert "<svg" not in html
    assert "What each contender does" in html

"""The status page."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.health import Gate, Health
from proxy.admin.page import escape, status_page

NASTY = "</td><script>alert(1)</script><img src=x onerror='x' \"&amp;"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(page: str) -> _Reader:
    """What a browser makes of it."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_a_person_sees_what_matters() -> None:
    """Service, verdict, each gate with its reason, the sections, the paths."""
    health = Health()
    health.set(Gate.KEYS, False, "no JWK Set was loaded yet")
    page = read(status_page("orders", health.findings, {"Identity": [("ID", "spiffe://a/b")]}, [("/metrics", "M")]))
    text = " ".join(page.texts)
    for expected in ("orders", "not ready", *Gate, "no JWK Set was loaded yet", "Identity", "spiffe://a/b", "/metrics"):
        assert expected in text


def test_ready_is_said() -> None:
    """When every gate is open."""
    health = Health([])
    assert "not ready" not in status_page("orders", health.findings, {}, [])


@pytest.mark.parametrize("place", ["service", "detail", "title", "name", "value"])
def test_everything_is_escaped(place: str) -> None:
    """A name of the configuration, or a message, is text wherever it stands."""
    words = dict.fromkeys(("service", "detail", "title", "name", "value"), "x") | {place: NASTY}
    health = Health()
    health.set(Gate.SVID, False, words["detail"])
    page = read(status_page(words["service"], health.findings, {words["title"]: [(words["name"], words["value"])]}, []))
    assert NASTY in " ".join(page.texts)
    assert "script" not in page.tags
    assert "img" not in page.tags


def test_nothing_is_loaded_or_sent() -> None:
    """No script, link, form or image: the page can do nothing."""
    page = read(status_page("orders", Health().findings, {"a": [("b", "c")]}, []))
    assert set(page.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "td", "span"}
    assert page.attributes <= {"lang", "charset", "class"}


@given(st.text(alphabet="&<>\"';#x27amplt é\n"))
def test_escape_is_the_standard_librarys(text: str) -> None:
    """Character for character."""
    assert escape(text) == html.escape(text)

"""Whole messages and how they are written."""

import json

import pytest

from proxy.control.message import NO_STORE, Response, problem, written

NOW = 1_700_000_000.0


def lines(response: Response, *, head_only: bool = False, close: bool = False) -> tuple[list[str], bytes]:
    """The head as lines, and the body."""
    head, _, body = written(response, NOW, head_only=head_only, close=close).partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


def test_a_response_is_whole() -> None:
    """Status line, date, type, length, and no guessing of types by browsers."""
    assert lines(Response(200, b"hello")) == (
        [
            "HTTP/1.1 200 OK",
            "Date: Tue, 14 Nov 2023 22:13:20 GMT",
            "X-Content-Type-Options: nosniff",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Length: 5",
        ],
        b"hello",
    )


def test_head_has_the_length_and_not_the_body() -> None:
    """HEAD is GET without its content (RFC 9110 section 9.3.2)."""
    head, body = lines(Response(200, b"hello"), head_only=True)
    assert "Content-Length: 5" in head
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_statuses(status: int) -> None:
    """204 and 304 have neither a body nor a length (RFC 9110 section 8.6)."""
    head, body = lines(Response(status, b"never"))
    assert body == b""
    assert not [line for line in head if line.startswith("Content-")]


def test_close_is_said() -> None:
    """The last answer of a connection says so."""
    assert "Connection: close" in lines(Response(200), close=True)[0]
    assert "Connection: close" not in lines(Response(200))[0]


def test_html_is_locked_down_unless_its_handler_says_otherwise() -> None:
    """A page loads and runs nothing; a handler that needs more names it."""
    page = lines(Response(200, b"<p>", "text/html; charset=utf-8"))[0]
    assert {line.split(": ")[0] for line in page} >= {"Content-Security-Policy", "X-Frame-Options", "Referrer-Policy"}
    own = ("content-security-policy", "default-src 'self'")
    page = lines(Response(200, b"<p>", "text/html", (own,)))[0]
    assert [line for line in page if "ecurity-" in line] == ["content-security-policy: default-src 'self'"]


def test_no_store_where_the_handler_says_so() -> None:
    """Only there: the scraper of metrics does not need it."""
    assert "Cache-Control: no-store" in lines(Response(200, fields=(NO_STORE,)))[0]
    assert "Cache-Control: no-store" not in lines(Response(200))[0]


@pytest.mark.parametrize(
    "response",
    [
        Response(200, fields=(("X-A", "b\r\nSet-Cookie: c"),)),
        Response(200, fields=(("X-A", "b\n"),)),
        Response(200, fields=(("X-A\r\n", "b"),)),
        Response(200, fields=(("X A", "b"),)),
        Response(200, fields=(("", "b"),)),
        Response(200, fields=(("X-A", "\N{SNOWMAN}"),)),
        Response(200, fields=(("Content-Length", "7"),)),
        Response(200, fields=(("transfer-encoding", "chunked"),)),
        Response(200, fields=(("Connection", "keep-alive"),)),
        Response(200, content_type="text/plain\r\nX: y"),
        Response(199),
        Response(101),
        Response(600),
    ],
)
def test_what_would_break_the_head_is_never_written(response: Response) -> None:
    """A handler cannot split a response, frame it otherwise, or send an interim status."""
    with pytest.raises(ValueError):
        written(response, NOW, head_only=False, close=False)


def test_a_problem_is_a_document() -> None:
    """RFC 9457, never cached; the reason only where there is one."""
    response = problem(404, "nothing here")  # a title that is the same in every Python: 3.13 has renamed some
    assert json.loads(response.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "nothing here",
    }
    assert (response.content_type, response.fields) == ("application/problem+json", (NO_STORE,))
    assert json.loads(problem(400, "bad", reason="bad_host").body)["reason"] == "bad_host"

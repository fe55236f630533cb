"""llhttp (the parser of Node.js, through httptools), asked how it would read what we forward."""

import httptools

from support.judges import Judged, Verdict


class _Callbacks:
    """Collects what llhttp reports."""

    def __init__(self) -> None:
        self.messages: list[Judged] = []
        self.target = b""
        self.parser: httptools.HttpRequestParser | None = None

    def on_message_begin(self) -> None:
        self.target = b""
        self.messages.append(Judged())

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self.messages[-1].first = (self.parser.get_method(), self.target)

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


def llhttp_requests(wire: bytes) -> Verdict:
    """Read requests as llhttp does in its strict mode (Node.js, httptools)."""
    callbacks = _Callbacks()
    parser = callbacks.parser = httptools.HttpRequestParser(callbacks)
    verdict = Verdict(callbacks.messages)
    try:
        parser.feed_data(wire)
    except httptools.HttpParserUpgrade:
        verdict.left_over = b"an upgrade"
    except httptools.HttpParserError:
        verdict.refused = True
    callbacks.parser = None
    return verdict

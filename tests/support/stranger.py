"""Whatever may be at a port where somebody looks for a sidecar: it answers as it is told, and notes what it was asked."""

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

from support.apps import App

Answer = tuple[int, bytes]
"""The status, and the body."""


class Stranger:
    """A real server on loopback that gives ``answers`` in turn, and the last one ever after."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[str] = []
        left = list(answers)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def _answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815

        self._server = App(Handler)
        self.port = self._server.port

    def url(self, path: str) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        """End it."""
        self._server.close()


@contextlib.contextmanager
def stranger(*answers: Answer) -> Iterator[Stranger]:
    """One that is there until the block ends."""
    made = Stranger(*answers)
    try:
        yield made
    finally:
        made.close()

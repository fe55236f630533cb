"""Apps that work for each request by calling others, as apps with a tracing library do: without a line for tokens."""

import http.client
import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.apps import App

Outgoing = dict[str, str]
"""The fields of the call that the app makes."""


def full(fields: dict[str, str]) -> Outgoing:
    """Pass on the trace as W3C Trace Context says: the same trace id, a span of its own, ``tracestate`` as it is."""
    kept = {"tracestate": fields["tracestate"]} if "tracestate" in fields else {}
    return traceparent_alone(fields) | kept


def traceparent_alone(fields: dict[str, str]) -> Outgoing:
    """Pass on ``traceparent``, and nothing else: an older library."""
    return {"traceparent": f"00-{fields['traceparent'].split('-')[1]}-{secrets.token_hex(8)}-01"}


def nothing(_: dict[str, str]) -> Outgoing:
    """Pass on nothing: an app without tracing."""
    return {}


class TracingApp:
    """The app; ``passes_on`` makes the fields of its call from those of the request.

    ``/wait/...`` calls only when ``release`` is set; ``/quiet/...`` calls nobody. It answers with the status, the
    reason and the token of the call.
    """

    def __init__(self) -> None:
        self.passes_on: Callable[[dict[str, str]], Outgoing] = full
        self.port_of_sidecar = 0
        self.called = "ledger"
        self.release = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.seen: list[dict[str, str]] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                app.seen.append(fields)
                if self.path.startswith("/wait"):
                    app.waiting.release()
                    app.release.wait(10)
                told = {} if self.path.startswith("/quiet") else app.call(app.passes_on(fields))
                _answer(self, told)

        self.server = App(Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def call(self, fields: Outgoing) -> dict[str, object]:
        """Call the other app through the sidecar."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port_of_sidecar, timeout=20)
        try:
            connection.request("GET", "/entries/1", headers={"Host": self.called, **fields})
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        got = {name.lower(): value for name, value in found.get("fields", [])}
        return {"status": answer.status, "reason": found.get("reason", ""), "fields": got}

    def close(self) -> None:
        """End it."""
        self.release.set()
        self.server.close()


def copied(fields: dict[str, str]) -> Outgoing:
    """Pass on the token alone: an app that copies the field and has no tracing."""
    return {"Txn-Token": fields["txn-token"]}


Ask = tuple[str, Callable[[dict[str, str]], Outgoing]]
"""A path, and what of the fields of a request is passed on."""


class WorkingApp:
    """An app that works for each request by asking others at once; it answers with what it saw and what they said.

    ``asks``: for each other app its path, and what of the fields is passed on.
    """

    def __init__(self, **asks: Ask) -> None:
        self.asks = asks
        self.port_of_sidecar = 0
        self.seen: list[dict[str, str]] = []
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                fields = {name.lower(): value for name, value in self.headers.items()}
                app.seen.append(fields)
                _answer(self, {"fields": fields, "said": app._ask_all(fields)})

        self.server = App(Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def _ask_all(self, fields: dict[str, str]) -> dict[str, Any]:
        with ThreadPoolExecutor(max(1, len(self.asks))) as threads:
            asked = {
                host: threads.submit(self._ask, host, path, passes_on(fields))
                for host, (path, passes_on) in self.asks.items()
            }
            return {host: one.result() for host, one in asked.items()}

    def _ask(self, host: str, path: str, fields: Outgoing) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port_of_sidecar, timeout=20)
        try:
            connection.request("GET", path, headers={"Host": host, **fields})
            answer = connection.getresponse()
            return {"status": answer.status, **json.loads(answer.read())}
        finally:
            connection.close()

    def close(self) -> None:
        """End it."""
        self.server.close()


def _answer(handler: BaseHTTPRequestHandler, told: dict[str, Any]) -> None:
    text = json.dumps(told).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)

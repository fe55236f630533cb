"""Apps behind a sidecar: one that tells what it was asked, and one of raw bytes."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class App:
    """A real HTTP server on loopback that tells in JSON what it was asked."""

    def __init__(self, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        app = self

        class Echo(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def _echo(self) -> None:
                body = self._body()
                seen = {
                    "method": self.command,
                    "target": self.path,
                    "fields": [[name, value] for name, value in self.headers.items()],
                    "body": body.decode("latin-1"),
                }
                app.requests.append(seen)
                text = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline() not in {b"\r\n", b""}:
                    pass
                return body

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _echo  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A connection that a test has cut is no news."""

        self.server = Server(("127.0.0.1", 0), handler or Echo)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def fields(self, name: str, index: int = -1) -> list[str]:
        """Values of a field of the request with this index."""
        return [value for have, value in self.requests[index]["fields"] if have.lower() == name.lower()]

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()


class RawApp:
    """An app of raw bytes: ``script(connection)`` runs in a thread for each connection.

    ``script`` may be changed between two connections. An AssertionError in it is kept in ``failures``.
    """

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._sock.getsockname()[1]
        self.script = script
        self.accepted = 0
        self.failures: list[AssertionError] = []
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(20)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            try:
                self.script(connection)
            except AssertionError as failure:
                self.failures.append(failure)
        self._open.discard(connection)

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(5)
        self.cut()

    def cut(self) -> None:
        """Cut every connection: the next one runs the newest ``script``."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def read_head(connection: socket.socket) -> bytes:
    """Read one head, and nothing behind it; what has come where the connection ends before."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return data
        data += piece
    return data


def answering(answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> Callable[[socket.socket], None]:
    """A script that gives this answer to every head that comes."""

    def script(connection: socket.socket) -> None:
        while read_head(connection).endswith(b"\r\n\r\n"):
            connection.sendall(answer)

    return script


class Recorder:
    """A script that keeps every byte that it is sent, and gives ``answer`` for each head in it."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.received: list[bytearray] = []

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        mine = bytearray()
        self.received.append(mine)
        answered = 0
        while piece := connection.recv(65536):
            mine += piece
            while answered < mine.count(b"\r\n\r\n"):
                answered += 1
                connection.sendall(self.answer)

    @property
    def bytes(self) -> bytes:
        """Everything that came, on whatever connection."""
        return b"".join(bytes(each) for each in self.received)

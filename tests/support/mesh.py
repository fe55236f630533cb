"""A small mesh for the end-to-end tests: real sidecar processes, a real app, real peers with certificates of their own."""

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.pki import Authority, Svid, write_svid
from support.tokens import TokenMint

DOMAIN = "example.org"
EDGE, ORDERS, LEDGER = (f"spiffe://{DOMAIN}/{name}" for name in ("edge", "orders", "ledger"))
START_S = 20.0


class Sidecar:
    """One ``svidecar run`` process."""

    def __init__(self, config: Path, **environ: str) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "proxy", "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )
        self.lines: list[str] = []
        self._seen: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ports = self._wait_for_ports()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._seen.put(line)
        self._seen.put("")

    def _wait_for_ports(self) -> dict[str, int]:
        until = time.monotonic() + START_S
        while True:
            line = self._seen.get(timeout=max(0.1, until - time.monotonic()))
            if not line:
                raise AssertionError("the sidecar did not start:\n" + "".join(self.lines))
            found = dict(re.findall(r"\b(health|metrics|admin|inbound|outbound) (\d+)", line))
            if "health" in found:
                return {name: int(port) for name, port in found.items()}

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> None:
        """Wait until a line holds ``text``."""
        until = time.monotonic() + timeout_s
        while text not in self.log:
            assert time.monotonic() < until, f"no line with {text!r} in:\n{self.log}"
            time.sleep(0.02)

    def get(self, port: str, path: str) -> tuple[int, str]:
        """GET from one of the operators' ports."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def wait_until_ready(self, timeout_s: float = START_S) -> "Sidecar":
        """Wait until every gate is open."""
        until = time.monotonic() + timeout_s
        while (found := self.get("health", "/healthz/ready"))[0] != 200:
            assert time.monotonic() < until, f"not ready: {found}\n{self.log}"
            time.sleep(0.02)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples of ``name`` that have these labels; 0 where there is none."""
        total = 0.0
        for line in self.get("metrics", "/metrics")[1].splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match is None or match[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if labels.items() <= have.items():
                total += float(match[3])
        return total

    def decisions(self, **labels: str) -> float:
        """Count of verdicts with these labels."""
        return self.metric("svidecar_decisions_total", **labels)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self, timeout_s: float = 10.0) -> int:
        """End it at once and give the exit code; two signals leave no grace."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class App:
    """A real HTTP server on loopback that tells in JSON what it was asked; ``seen`` counts requests."""

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

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _echo

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
    """An app of raw bytes: ``script(connection)`` runs in a thread for each connection."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._sock.getsockname()[1]
        self._script = script
        self.accepted = 0
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
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(connection)

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(5)


def read_head(connection: socket.socket) -> bytes:
    """Read one head, and nothing behind it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return data
        data += piece
    return data


class Mesh:
    """A trust domain in a folder: CA, keys, SVIDs, and the sidecars that a test starts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = Authority.make(DOMAIN)
        self.mint = TokenMint()
        (folder / "jwks.json").write_bytes(self.mint.jwks())
        self.svids: dict[str, Svid] = {}
        self._sidecars: list[Sidecar] = []
        self._closers: list[Callable[[], None]] = []

    def svid(self, name: str, **shape: Any) -> Path:
        """Write the SVID of ``spiffe://<domain>/<name>``; give its folder."""
        self.svids[name] = self.ca.svid(f"spiffe://{DOMAIN}/{name}", **shape)
        write_svid(self.folder / name, self.svids[name], self.ca)
        return self.folder / name

    def app(self) -> App:
        """Start an echoing app."""
        app = App()
        self._closers.append(app.close)
        return app

    def raw_app(self, script: Callable[[socket.socket], None]) -> RawApp:
        """Start an app of raw bytes."""
        app = RawApp(script)
        self._closers.append(app.close)
        return app

    def config(self, name: str, body: str) -> Path:
        """Write the YAML of a sidecar; ``body`` is what differs from test to test."""
        if not (self.folder / name).is_dir():
            self.svid(name)
        path = self.folder / f"{name}.yaml"
        path.write_text(
            f"service: {name}\ntrust_domain: {DOMAIN}\n"
            f"identity: {{files: {{svid: {name}/svid.pem, key: {name}/svid_key.pem, bundle: {name}/svid_bundle.pem}}}}\n"
            "metrics: {listen: 127.0.0.1:0}\nhealth: {listen: 127.0.0.1:0}\nadmin: {listen: 127.0.0.1:0}\n"
            f"access_log: {self.folder / name}.log\n" + body
        )
        return path

    def start(self, name: str, body: str, **environ: str) -> Sidecar:
        """Start a sidecar and wait until it is ready."""
        return self.launch(name, body, **environ).wait_until_ready()

    def launch(self, name: str, body: str, **environ: str) -> Sidecar:
        """Start a sidecar; its ports are bound, it may not be ready."""
        sidecar = Sidecar(self.config(name, body), **environ)
        self._sidecars.append(sidecar)
        return sidecar

    def records(self, name: str, count: int = 0, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """Records of the access log; wait for ``count`` of them."""
        path = self.folder / f"{name}.log"
        until = time.monotonic() + timeout_s
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) >= count or time.monotonic() > until:
                return [json.loads(line) for line in lines]
            time.sleep(0.02)

    def context(self, name: str = "edge", ca: Authority | None = None) -> ssl.SSLContext:
        """A TLS client of the standard library with the SVID of ``name``, which trusts our CA."""
        if not (self.folder / name).is_dir():
            self.svid(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=(ca or self.ca).bundle_pem.decode())
        context.load_cert_chain(self.folder / name / "svid.pem", self.folder / name / "svid_key.pem")
        return context

    def connect(self, port: int, name: str = "edge") -> ssl.SSLSocket:
        """A TLS connection to a sidecar as the peer ``name``."""
        return self.context(name).wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10))

    def close(self) -> None:
        """End every process and server."""
        for sidecar in self._sidecars:
            sidecar.stop()
        for close in self._closers:
            close()


class Reply:
    """An answer as a client read it."""

    def __init__(self, status: int, fields: dict[str, str], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal."""
        return str(self.json["reason"]) if self.fields.get("content-type") == "application/problem+json" else ""


def call(
    connection: socket.socket, method: str, target: str, fields: dict[str, str] | None = None, body: bytes = b""
) -> Reply:
    """One request over an open connection, read by the standard library's client."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in ({"Host": "orders"} | (fields or {})).items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    return read_reply(connection, method)


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """Read one answer."""
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "HEAD /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "* /any/**", scopes: []}}
      - {{match: "POST /orders", scopes: [orders.write]}}
"""
"""An inbound sidecar with one rule; ``{app}`` is the app's port."""


@contextlib.contextmanager
def mesh_in(folder: Path) -> Iterator[Mesh]:
    """A mesh that ends with the block."""
    mesh = Mesh(folder)
    try:
        yield mesh
    finally:
        mesh.close()


def fetch(url: str) -> bytes:
    """GET over plain HTTP."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())

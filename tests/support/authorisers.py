"""Authorisers: OPA itself, a small server that speaks OPA's API as documented, gRPC's server with Envoy's messages."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2 as auth
from google.rpc import status_pb2

from support.ports import free_port

OPA = os.environ.get("OPA_BIN") or shutil.which("opa")
"""The program; None where it is not there."""

REGO = """
package mesh

default allow := false

allow if {
    input.peer == "spiffe://example.org/edge"
    input.token.sub != "mallory"
    not startswith(input.path, "/orders/forbidden")
    input.headers["x-tenant"][0] == "a"
}

verdict := {"allow": allow, "why": "an object is as good"}
"""
"""What ``agrees`` says, in OPA's own language."""


def agrees(shown: dict[str, Any]) -> bool:
    """The decision of every authoriser here, of the input as OPA gets it."""
    return (
        shown["peer"] == "spiffe://example.org/edge"
        and shown["token"]["sub"] != "mallory"
        and not shown["path"].startswith("/orders/forbidden")
        and shown["headers"].get("x-tenant", [""])[0] == "a"
    )


class OpaLike:
    """A server of ``POST /v1/data/mesh/allow``; ``answer`` makes status and body of an input; what came is kept."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, bytes]] = self.decided
        self.delay_s = 0.0
        self._open: list[socket.socket] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._open.append(self.connection)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.seen.append({"path": self.path, **body})
                time.sleep(outer.delay_s)
                status, answer = outer.answer(body["input"])
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/data/mesh/allow"

    def decided(self, shown: dict[str, Any]) -> tuple[int, bytes]:
        """Answer as the rules above say."""
        return 200, json.dumps({"result": agrees(shown)}).encode()

    def close(self) -> None:
        """End it, and the connections that are kept open to it."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


def need_opa() -> None:
    """Skip a test for which OPA is missing; with ``SVIDECAR_OPA_REQUIRED=1``, which ``.ci/run`` sets, fail it."""
    if OPA is None or not Path(OPA).exists():
        missing = "OPA is not here: put it on the PATH, or name it in OPA_BIN (.ci/opa builds it)"
        if os.environ.get("SVIDECAR_OPA_REQUIRED") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


@contextlib.contextmanager
def real_opa(folder: Path) -> Iterator[str]:
    """OPA itself with the rules above; the URL of its documents."""
    (folder / "mesh.rego").write_text(REGO)
    port = free_port()
    command = [
        str(OPA),
        "run",
        "--server",
        "--addr",
        f"127.0.0.1:{port}",
        "--disable-telemetry",
        str(folder / "mesh.rego"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not _is_up(f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < until, "OPA did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1/data/mesh"
    finally:
        process.terminate()
        process.wait(10)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class ExtAuthzServer:
    """``envoy.service.auth.v3.Authorization``; ``answer`` makes the response; requests are kept."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self.seen: list[auth.CheckRequest] = []
        self.answer: Callable[[auth.CheckRequest], Any] = self.decided
        self.delay_s = 0.0
        handler = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=auth.CheckRequest.FromString,
            response_serializer=lambda made: made if isinstance(made, bytes) else made.SerializeToString(),
        )
        self._server = grpc.server(ThreadPoolExecutor(8))
        service = "envoy.service.auth.v3.Authorization"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Check": handler}),))
        port = self._server.add_insecure_port(address)
        self._server.start()
        self.address = address if address.startswith("unix:") else f"tcp://127.0.0.1:{port}"
        self.port = port

    def _check(self, request: auth.CheckRequest, context: Any) -> Any:
        self.seen.append(request)
        time.sleep(self.delay_s)
        answer = self.answer(request)
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "no")
        return answer

    def decided(self, request: auth.CheckRequest) -> auth.CheckResponse:
        """Answer as the rules above say."""
        attributes = request.attributes
        http = attributes.request.http
        allowed = agrees(
            {
                "peer": attributes.source.principal,
                "token": {"sub": attributes.context_extensions["sub"]},
                "path": http.path.partition("?")[0],
                "headers": {name: value.split(",") for name, value in http.headers.items()},
            }
        )
        code = grpc.StatusCode.OK if allowed else grpc.StatusCode.PERMISSION_DENIED
        return auth.CheckResponse(status=status_pb2.Status(code=code.value[0]))

    def close(self) -> None:
        """End it."""
        self._server.stop(0).wait(5)

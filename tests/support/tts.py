"""A Transaction Token Service that answers what a test wants, over mTLS."""

import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from support.apps import App
from support.mesh import Mesh, load_svid

TYPE = "urn:ietf:params:oauth:token-type:txn_token"


class Service:
    """A Transaction Token Service; ``issue`` gives the status and the JSON of its answer."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.asked: list[dict[str, str]] = []
        self.callers: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.lifetime_s = 300
        self.issue: Callable[[dict[str, str]], tuple[int, dict[str, object]]] = self.token
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                service.asked.append(dict(urllib.parse.parse_qsl(form)))
                assert isinstance(self.connection, ssl.SSLSocket)
                service.callers += [v for k, v in (self.connection.getpeercert() or {}).get("subjectAltName", ()) if k]  # type: ignore[misc, str-unpack]
                service.release.wait(5)
                status, answer = service.issue(service.asked[-1])
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = App(Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=mesh.ca.bundle_pem.decode())
        load_svid(context, mesh.ca.svid("spiffe://example.org/tts"), mesh.folder)
        self.server.server.socket = context.wrap_socket(self.server.server.socket, server_side=True)

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        """Issue what was asked for."""
        raw = self.mesh.mint.token(
            scope=form["scope"], exp=int(time.time()) + self.lifetime_s, txn=f"t{len(self.asked)}"
        )
        return 200, {"access_token": raw.decode(), "issued_token_type": TYPE, "token_type": "N_A"}

    def close(self) -> None:
        """End it."""
        self.release.set()
        self.server.close()

    @property
    def yaml(self) -> str:
        """The ``tokens.service`` of a sidecar, in flow style."""
        return f'{{url: "https://127.0.0.1:{self.server.port}/token", spiffe_id: spiffe://example.org/tts}}'

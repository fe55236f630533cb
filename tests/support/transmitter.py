"""A transmitter of security events that is polled over mTLS (RFC 8936), as strict as it may be."""

import json
import ssl
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.apps import App
from support.mesh import Mesh, load_svid

SPIFFE_ID = "spiffe://example.org/idp"


class Transmitter:
    """``waiting`` are events that nobody has acknowledged, by ``jti``; ``status`` is what it answers with."""

    def __init__(self, mesh: Mesh) -> None:
        self.waiting: dict[str, str] = {}
        self.refused: dict[str, dict[str, str]] = {}
        self.status = 200
        transmitter = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json"
                body = json.dumps(transmitter.answer(question)).encode()
                self.send_response(transmitter.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = App(Handler)
        mesh.also_close(self.server.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=mesh.ca.bundle_pem.decode())
        load_svid(context, mesh.ca.svid(SPIFFE_ID), mesh.folder)
        self.server.server.socket = context.wrap_socket(self.server.server.socket, server_side=True)

    def answer(self, question: dict[str, Any]) -> dict[str, object]:
        """Forget what was taken, and give the rest."""
        assert set(question) <= {"ack", "setErrs", "maxEvents", "returnImmediately"}
        for jti in question.get("ack", []):
            del self.waiting[jti]
        for jti, why in question.get("setErrs", {}).items():
            del self.waiting[jti]
            self.refused[jti] = why
        found = list(self.waiting.items())[: question["maxEvents"]]
        return {"sets": dict(found), "moreAvailable": len(found) < len(self.waiting)}

    @property
    def url(self) -> str:
        """Where it is polled."""
        return f"https://127.0.0.1:{self.server.port}/poll"

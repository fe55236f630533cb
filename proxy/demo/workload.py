"""A workload of the demo, as anyone might write one: the standard library, plain HTTP on loopback, no word of mTLS.

    python -m proxy.demo.workload NAME DESCRIPTOR [HOST PORT COLLECTION]

It serves at a socket that it was given. With a next hop, it calls ``/COLLECTION/...`` of HOST through the outbound port
of its own sidecar. Its whole part in the mesh: it copies ``Txn-Token`` and ``traceparent`` onto the calls it makes.
"""

import base64
import http.client
import json
import socket
import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

COPIED = ("Txn-Token", "traceparent", "Content-Type")
TIMEOUT_S = 10.0
MAX_BODY_BYTES = 1_048_576


class Handler(BaseHTTPRequestHandler):
    """Answers with what it knows of the request, and what the next hop answered."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1  # head and body in one segment: in two, the second waits 40 ms for the other side's delayed ACK
    name: ClassVar[str]
    next_hop: ClassVar[tuple[str, int, str] | None] = None

    def do_GET(self) -> None:
        """Answer."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._answer(413, {"app": self.name, "error": f"a body has a Content-Length up to {MAX_BODY_BYTES}"})
            return
        body = self.rfile.read(int(length))
        status = 201 if self.command == "POST" else 200
        answer: dict[str, Any] = {
            "app": self.name,
            "request": f"{self.command} {self.path}",
            "body_bytes": len(body),
            "called_by": caller(self.headers.get("X-Forwarded-Client-Cert")),
            "transaction": transaction(self.headers.get("Txn-Token")),
        }
        if self.next_hop is not None:
            next_status, answer["next"] = self._call(*self.next_hop, body)
            status = status if next_status < 400 else next_status
        self._answer(status, answer)

    do_POST = do_DELETE = do_GET  # noqa: N815 - the base class has the names

    def _call(self, host: str, port: int, collection: str, body: bytes) -> tuple[int, Any]:
        fields = {name: value for name in COPIED if (value := self.headers.get(name)) is not None}
        target = "/".join(["", collection, *self.path.split("/")[2:]])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request(self.command, target, body or None, {**fields, "Host": host})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 502, {"error": f"{host} gave no answer: {type(error).__name__}"}
        finally:
            connection.close()

    def _answer(self, status: int, document: Mapping[str, object]) -> None:
        body = json.dumps(document, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def caller(forwarded_client_cert: str | None) -> str | None:
    """Give the SPIFFE ID that the sidecar has proved, out of ``By=...;Hash=...;URI=...``."""
    found = (forwarded_client_cert or "").partition("URI=")[2]
    return found or None


def transaction(token: str | None) -> dict[str, Any] | None:
    """Read what the token says. Here it needs no proof any more: the sidecar lets no other through."""
    if token is None:
        return None
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {name: claims.get(name) for name in ("txn", "sub", "scope")}


def main(arguments: list[str]) -> None:
    """Serve until ended."""
    name, descriptor, *next_hop = arguments
    Handler.name = name
    if next_hop:
        Handler.next_hop = next_hop[0], int(next_hop[1]), next_hop[2]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(descriptor))
    sys.stderr.write(f"{name} serves\n")
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])

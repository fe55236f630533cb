"""A small blocking client for single questions: plain to the egress, mTLS straight to the ingress."""

import hashlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.material import Credential

HOST = "127.0.0.1"
AUTHORITY = "orders"  # what the app calls; the egress knows where it is
TIMEOUT_S = 15.0
PIECE_BYTES = 1 << 20
CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Answer:
    """The status as text, or CLOSED where the connection was refused or ended without an answer."""

    status: str
    body: bytes = b""


class Refused(http.client.HTTPException):
    """Another status than 200, and what came with it."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        super().__init__(f"{response.status} {response.reason}: {body[:200]!r}")


def plain(port: int, receive_buffer: int | None = None) -> http.client.HTTPConnection:
    """A connection to a plain port; a small ``receive_buffer`` keeps the kernel from reading ahead for us."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    connection.sock = socket.socket()
    if receive_buffer is not None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.sock.settimeout(TIMEOUT_S)
    connection.sock.connect((HOST, port))
    return connection


def context(bundle: Path, credential: Credential | None) -> ssl.SSLContext:
    """A client's context; the server's chain is checked, its name is not: this side is no contender."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(bundle)
    if credential is not None:
        made.load_cert_chain(credential.certificate, credential.key)
    return made


def mtls(port: int, bundle: Path, credential: Credential | None) -> http.client.HTTPConnection:
    """A connection to an mTLS port, handshake done."""
    connection = plain(port)
    assert connection.sock is not None  # noqa: S101 - narrows a type, guards nothing
    connection.sock = context(bundle, credential).wrap_socket(connection.sock, server_hostname=AUTHORITY)
    return connection


def ask(
    connection: http.client.HTTPConnection, path: str, token: str | None, more: Mapping[str, str] | None = None
) -> Answer:
    """One GET and its answer; the connection stays open."""
    connection.request("GET", path, headers={**headers(token), **(more or {})})
    response = connection.getresponse()
    return Answer(str(response.status), response.read())


def headers(token: str | None) -> dict[str, str]:
    """The fields of every request: where to, and the transaction's token."""
    return {"Host": AUTHORITY} | ({} if token is None else {"Txn-Token": token})


def download(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[int, str]:
    """GET ``path`` in large pieces. How many bytes came, and their SHA-256."""
    connection.request("GET", path, headers=headers(token))
    response = connection.getresponse()
    digest, total, buffer = hashlib.sha256(), 0, memoryview(bytearray(PIECE_BYTES))
    while count := response.readinto(buffer):
        digest.update(buffer[:count])
        total += count
    return (total if response.status == http.client.OK else 0), digest.hexdigest()


def upload(connection: http.client.HTTPConnection, path: str, token: str, body: bytes) -> int:
    """POST ``body``. How many bytes the sink says it got. Raises ``Refused``."""
    connection.request("POST", path, body=body, headers=headers(token))
    response = connection.getresponse()
    text = response.read()
    if response.status != http.client.OK:
        raise Refused(response, text)
    return int(text)

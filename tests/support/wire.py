"""A client of raw bytes: sends whatever a test wants, and reads answers with a reader of its own.

The reader is strict where truncation could hide: an answer that ends before its framing says so is ``Truncated``.
"""

import contextlib
import json
import socket
from dataclasses import dataclass, field
from typing import Any, Self


class Truncated(AssertionError):
    """The connection ended before the answer was whole."""


@dataclass(slots=True)
class Reply:
    """An answer as a client read it. ``fields`` in order, names in lower case; ``interims`` the 1xx before it."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interims: list["Reply"] = field(default_factory=list)

    def get(self, name: str) -> str:
        """The values of a field, joined as RFC 9110 section 5.3 says."""
        return ", ".join(value for have, value in self.fields if have == name.lower())

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal; empty in an answer of the app."""
        return str(self.json["reason"]) if self.get("content-type") == "application/problem+json" else ""

    @property
    def closes(self) -> bool:
        """Whether it says that the connection ends."""
        return self.get("connection").lower() == "close"


class Wire:
    """One connection."""

    def __init__(self, sock: socket.socket, timeout_s: float = 15.0) -> None:
        self.sock = sock
        sock.settimeout(timeout_s)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self.sock.close()

    def send(self, data: bytes) -> Self:
        """Send bytes as they are."""
        self.sock.sendall(data)
        return self

    def ask(
        self, method: str, target: str, fields: dict[str, str] | None = None, body: bytes = b"", host: str = "orders"
    ) -> Reply:
        """Send one whole request and read its answer."""
        return self.send(request(method, target, fields, body, host)).reply(method)

    # ---- reading

    def _more(self) -> bool:
        piece = self.sock.recv(65536)
        self._buffer += piece
        return bool(piece)

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            if not self._more():
                raise Truncated(f"ended after {self._buffer[:500]!r}")
        found, _, self._buffer = self._buffer.partition(end)
        return found

    def take(self, count: int) -> bytes:
        """Read ``count`` bytes."""
        pieces, have = [self._buffer], len(self._buffer)
        while have < count:
            piece = self.sock.recv(65536)
            if not piece:
                raise Truncated(f"{have} of {count} bytes")
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self._buffer = data[count:]
        return data[:count]

    def head(self) -> Reply:
        """Read one head, also of a 1xx."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = (first + " ").split(" ", 2)
        assert version == "HTTP/1.1", first
        return Reply(int(status), _fields(lines))

    def reply(self, method: str = "GET") -> Reply:
        """Read one answer and the 1xx before it."""
        interims = []
        while (answer := self.head()).status < 200 and answer.status != 101:
            interims.append(answer)
        answer.interims = interims
        if method == "HEAD" or answer.status in {101, 204, 304}:
            return answer
        if answer.get("transfer-encoding") == "chunked":
            self._chunked(answer)
        elif answer.get("content-length"):
            answer.body = self.take(int(answer.get("content-length")))
        else:
            answer.body = self.rest()
        return answer

    def _chunked(self, answer: Reply) -> None:
        pieces = []
        while size := int(self._until(b"\r\n"), 16):
            pieces.append(self.take(size))
            assert self.take(2) == b"\r\n"
        answer.body = b"".join(pieces)
        lines = []
        while line := self._until(b"\r\n"):
            lines.append(line.decode("latin-1"))
        answer.trailers = _fields(lines)

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        with contextlib.suppress(ConnectionError):
            while self._more():
                pass
        data, self._buffer = self._buffer, b""
        return data

    def ends(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        return self.rest() == b""


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    return [(name.lower(), value.strip(" ")) for name, _, value in (line.partition(":") for line in lines)]


def request(
    method: str, target: str, fields: dict[str, str] | None = None, body: bytes = b"", host: str = "orders"
) -> bytes:
    """Write a request; with a body, its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{k}: {v}" for k, v in ({"Host": host} | (fields or {})).items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

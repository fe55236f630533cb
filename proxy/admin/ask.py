"""How a command asks a sidecar on this machine, with nothing but the standard library."""

import argparse
import http.client
import socket
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

MAX_TIMEOUT_S: Final = 86400
_URL_FORM: Final = "must be http://host:port/path"


class NoAnswer(Exception):
    """Nobody answers there; the message says who was asked, and what came instead."""


class NobodyThere(NoAnswer):
    """Nobody listens there: a program that only hangs, or has no room, does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, up to so many bytes."""

    status: int
    body: bytes


class _Hurried(socket.socket):
    """One that waits until a moment, and not so long for each byte."""

    until = 0.0

    def recv_into(self, *args: Any, **named: Any) -> int:
        self.settimeout(max(0.001, self.until - monotonic()))
        return super().recv_into(*args, **named)


def ask(url: SplitResult, timeout_s: float, *, method: str = "GET", max_bytes: int = 65536) -> Answer:
    """Ask once; all of it takes ``timeout_s``. Raises NoAnswer, and NobodyThere where nobody listens."""
    until = monotonic() + timeout_s
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout_s)
    try:
        target = urlunsplit(("", "", url.path or "/", url.query, ""))
        connection.connect()
        connection.sock = hurried = _Hurried(fileno=connection.sock.detach())
        hurried.until = until
        hurried.settimeout(timeout_s)
        connection.request(method, target, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(max_bytes))
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a name or path that cannot be sent
        said = f"no answer from {url.netloc}: {clean(str(error) or type(error).__name__)}"
        raise (NobodyThere if isinstance(error, ConnectionRefusedError) else NoAnswer)(said) from error
    finally:
        connection.close()


def http_url(raw: str) -> SplitResult:
    """Read an option that is a URL."""
    try:
        url = urlsplit(raw)
        port = url.port  # raises where it is no port
    except ValueError as error:
        raise argparse.ArgumentTypeError(_URL_FORM) from error
    if url.scheme != "http" or not url.hostname or port == 0 or "@" in url.netloc:  # a password would be told, not sent
        raise argparse.ArgumentTypeError(_URL_FORM)
    return url


def seconds(raw: str) -> float:
    """Read an option that is a time."""
    try:
        value = float(raw)
    except ValueError:
        value = -1
    if not 0 <= value <= MAX_TIMEOUT_S:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to {MAX_TIMEOUT_S}")
    return value


def clean(text: str) -> str:
    """Keep a terminal from obeying what the other side wrote."""
    return "".join(c if c.isprintable() else "?" for c in text)[:500]

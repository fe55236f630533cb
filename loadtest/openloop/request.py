"""The bytes of each request."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

TOKEN_FIELD = "Txn-Token"  # noqa: S105 - the name of a field
USER_AGENT = "svidecar-openloop"
HTTP_PORT = 80


class BadRequestLine(ValueError):
    """What was asked for cannot be sent as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what to ask for there."""

    host: str
    port: int
    authority: str
    path: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """From an ``http`` URL. Raises BadRequestLine."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise BadRequestLine("the URL must be http://host[:port]/path: the client is the app, which speaks plainly")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _is_text(path) or " " in path:
            raise BadRequestLine("the path holds what a request line may not hold")
        return cls(parts.hostname, parts.port or HTTP_PORT, parts.netloc.rpartition("@")[2], path)


def requests(target: Target, fields: Sequence[str], tokens: Sequence[str] = ()) -> Iterator[bytes]:
    """A GET for ever, each with the next of ``tokens``, from the first again after the last.

    Raises:
        BadRequestLine: a field is not ``Name: value``, or a token holds more than one.

    """
    lines = [_field(line) for line in fields]
    names = {line.partition(":")[0].lower() for line in lines}
    if "host" not in names:
        lines.insert(0, f"Host: {target.authority}")
    if "user-agent" not in names:
        lines.append(f"User-Agent: {USER_AGENT}")
    head = "\r\n".join([f"GET {target.path} HTTP/1.1", *lines]) + "\r\n"
    if not tokens:
        return itertools.repeat(f"{head}\r\n".encode("latin-1"))
    wholes = [f"{head}{_field(f'{TOKEN_FIELD}: {token}')}\r\n\r\n".encode("latin-1") for token in tokens]
    return itertools.cycle(wholes)


def _field(line: str) -> str:
    name, colon, value = line.partition(":")
    if not colon or not name or not _is_text(line) or name != name.strip():
        raise BadRequestLine("a field is one line, 'Name: value'")
    if name.lower() in {"content-length", "transfer-encoding", "connection"}:
        raise BadRequestLine(f"{name}: the client frames its own messages, and keeps its connections")
    return f"{name}: {value.strip()}"


def _is_text(text: str) -> bool:
    return text.isascii() and text.isprintable()

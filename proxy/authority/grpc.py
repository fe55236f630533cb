"""gRPC over HTTP/2, as far as a server of small requests needs it: status codes, framing, percent-encoding. Pure."""

from collections.abc import Sequence
from enum import IntEnum

MAX_REQUEST_BYTES = 64 * 1024
"""Of one request: a JWT-SVID of 16 KB to validate, and audiences."""

PREFIX_BYTES = 5

Headers = Sequence[tuple[str, str]]


class Code(IntEnum):
    """Status codes of gRPC (doc/statuscodes.md)."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class Refused(Exception):
    """A call ends with this status; the message is for people and repeats nothing of the request."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def framed(message: bytes) -> bytes:
    """Write a message with its prefix: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unframed(raw: bytes) -> bytes:
    """Read the one message of a request. Raises Refused."""
    if len(raw) < PREFIX_BYTES:
        raise Refused(Code.INVALID_ARGUMENT, "the request has no message")
    if raw[0]:
        raise Refused(Code.UNIMPLEMENTED, "compressed messages are not read here")
    if int.from_bytes(raw[1:PREFIX_BYTES], "big") != len(raw) - PREFIX_BYTES:
        raise Refused(Code.INVALID_ARGUMENT, "the request is not one whole message")
    return raw[PREFIX_BYTES:]


def path_of(headers: Headers) -> str:
    """Give the path of a call. Raises Refused, also where it is not one of gRPC."""
    known = dict(headers)
    content_type = known.get("content-type", "")
    if known.get(":method") != "POST" or content_type.partition("+")[0].partition(";")[0] != "application/grpc":
        raise Refused(Code.INVALID_ARGUMENT, "this endpoint speaks gRPC")
    return known.get(":path", "")


def trailers(code: Code, message: str = "") -> list[tuple[str, str]]:
    """Write the status that ends a call."""
    found = [("grpc-status", str(int(code)))]
    return [*found, ("grpc-message", _percent_encoded(message))] if message else found


def _percent_encoded(message: str) -> str:
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in message.encode("utf-8")
    )

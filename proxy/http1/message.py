"""The events of a decoder. The data of a body comes as plain ``bytes``, so that the common event costs nothing."""

from typing import Final

UNTIL_CLOSE: Final = -1
"""The length of a response body that only the end of the connection ends (RFC 9112 section 6.3, rule 8)."""

CHUNKED: Final = None
"""The length of a body in the chunked coding: not known before its end."""


class RequestHead:
    """The head of a request whose grammar, framing and target were accepted.

    ``target`` is in origin-form (or ``*``); ``authority`` is the effective one: of the target in absolute-form,
    else of Host; empty only in HTTP/1.0 without Host. ``lines`` are the fields that may be forwarded, each written
    anew as ``name: value``. ``held`` are the fields on which a step of ours decides, by lower-case name. ``length``:
    0 for no body, a count of bytes, or ``CHUNKED``.
    """

    __slots__ = ("authority", "held", "keep_alive", "length", "lines", "method", "target", "version")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes,
        version: int,
        lines: list[bytes],
        held: dict[bytes, list[bytes]],
    ) -> None:
        self.method = method
        self.target = target
        self.authority = authority
        self.version = version
        self.lines = lines
        self.held = held
        self.length: int | None = 0
        self.keep_alive = True

    def __repr__(self) -> str:
        return f"RequestHead({self.method!r}, length={self.length})"


class ResponseHead:
    """The head of a response, as ``RequestHead``. An interim response has a status below 200 and no body.

    ``first_line`` is the status line written anew, in our own version. A head may be given out more than once (see
    ``head.ANSWERS``), so nobody changes it; ``plain`` is where its reader keeps it written out.
    """

    __slots__ = ("first_line", "held", "keep_alive", "length", "lines", "plain", "status", "version")

    def __init__(
        self, status: int, first_line: bytes, version: int, lines: list[bytes], held: dict[bytes, list[bytes]]
    ) -> None:
        self.status = status
        self.first_line = first_line
        self.plain: bytes | None = None
        self.version = version
        self.lines = lines
        self.held = held
        self.length: int | None = 0
        self.keep_alive = True

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, length={self.length})"


class EndOfMessage:
    """The end of a body, with the trailers that may be forwarded, each as ``name: value``."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: tuple[bytes, ...] = ()) -> None:
        self.trailers = trailers


END: Final = EndOfMessage()
"""The end of a message without trailers: nearly every one."""

RequestEvent = RequestHead | bytes | EndOfMessage
ResponseEvent = ResponseHead | bytes | EndOfMessage

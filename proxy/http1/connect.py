"""The one message of a connection that becomes a tunnel: ``CONNECT host:port`` (RFC 9110 section 9.3.6), and no more.

It is stricter than the RFC where two readers might differ. Nothing may come behind the head before it is answered: what
was sent in the hope of a tunnel would be a request where the tunnel is refused (specs 6.7), and whoever refuses closes,
so that nobody reads on. No body, no framing of one, no upgrade, no expectation. ``Host`` says what the target says.
"""

import re
from typing import Final

from proxy.errors import BadFraming, BadHost, BadRequest, BadVersion, MethodRefused, TargetTooLong
from proxy.http1.decoder import RequestDecoder
from proxy.http1.framing import connection_options
from proxy.http1.grammar import TOKEN, is_authority
from proxy.http1.head import METHOD_BYTES, read_fields
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead

_WITH_PORT: Final = re.compile(rb".*:[0-9]{1,5}", re.DOTALL)
_FORBIDDEN: Final = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")


class ConnectDecoder(RequestDecoder):
    """Reads the head of one CONNECT."""

    __slots__ = ("_read",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._read = False

    def next_event(self) -> RequestHead | None:
        """Give the head once, or None when more bytes are needed.

        Raises:
            BadMessage: refused; the connection must end after the answer.

        """
        if self._read:
            if self._buffer:
                raise BadFraming("bytes came before CONNECT was answered")
            return None
        if not self._buffer:
            return None
        raw = self._take_head()
        if raw is None:
            self._doubt()
            return None
        head = read_connect(raw[:-4].split(b"\r\n"), self._limits)
        self._read = True
        if self._buffer:
            raise BadFraming("bytes came before CONNECT was answered")
        return head

    def _doubt(self) -> None:
        """Refuse at once what does not begin as CONNECT."""
        begin = self._buffer[: METHOD_BYTES + 1]
        method = begin.partition(b" ")[0]
        if method != begin or not b"CONNECT".startswith(method):
            _check_method(method)
        if len(self._buffer) > len(b"CONNECT ") + self._limits.target_bytes and b"\r\n" not in self._buffer:
            raise TargetTooLong(f"the target is longer than {self._limits.target_bytes} bytes")


def read_connect(rows: list[bytes], limits: Limits) -> RequestHead:
    """Read a head that was split at its CRLF pairs, without the two at its end.

    Raises:
        MethodRefused: another method. BadMessage: every other class of it, as its name says.

    """
    words = rows[0].split(b" ")
    _check_method(words[0])
    if len(words) != 3:
        raise BadRequest("the request line is not three words with one space between")
    if words[2] != b"HTTP/1.1":
        raise BadVersion("a tunnel is opened with HTTP/1.1")
    target = words[1]
    if len(target) > limits.target_bytes:
        raise TargetTooLong(f"the target is longer than {limits.target_bytes} bytes")
    if not is_authority(target) or not _WITH_PORT.fullmatch(target):
        raise BadHost("the target of CONNECT is host:port, and nothing else")
    lines, held = read_fields(rows, limits)
    if held.get(b"host") != [target]:
        raise BadHost("CONNECT needs one Host, and it says what the target says")
    if any(name in held for name in _FORBIDDEN):
        raise BadFraming("CONNECT has no body, no expectation and no upgrade")
    connection_options(held)
    return RequestHead(b"CONNECT", target, target, 1, lines, held)


def _check_method(method: bytes) -> None:
    if method == b"CONNECT":
        return
    if not method or len(method) > METHOD_BYTES or not TOKEN.fullmatch(method):
        raise BadRequest("the request line does not begin with a method")
    raise MethodRefused("raw TCP is carried here: the only method is CONNECT")

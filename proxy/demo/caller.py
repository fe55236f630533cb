"""A caller of raw HTTP/1.1, plain or over mTLS: it sends what no proper client would, and tells what came back."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proxy.authority.state import KEY, SVID
from proxy.errors import UpstreamBadResponse
from proxy.http1.decoder import ResponseDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import EndOfMessage, ResponseHead

ANSWER_S = 5.0
"""For one whole answer. The slowest takes a tenth of a second."""

_PIECE_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer. ``reason``: why it is a refusal, as the sidecar told the caller."""

    status: int
    body: bytes
    reason: str | None = None


def peer_context(folder: Path, bundle: Path) -> ssl.SSLContext:
    """Make the TLS side of a workload out of the folder that has its SVID."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # SPIFFE names workloads, not hosts
    context.load_verify_locations(bundle)
    context.load_cert_chain(folder / SVID, folder / KEY)
    return context


def request(method: str, target: str, host: str, fields: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Write a request. A field may stand in it twice, as in an attack."""
    own = [("Host", host), *fields, ("Connection", "close")]
    if body:
        own += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in own)]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


async def ask(port: int, raw: bytes, context: ssl.SSLContext | None = None) -> Answer | None:
    """Send a request to a port of this machine; None where the connection ended without an answer.

    Raises:
        TimeoutError: neither an answer nor an end came in ``ANSWER_S``.

    """
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await _exchange(port, raw, context)
    except (ConnectionError, ssl.SSLError, UpstreamBadResponse):
        return None
    return answer


async def _exchange(port: int, raw: bytes, context: ssl.SSLContext | None) -> Answer | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(raw)
        await writer.drain()
        return await _read(reader, raw.partition(b" ")[0])
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # it ended as it did
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, method: bytes) -> Answer | None:
    decoder = ResponseDecoder(Limits())
    decoder.expect(method)
    head: ResponseHead | None = None
    pieces: list[bytes] = []
    while piece := await reader.read(_PIECE_BYTES):
        decoder.receive(piece)
        while (event := decoder.next_event()) is not None:
            if isinstance(event, ResponseHead):
                head = event
            elif isinstance(event, bytes):
                pieces.append(event)
            if isinstance(event, EndOfMessage) or (head is not None and head.length == 0):
                return _answer(head, b"".join(pieces))
    decoder.receive_eof()
    return _answer(head, b"".join(pieces))


def _answer(head: ResponseHead | None, body: bytes) -> Answer | None:
    if head is None:
        return None
    is_problem = b"Content-Type: application/problem+json" in head.lines
    reason = str(json.loads(body).get("reason")) if is_problem else None
    return Answer(status=head.status, body=body, reason=reason)

"""The access log: one line of JSON for each request, and for each connection that was refused.

It says who called whom in which transaction, and what was decided; never a token, a path or a subject. The hot path
only appends to a queue; lines are made and written afterwards, a few at a time. A reader that is too slow costs
lines, which are counted, and never a request. Somebody may look on as well, log or not (``tap.py``).
"""

import asyncio
import json
import logging
from collections import deque
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Literal, NamedTuple

from proxy.errors import ConfigInvalid
from proxy.observe.catalog import METHODS, OTHER_METHOD, Decision, Direction
from proxy.observe.cells import Counter
from proxy.observe.settings import AccessLogSettings
from proxy.observe.sink import PIPE_BUF, Sink
from proxy.observe.tap import Tap

MAX_QUEUED: Final = 4096
"""Records that wait: half a second at 8000 requests/s, and some 2 MB."""

FLUSH_S: Final = 0.05
"""How long a record waits for others to share its write."""

BATCH: Final = 64
"""Records that are made into lines at a time: half a millisecond of the loop."""

CLOSE_S: Final = 1.0
"""How long the end of the sidecar waits for a slow reader."""

MAX_VALUE: Final = 2048
"""Characters of one value: the longest SPIFFE ID. A longer value (a ``txn`` may be anything) is cut."""

DIGEST_DIGITS: Final = 16
"""Enough of a token's SHA-256 to find it again, too little to be mistaken for it."""

_log = logging.getLogger(__name__)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
"""Pure ASCII: no control character, line separator or lone surrogate of a value reaches the reader or the terminal."""


RecordKind = Literal["request", "connection", "tunnel"]
"""A tunnel has two records: that it was asked for, and, when it ends, what it carried."""


class AccessRecord(NamedTuple):
    """What is logged, in the order of the line; None is left out. A tuple, for it is made on the request path."""

    time: float  # seconds since 1970
    kind: RecordKind
    direction: Direction
    decision: Decision
    reason: str = ""
    rule: str | None = None
    peer: str | None = None  # SPIFFE ID
    local: str | None = None  # SPIFFE ID
    txn: str | None = None  # of a verified token only
    token_sha256: str | None = None  # the first digits are logged
    actor: str | None = None  # who acts in the transaction, where it is not the subject
    through: tuple[str, ...] | None = None  # through whom, the nearest first
    subject_sha256: str | None = None  # for whom: the first digits; only where another acts
    trace_id: bytes | None = None
    method: bytes | None = None  # one that is not known is logged as _OTHER
    route: str | None = None  # the template of the rule, never the path
    destination: str | None = None  # as configured
    status: int | None = None  # 0, too, is left out: no answer was sent
    duration_s: float | None = None
    overhead_s: float | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None


def line(record: AccessRecord, service: str) -> bytes:
    """Make the line, with its end."""
    shown = {name: _shown(value) for name, value in zip(record._fields, record, strict=True) if value is not None}
    at = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds")
    shown["time"] = at.removesuffix("+00:00") + "Z"
    shown["service"] = service
    if record.method is not None:
        shown["method"] = METHODS.get(record.method, OTHER_METHOD)
    if record.status == 0:
        del shown["status"]
    if record.token_sha256 is not None:
        shown["token_sha256"] = record.token_sha256[:DIGEST_DIGITS]
    if record.subject_sha256 is not None:
        shown["subject_sha256"] = record.subject_sha256[:DIGEST_DIGITS]
    return _encode(shown).encode() + b"\n"


def _shown(value: str | bytes | float | tuple[str, ...]) -> str | float | list[str]:
    if isinstance(value, tuple):
        return [one[:MAX_VALUE] for one in value]
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        return value[:MAX_VALUE]
    return round(value, 6)  # microseconds; a count stays what it is


class AccessLog:
    """The log of one loop. Ask ``enabled`` before making a record; ``close`` writes what waits."""

    __slots__ = (
        "_chunk",
        "_dropped",
        "_handle",
        "_lines",
        "_loop",
        "_mid_line",
        "_records",
        "_service",
        "_sink",
        "_warned",
        "tap",
    )

    def __init__(
        self, settings: AccessLogSettings, service: str, loop: asyncio.AbstractEventLoop, dropped: Counter
    ) -> None:
        """Open it.

        Raises:
            ConfigInvalid: the file cannot be opened.

        """
        try:
            self._sink = None if settings.path == "off" else Sink(settings.path)
        except OSError as error:
            raise ConfigInvalid(
                f"access_log.path: the file cannot be opened for appending: {error.strerror}"
            ) from error
        self.tap: Tap[AccessRecord] = Tap(loop)
        self._service = service
        self._loop = loop
        self._dropped = dropped
        self._records: deque[AccessRecord] = deque()
        self._lines: deque[bytes] = deque()  # made, but not in a chunk yet
        self._chunk = b""  # in writing
        self._mid_line = False
        self._warned = False
        self._handle: asyncio.TimerHandle | None = None

    @property
    def enabled(self) -> bool:
        """Whether records are wanted."""
        return self._sink is not None or self.tap.is_open

    def write(self, record: AccessRecord) -> None:
        """Queue it, or count it as dropped where too many wait."""
        if self.tap.is_open:
            self.tap.put(record)
        if self._sink is None:
            return
        if len(self._records) >= MAX_QUEUED:
            self._dropped.inc()
            return
        self._records.append(record)
        if self._handle is None:
            self._handle = self._loop.call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._handle = None
        if self._sink is not None:
            is_ready = self._send(self._sink)
            if self._waiting():
                self._handle = self._loop.call_later(0 if is_ready else FLUSH_S, self._flush)

    def _waiting(self) -> int:
        return len(self._records) + len(self._lines) + self._chunk.count(b"\n")

    def _send(self, sink: Sink) -> bool:
        """Make and write at most ``BATCH`` records; False if the reader has to be waited for."""
        while self._records and len(self._lines) < BATCH:
            self._lines.append(line(self._records.popleft(), self._service))
        while self._chunk or self._lines:
            self._chunk = self._chunk or self._pack()
            try:
                taken = sink.write(self._chunk)
            except OSError as error:
                self._lose(error)
                continue
            if not taken:
                return False
            self._mid_line = self._chunk[taken - 1 : taken] != b"\n"
            self._chunk = self._chunk[taken:]
        return True

    def _pack(self) -> bytes:
        """Join whole lines as far as one write goes; one line alone may be longer."""
        lines = [b"\n"] if self._mid_line else []  # the rest of a line was lost
        size = len(lines)
        while self._lines and (size <= 1 or size + len(self._lines[0]) <= PIPE_BUF):
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return b"".join(lines)

    def _lose(self, error: OSError) -> None:
        self._dropped.inc(max(1, self._chunk.count(b"\n")))
        self._chunk = b""
        if not self._warned:
            self._warned = True
            _log.warning("access log cannot be written, its lines are dropped: %s", error.strerror)

    def reopen(self) -> None:
        """Write what waits to the old file, then open the path anew (SIGHUP). A failure is logged, the old one kept."""
        if self._sink is None:
            return
        while self._waiting() and self._send(self._sink):
            pass
        try:
            self._sink.reopen()
            self._mid_line = self._warned = False
        except OSError as error:
            _log.error("access log cannot be opened again, the old file is kept: %s", error.strerror)

    def close(self) -> None:
        """Write what waits, for at most ``CLOSE_S``, and end; what is left is counted as dropped."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        sink, self._sink = self._sink, None
        if sink is None:
            return
        until = monotonic() + CLOSE_S
        while self._waiting() and monotonic() < until:
            if not self._send(sink):
                sink.is_ready(max(0.0, until - monotonic()))
        self._dropped.inc(self._waiting())
        sink.close()

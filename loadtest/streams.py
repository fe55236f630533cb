"""10 MB bodies through both proxies: CPU per gigabyte, and the peak of memory, also when the other side stops reading.

Connections run side by side in threads of the harness: a blocking read of a megabyte holds no lock of Python's.
"""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import OK, HTTPConnection, HTTPException

from loadtest import backend, client, kernel
from loadtest.sink import STALL_S
from loadtest.stage import Running

CONNECTIONS = 4
STALLED_BUFFER_BYTES = 65536
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Bytes moved and what each side used for them. Memory in MB: in no file, at rest and at its peak on the way.

    Which code a process has run lately says nothing of what it holds.
    """

    kind: str
    bytes: int
    expected_bytes: int
    seconds: float
    cpu_s: dict[str, float]
    rest_mb: dict[str, float]
    peak_mb: dict[str, float]
    failures: tuple[str, ...] = ()
    """What broke, and after how many seconds: a line for each stream that did."""

    @property
    def bad(self) -> str:
        """Why these figures may not be used; empty where they may."""
        if self.bytes == self.expected_bytes:
            return ""
        return "; ".join((f"{self.kind}: {self.bytes} of {self.expected_bytes} bytes", *self.failures))

    @property
    def cpu_s_per_gb(self) -> dict[str, float]:
        """Seconds of CPU for 10^9 bytes, each side."""
        return {side: cpu / max(self.bytes, 1) * GB for side, cpu in self.cpu_s.items()}

    @property
    def above_rest_mb(self) -> dict[str, float]:
        """How far that memory rose above what the process holds at rest."""
        return {side: peak - self.rest_mb[side] for side, peak in self.peak_mb.items()}


def joined(before: Stream | None, stream: Stream) -> Stream:
    """Two measurements of one kind as one: sums, and the higher peak."""
    if before is None:
        return stream
    return replace(
        stream,
        bytes=before.bytes + stream.bytes,
        expected_bytes=before.expected_bytes + stream.expected_bytes,
        seconds=before.seconds + stream.seconds,
        cpu_s={side: cpu + before.cpu_s[side] for side, cpu in stream.cpu_s.items()},
        peak_mb={side: max(peak, before.peak_mb[side]) for side, peak in stream.peak_mb.items()},
        failures=before.failures + stream.failures,
    )


def download(pair: Running, rest: dict[str, float]) -> Stream:
    """Every connection fetches the large file."""

    def one() -> int:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            return _fetch(connection, backend.LARGE, pair.material.token)

    return _measure(pair, rest, "download", one, backend.LARGE_BYTES)


def upload(pair: Running, rest: dict[str, float]) -> Stream:
    """Every connection sends the large body."""
    body = backend.large_body()

    def one() -> int:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            return client.upload(connection, backend.UPLOAD, pair.material.token, body)

    return _measure(pair, rest, "upload", one, backend.LARGE_BYTES)


def stalled_reader(pair: Running, rest: dict[str, float]) -> Stream:
    """Every connection asks for the huge file and does not read for a while."""

    def one() -> int:
        with contextlib.closing(client.plain(pair.ports.egress, STALLED_BUFFER_BYTES)) as connection:
            return _fetch(connection, backend.HUGE, pair.material.token, pause_s=STALL_S)

    return _measure(pair, rest, "stalled reader", one, backend.HUGE_BYTES)


def stalled_app(pair: Running, rest: dict[str, float]) -> Stream:
    """Every connection sends a huge body to an app that does not read for a while."""
    body = bytes(backend.HUGE_BYTES)

    def one() -> int:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            return client.upload(connection, backend.STALLED_UPLOAD, pair.material.token, body)

    return _measure(pair, rest, "stalled app", one, backend.HUGE_BYTES)


def _fetch(connection: HTTPConnection, path: str, token: str, pause_s: float = 0.0) -> int:
    """GET without looking at the bytes: how many came."""
    connection.request("GET", path, headers=client.headers(token))
    response = connection.getresponse()
    time.sleep(pause_s)
    total, buffer = 0, memoryview(bytearray(client.PIECE_BYTES))
    while count := response.readinto(buffer):
        total += count
    if response.status != OK:
        raise client.Refused(response, bytes(buffer[:total]))
    return total


def _measure(pair: Running, rest: dict[str, float], kind: str, one: Callable[[], int], bytes_each: int) -> Stream:
    leaders = {side: process.pid for side, process in pair.sides.items()}
    cpu = {side: kernel.cpu_s(process.pid) for side, process in pair.sides.items()}
    began = time.monotonic()
    with kernel.anonymous_peaks(leaders) as peaks, ThreadPoolExecutor(CONNECTIONS) as pool:
        moved = list(pool.map(lambda _: _bytes_of(one), range(CONNECTIONS)))
    seconds = time.monotonic() - began
    return Stream(
        kind=kind,
        bytes=sum(count for count, _ in moved),
        expected_bytes=CONNECTIONS * bytes_each,
        seconds=seconds,
        cpu_s={side: kernel.cpu_s(process.pid) - cpu[side] for side, process in pair.sides.items()},
        rest_mb=rest,
        peak_mb=peaks,
        failures=tuple(failure for _, failure in moved if failure),
    )


def _bytes_of(one: Callable[[], int]) -> tuple[int, str]:
    """How many bytes it moved; a broken stream counts as none, and why it broke."""
    began = time.monotonic()
    try:
        return one(), ""
    except (OSError, HTTPException) as broken:
        return 0, f"{type(broken).__name__} after {time.monotonic() - began:.3f} s: {broken}"

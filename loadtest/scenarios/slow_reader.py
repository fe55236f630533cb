"""``python -m loadtest.scenarios.slow_reader``: readers that take 64 KiB a second of 10 MB each, and everybody else.

What a reader does not take must wait in the kernel and at the app, not in the sidecars: their memory is bounded for
each reader, and does not grow while they read on. Other callers, at a fixed rate, must not wait for them.
"""

import argparse
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from loadtest import backend, client, kernel
from loadtest.openloop.account import Report
from loadtest.scenarios import ground
from loadtest.scenarios.watch import HEAD, Watch, descriptors
from loadtest.stage import Running

READERS = 64
SECONDS = 20
BYTES_PER_S = 64 * 1024
BEATS_PER_S = 5  # each reader takes a piece so often
RECEIVE_BUFFER_BYTES = 32 * 1024  # so that the kernel does not read ahead for us
RATE, CONNECTIONS = 200.0, 8
SETTLE_S, SETTLE_MOST_S = 3.0, 20.0  # memory is still for so long: every buffer is full; who still grows is then caught
STILL_MB = 0.2
EACH_MB = 0.8
"""Of resident memory for each reader and side: 256 KiB that may wait to be written, the piece with which that is
passed, a TLS connection's buffers of 192 KiB, and the state of two connections. Envoy lets 1 MiB wait by default.
"""
GROWTH_BYTES_PER_S = 400_000.0
"""For all readers together, a tenth of what they take: a sidecar that reads ahead of them would take the app's pace."""
LEFT = 2 * CONNECTIONS  # descriptors more than before, once the readers have gone: connections that others keep
GONE_S = 2.0


class Readers:
    """They ask for the large file and take it slowly, in a thread of their own."""

    def __init__(self, pair: Running, count: int) -> None:
        self._connections = [client.plain(pair.ports.egress, RECEIVE_BUFFER_BYTES) for _ in range(count)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._token = pair.material.token
        self.taken = [0] * count
        self.ended = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """For the block; then they go away in the middle."""
        for connection in self._connections:
            connection.request("GET", backend.LARGE, headers=client.headers(self._token))
        self._thread.start()
        try:
            yield
        finally:
            self._done.set()
            self._thread.join()
            for connection in self._connections:
                connection.close()

    def _read(self) -> None:
        piece = BYTES_PER_S // BEATS_PER_S
        while not self._done.wait(1 / BEATS_PER_S):
            for number, connection in enumerate(self._connections):
                self._take(number, connection.sock, piece)

    def _take(self, number: int, sock: socket.socket, piece: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = sock.recv(piece, socket.MSG_DONTWAIT)
            self.taken[number] += len(data)
            self.ended += not data


def main() -> int:
    """0: memory is bounded, every reader moves on, and nobody else is lost. 1: not so."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.slow_reader", description=__doc__)
    parser.add_argument("--readers", type=ground.count, default=READERS, help=f"at once ({READERS})")
    parser.add_argument("--seconds", type=ground.count, default=SECONDS, help=f"of reading ({SECONDS})")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    with ground.standing(options.keep) as pair:
        alone = _others(pair, options.seconds)
        rest = {side: kernel.memory(process.pid).rss for side, process in pair.sides.items()}
        open_before = {side: descriptors(process.pid) for side, process in pair.sides.items()}
        for process in pair.sides.values():
            kernel.reset_peak(process.pid)
        readers, watch = Readers(pair, options.readers), Watch(pair)
        with readers.reading():
            _settle(pair)
            beside = _watched(pair, options.seconds, watch)
        peak = {side: kernel.memory(process.pid).peak for side, process in pair.sides.items()}
        time.sleep(GONE_S)
        left = {side: descriptors(process.pid) - open_before[side] for side, process in pair.sides.items()}
        each = {side: (peak[side] - rest[side]) / options.readers for side in peak}
    growths = watch.growth(bytes_bound=GROWTH_BYTES_PER_S)
    held = [("", "at rest", "peak", "for each reader", "bound")]
    held += [(side, f"{rest[side]:.1f}", f"{peak[side]:.1f}", f"{each[side]:.3f}", f"{EACH_MB}") for side in peak]
    problems = [
        f"{side}: {mb:.2f} MB for each reader, at most {EACH_MB} are allowed"
        for side, mb in each.items()
        if mb > EACH_MB
    ]
    problems += [problem for growth in growths for problem in growth.problem("seconds")]
    problems += [f"{side}: {count} descriptors stay behind" for side, count in left.items() if count > LEFT]
    problems += [f"{readers.ended} readers were cut off"] if readers.ended else []
    problems += [f"{readers.taken.count(0)} readers got nothing"] if 0 in readers.taken else []
    problems += [
        f"others, {name}: {report.errors}" for name, report in (("before", alone), ("beside", beside)) if report.errors
    ]
    figures = {"readers": options.readers, "taken_bytes": sum(readers.taken), "rest_mb": rest, "peak_mb": peak}
    return ground.Outcome(
        tables=(
            (f"Resident MB with {options.readers} readers, who took {sum(readers.taken) / 1e6:.1f} MB", held),
            ("Growth for each second of reading", [HEAD, *(growth.row() for growth in growths)]),
            (f"Others meanwhile, {RATE:g} requests a second", _latencies(alone, beside)),
        ),
        figures={**figures, "slopes": [asdict(g) for g in growths], "alone": alone.figures, "beside": beside.figures},
        problems=problems,
    )


def _settle(pair: Running) -> None:
    """Until every buffer on the way is full."""
    began = still_since = time.monotonic()
    before = 0.0
    while (now := time.monotonic()) - still_since < SETTLE_S and now - began < SETTLE_MOST_S:
        held = sum(kernel.memory(process.pid).rss for process in pair.sides.values())
        if held > before + STILL_MB:
            before, still_since = held, now
        time.sleep(SETTLE_S / 10)


def _others(pair: Running, seconds: float) -> Report:
    return ground.fixed_rate(pair, rate=RATE, connections=CONNECTIONS, seconds=seconds)


def _watched(pair: Running, seconds: int, watch: Watch) -> Report:
    """The same, and a look at the memory in every second."""
    done = threading.Event()

    def look() -> None:
        began = time.monotonic()
        while not done.wait(0.5):
            watch.look(time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        return _others(pair, seconds)
    finally:
        done.set()
        thread.join()


def _latencies(alone: Report, beside: Report) -> list[tuple[str, ...]]:
    names = ("p50", "p90", "p99", "max")
    rows: list[tuple[str, ...]] = [("latency ms", *names, "errors", "client")]
    for title, report in (("before the readers", alone), ("beside them", beside)):
        percentiles: dict[str, Any] = report.figures["percentiles_ms"]
        cells = ["-" if percentiles[name] is None else f"{percentiles[name]:.2f}" for name in names]
        rows.append((title, *cells, str(sum(report.errors.values())), report.bad or "kept its rate"))
    return rows


if __name__ == "__main__":
    sys.exit(main())

"""``python -m loadtest.scenarios.short_connections``: new mTLS connections as fast as they come, some broken off.

Each does a handshake without resumption, asks once and goes. One in ten goes otherwise: after the handshake without a
word, in the middle of it, in the middle of an answer, or without a certificate. A leak likes those ways out best.
"""

import argparse
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from loadtest import backend, client, kernel
from loadtest.material import Material
from loadtest.scenarios import ground
from loadtest.scenarios.watch import HEAD, Watch
from loadtest.stage import Running

CONNECTIONS = 15_000
SAMPLES = 50
WARM_UP = 0.2  # of the connections, before the first sample
AT_ONCE = 16
TIMEOUT_S = 15.0
BYTES = 500.0
"""A TLS connection's state is 30 000 bytes; one connection in sixty that stays behind is seen. 7.5 MB in 15 000."""
DESCRIPTORS = 0.001
LEFT = 2.0  # connections that the sidecar may still count a moment after the last
SETTLE_S = 2.0
HELLO_BYTES = 200  # of a ClientHello, which has some 300: enough that the server waits for more
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close sends a reset."""


class Caller:
    """Opens a connection in one of several ways, and says how it went."""

    def __init__(self, port: int, material: Material) -> None:
        self._address = (client.HOST, port)
        self._known = client.context(material.bundle, material.edge)
        self._nobody = client.context(material.bundle, None)
        lines = "".join(f"{name}: {value}\r\n" for name, value in client.headers(material.token).items())
        self._ask = f"GET {backend.SMALL} HTTP/1.1\r\n{lines}\r\n".encode()
        self._large = f"GET {backend.LARGE} HTTP/1.1\r\n{lines}\r\n".encode()
        self.ways: tuple[tuple[str, Callable[[], str]], ...] = (
            *[("answered", self.asks)] * 36,
            ("said nothing", self.says_nothing),
            ("stopped in the handshake", self.stops_in_the_handshake),
            ("stopped in an answer", self.stops_in_an_answer),
            ("refused without a certificate", self.has_no_certificate),
        )
        """In turn: what should come of it, and how it is done."""

    def expected(self, connections: int) -> Counter[str]:
        """What should come of so many."""
        return Counter(self.ways[number % len(self.ways)][0] for number in range(connections))

    def call(self, number: int) -> str:
        """What came of connection ``number``."""
        try:
            return self.ways[number % len(self.ways)][1]()
        except (OSError, ValueError) as error:
            return f"failed: {type(error).__name__}"

    def _tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        raw = socket.create_connection(self._address, timeout=TIMEOUT_S)
        try:
            return context.wrap_socket(raw, server_hostname=client.AUTHORITY)
        except BaseException:
            raw.close()
            raise

    def asks(self) -> str:
        """One request, one answer."""
        with self._tls(self._known) as secured:
            secured.sendall(self._ask)
            answer = secured.recv(65536)
            while answer and not answer.endswith(b"."):  # as the backend's small body does
                if not (more := secured.recv(65536)):
                    break
                answer += more
            return "answered" if answer.startswith(b"HTTP/1.1 200") else "refused"

    def says_nothing(self) -> str:
        """The handshake, and the end."""
        with self._tls(self._known):
            return "said nothing"

    def stops_in_an_answer(self) -> str:
        """It asks for 10 MB, reads the beginning, and resets the connection."""
        with self._tls(self._known) as secured:
            secured.sendall(self._large)
            secured.recv(1000)
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return "stopped in an answer"

    def stops_in_the_handshake(self) -> str:
        """A part of a ClientHello, and a reset."""
        hello = ssl.MemoryBIO()
        tls = self._known.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=client.AUTHORITY)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            with socket.create_connection(self._address, timeout=TIMEOUT_S) as raw:
                raw.sendall(hello.read()[:HELLO_BYTES])
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return "stopped in the handshake"

    def has_no_certificate(self) -> str:
        """It must be refused."""
        try:
            with self._tls(self._nobody) as secured:  # in TLS 1.3 the refusal comes after our side is done
                secured.sendall(self._ask)
                return "LET IN without a certificate" if secured.recv(1000) else "refused without a certificate"
        except OSError:
            return "refused without a certificate"


def main() -> int:
    """0: all were served or refused as they should be, and nothing stays behind. 1: not so."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.short_connections", description=__doc__)
    parser.add_argument("--connections", type=ground.count, default=CONNECTIONS, help=f"({CONNECTIONS})")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    with ground.standing(options.keep) as pair:
        watch, ways = Watch(pair, ["ingress"]), Counter[str]()
        before = _counted(pair)
        seconds, cpu_s = _storm(pair, options.connections, watch, ways)
        time.sleep(SETTLE_S)
        left = _counted(pair) - before
        expected = Caller(pair.ports.ingress, pair.material).expected(options.connections)
    growths = watch.growth(bytes_bound=BYTES, descriptors_bound=DESCRIPTORS)
    figures = {
        "connections": options.connections,
        "per_s": options.connections / seconds,
        "ingress_ms_each": cpu_s / options.connections * 1e3,
        "still_open": left,
    }
    outcomes = [("", "expected", "seen")]
    outcomes += [(way, str(expected[way]), str(ways[way])) for way in sorted(expected | ways)]
    problems = [problem for growth in growths for problem in growth.problem("connections")]
    problems += [
        f"{way}: {ways[way]}, expected {expected[way]}" for way in expected | ways if ways[way] != expected[way]
    ]
    problems += [f"{left:.0f} connections are still counted as open"] if left > LEFT else []
    return ground.Outcome(
        tables=(
            ("Short mTLS connections to the ingress", [tuple(figures), tuple(f"{n:.4g}" for n in figures.values())]),
            ("By the way they went", outcomes),
            ("What each leaves behind", [HEAD, *(growth.row() for growth in growths)]),
        ),
        figures={**figures, "outcomes": dict(ways), "slopes": [asdict(g) for g in growths], "samples": watch.data()},
        problems=problems,
    )


def _storm(pair: Running, connections: int, watch: Watch, ways: Counter[str]) -> tuple[float, float]:
    """Open them all, and look in between. How long it took, and the CPU that the ingress spent."""
    caller = Caller(pair.ports.ingress, pair.material)
    first = round(connections * WARM_UP)
    ends = sorted({first + round((connections - first) * n / SAMPLES) for n in range(SAMPLES + 1)})
    seconds, done, cpu_s = 0.0, 0, kernel.cpu_s(pair.ingress.pid)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, end in enumerate(ends):
            began = time.monotonic()
            ways.update(pool.map(caller.call, range(done, end)))
            seconds += time.monotonic() - began
            done = end
            watch.look(done)
            if number % 10 == 0:
                ground.say(f"{done} of {connections} connections")
    return seconds, kernel.cpu_s(pair.ingress.pid) - cpu_s


def _counted(pair: Running) -> float:
    """The connections from the mesh that the ingress says are open."""
    return ground.metric(pair, "ingress", "svidecar_connections", 'direction="inbound"')


if __name__ == "__main__":
    sys.exit(main())

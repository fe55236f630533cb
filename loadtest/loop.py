"""The forwarding loop alone: both directions over transports that only count, so that a microsecond of Python shows.

    python -m loadtest.loop [--rules N] [--profile] [--audit]

It drives the real connections, codec, policy and token cache with real bytes; what is missing is the kernel, TLS and
the event loop. Use it before and after a change of the hot path, then ``python -m loadtest`` for the truth.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.material import make
from proxy.app import Sidecar
from proxy.config.load import load_text
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import InboundConnection
from proxy.flow.outbound import OutboundConnection
from proxy.http1.limits import Limits
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.grant import admit
from proxy.upstream.connection import Upstream
from proxy.upstream.pool import Pool

ROUNDS = 100
REQUESTS = 200  # a few milliseconds: short enough to fall between two turns of whatever else runs
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 16:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 130\r\nConnection: keep-alive\r\n\r\n" + b"x" * 130
)


class Nowhere(asyncio.Transport):
    """A transport that takes bytes and sends them nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: Any) -> None:
        """Take bytes."""
        self.last = data

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits here."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - the base class's signature
        """Nothing is known."""
        return default


def _upstream(pool: Pool, clock: Callable[[], float]) -> Upstream:
    upstream = Upstream(Limits())
    upstream.connection_made(Nowhere())
    upstream.idle_until = clock() + 3600
    pool.ledger.opening()
    pool.ledger.take_back(upstream)
    return upstream


def _time(connection: Downstream, upstream: Upstream, request: bytes) -> Callable[[], None]:
    def one() -> None:
        connection.data_received(request)
        upstream.data_received(ANSWER)

    one()
    sent = connection.transport.last  # type: ignore[attr-defined]  # it is a Nowhere
    if not sent.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the loop refused: {sent[:300]!r}")
    return one


def _yardstick() -> None:
    """Work of the same kind that never changes: the machine is faster or slower from second to second."""
    table: dict[bytes, bytes] = {}
    for row in ANSWER.split(b"\r\n"):
        name, _, value = row.partition(b":")
        table[name.lower()] = value.strip(b" ")
    b"\r\n".join(name + b": " + value for name, value in table.items())


def _seconds(one: Callable[[], None]) -> float:
    started = time.thread_time()
    for _ in range(REQUESTS):
        one()
    return time.thread_time() - started


def measure(one: Callable[[], None]) -> tuple[float, float]:
    """Give the fewest microseconds of an exchange, and the median of its ratio to the yardstick's."""
    pairs = [(_seconds(one), _seconds(_yardstick)) for _ in range(ROUNDS)]
    return min(pair[0] for pair in pairs) / REQUESTS * 1e6, statistics.median(a / b for a, b in pairs)


async def _run(folder: Path, *, rules: int, profile: bool, audit: bool) -> None:
    material = make(folder)
    settings = load_text(CONFIG.replace(MORE, _rules(rules)) + AUDIT * audit, folder, {})
    sidecar = Sidecar(settings, asyncio.get_running_loop())
    sidecar.source.begin()
    await sidecar.keys.load()
    doors = sidecar.doors
    if doors.inbound is None or doors.outbound is None or doors.inbound_door is None or doors.outbound_door is None:
        raise SystemExit("the configuration of this benchmark has both directions")
    head = b"Host: orders\r\nUser-Agent: python-httpx/0.28.1\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    trace = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    request = b"GET /orders/17 HTTP/1.1\r\n" + head + trace + b"Txn-Token: " + material.token.encode() + b"\r\n\r\n"
    outbound = OutboundConnection(doors.outbound, doors.outbound_door)
    outbound.connection_made(Nowhere())
    destination = doors.outbound_door.destinations.permit(b"orders").destination
    pool = doors.pools.of(destination)  # type: ignore[arg-type]  # it is there
    egress = _time(outbound, _upstream(pool, time.monotonic), request)
    inbound = InboundConnection(doors.inbound, doors.inbound_door)
    peer_id = SpiffeId.parse("spiffe://example.org/edge")
    peer = Peer(
        spiffe_id=peer_id, uri=str(peer_id), certificate_sha256="0" * 64, serial=1, not_after=time.time() + 3600
    )
    inbound._grant = admit(doors.inbound_door.policy, peer, peer.not_after)  # noqa: SLF001
    inbound._forwarded_client_cert = b"X-Forwarded-Client-Cert: By=a;Hash=b;URI=c"  # noqa: SLF001
    Downstream.connection_made(inbound, Nowhere())
    via = request[:-2] + b"Via: 1.1 svidecar-out-00000000\r\n\r\n"
    ingress = _time(inbound, _upstream(doors.inbound_door.pool, time.monotonic), via)
    for name, one in (("egress", egress), ("ingress", ingress)):
        least, ratio = measure(one)
        sys.stdout.write(f"{name:8} {least:6.2f} us of Python an exchange, {ratio:5.2f} x the yardstick\n")
        if profile:
            _profile(one)
    await sidecar.close()


def _profile(one: Callable[[], None]) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(20 * REQUESTS):
        one()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


CONFIG = """
service: bench
trust_domain: example.org
identity: {files: {svid: orders.pem, key: orders.key, bundle: bundle.pem}}
inbound: {listen: "127.0.0.1:1", app: "http://127.0.0.1:2"}
outbound:
  listen: "127.0.0.1:3"
  destinations: [{host: orders, address: "127.0.0.1:4", spiffe_id: "spiffe://example.org/orders"}]
tokens: {audience: example.org, keys: jwks.json}
policy:
  - name: edge may read
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    routes: [{match: "GET /orders/{id}", scopes: [orders.read]}]
# more rules
metrics: {listen: "127.0.0.1:5"}
health: {listen: "127.0.0.1:6"}
admin: {listen: "127.0.0.1:7"}
"""


MORE = "# more rules\n"

RULE = """\
  - name: rule NUMBER
    peers: [spiffe://example.org/edge, spiffe://example.org/team-NUMBER/*]
    scopes: [orders.read, part-NUMBER.read]
    routes: [{match: "GET /part-NUMBER/{id}", scopes: [part-NUMBER.read]}, {match: "GET /orders/{id}/NUMBER"}]
"""


def _rules(count: int) -> str:
    """Write as many rules as are to be loaded beside the one that decides; all of them speak of the same peer."""
    return "".join(RULE.replace("NUMBER", str(number)) for number in range(count - 1))


AUDIT = """
audit: {file: audit.log, queue: 1000000}
"""


def main() -> None:
    """Measure both directions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", type=int, default=1, metavar="N", help="how many are loaded (default: 1)")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, too")
    parser.add_argument(
        "--audit", action="store_true", help="hand each decision to the audit; its thread is not started"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder), rules=options.rules, profile=options.profile, audit=options.audit))


if __name__ == "__main__":
    main()

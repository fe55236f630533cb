"""What a rotation costs the event loop: from a message of the Workload API to the next handshake with the new SVID.

    python -m loadtest.rotation_cost [--check] [--json]

A whole sidecar takes messages as its agent sends them; each has a new SVID, and two authorities for each trust domain.
``loop``: processor time of the loop's own thread, all of it, with everybody who is told of the new identity. ``held``:
the longest that nothing else could run. ``beside``: processor time of the thread in which OpenSSL reads everything,
while the loop serves. ``--check`` ends with 1 where the loop's median passes 5 ms.

Python 3.11, OpenSSL 3.0, two shared cores of a virtual machine, while others worked on it, in milliseconds:

========= ======== ===== ======== ===== ==========================
federated loop p50   max held p50   max all of it in the loop, p50
========= ======== ===== ======== ===== ==========================
        0      1.4   2.3      1.0   1.6                        4.7
        1      1.6   2.3      1.0   1.6                        5.8
        5      2.4   3.0      1.3   1.6                        9.1
       10      2.7   3.4      1.3   1.6                       13.3
========= ======== ===== ======== ===== ==========================
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.app import Sidecar
from proxy.authority.ca import Root, make_root
from proxy.config.load import load_text
from proxy.identity.sources.x509_response import read_response
from proxy.identity.spiffe_id import SpiffeId
from proxy.workload_api.messages import X509SVID, X509SVIDResponse, decode, encode

ROTATIONS, WARM_UP = 60, 10
FEDERATED = (0, 1, 5, 10)
AUTHORITIES = 2
"""Of each trust domain: while a CA is renewed both are published, and that is where a rotation costs most."""

BOUND_MS = 5.0
OWN = "example.org"
ORDERS = SpiffeId.parse(f"spiffe://{OWN}/orders")
CONFIG = """
service: bench
trust_domain: example.org
identity: {workload_api: {socket: "unix:///nowhere"}}
outbound:
  listen: "127.0.0.1:1"
  destinations: [{host: ledger, address: "127.0.0.1:2", spiffe_id: "spiffe://example.org/ledger"}]
metrics: {listen: "127.0.0.1:3"}
health: {listen: "127.0.0.1:4"}
admin: {listen: "127.0.0.1:5"}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of the rotations with so many federated trust domains, in milliseconds."""

    federated: int
    loop_p50: float
    loop_max: float
    held_p50: float
    held_max: float
    beside_p50: float


class Watch:
    """Runs whenever the loop lets it: how long it could not is how long the loop was held."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._since: float | None = None
        self.longest_s = 0.0

    def begin(self) -> None:
        """Forget what was seen, and look."""
        self.longest_s, self._since = 0.0, time.thread_time()
        self._loop.call_soon(self._look)

    def end(self) -> None:
        """Look no more."""
        self._since = None

    def _look(self) -> None:
        if self._since is None:
            return
        now = time.thread_time()
        self.longest_s, self._since = max(self.longest_s, now - self._since), now
        self._loop.call_later(0.0005, self._look)


def messages(federated: int, count: int, now: float) -> list[bytes]:
    """Messages of an agent, each the full state with another SVID."""
    own = [make_root(OWN, now) for _ in range(AUTHORITIES)]
    foreign = {f"spiffe://partner-{number}.example": b"" for number in range(federated)}
    for name in foreign:
        foreign[name] = _bundle([make_root(name.removeprefix("spiffe://"), now) for _ in range(AUTHORITIES)])
    return [encode(_message(own, foreign, now)) for _ in range(count)]


def _message(own: list[Root], foreign: dict[str, bytes], now: float) -> X509SVIDResponse:
    issued = own[0].issue(ORDERS, now, 3600.0)
    key = serialization.load_pem_private_key(issued.key_pem, password=None)
    svid = X509SVID(
        spiffe_id=str(ORDERS),
        x509_svid=_der(x509.load_pem_x509_certificate(issued.chain_pem)),
        x509_svid_key=key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        bundle=_bundle(own),
    )
    return X509SVIDResponse(svids=(svid,), federated_bundles=foreign)


def _bundle(roots: list[Root]) -> bytes:
    return b"".join(_der(root.certificate) for root in roots)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


async def measure(federated: int, rotations: int = ROTATIONS) -> Cost:
    """Have a sidecar take so many rotations, after some that warm it up."""
    with tempfile.TemporaryDirectory() as folder:
        sidecar = Sidecar(load_text(CONFIG, Path(folder), {}), asyncio.get_running_loop())
    watch = Watch(asyncio.get_running_loop())
    figures: list[tuple[float, float, float]] = []
    for message in messages(federated, WARM_UP + rotations, time.time()):
        gc.collect()
        before, of_all = time.thread_time(), time.process_time()
        watch.begin()
        await _take(sidecar, message)
        sidecar.foundation.contexts.server()
        spent, longest = time.thread_time() - before, watch.longest_s
        figures.append((spent, longest, time.process_time() - of_all - spent))
        watch.end()
        await asyncio.sleep(0.001)
    if (generations := sidecar.foundation.contexts.generations()) != 1:
        raise SystemExit(f"{generations} generations are alive, though nobody is connected")
    await sidecar.close()
    loop, held, beside = ([1e3 * value for value in column] for column in zip(*figures[WARM_UP:], strict=True))
    return Cost(
        federated=federated,
        loop_p50=statistics.median(loop),
        loop_max=max(loop),
        held_p50=statistics.median(held),
        held_max=max(held),
        beside_p50=statistics.median(beside),
    )


async def _take(sidecar: Sidecar, message: bytes) -> None:
    """As ``identity.sources.workload_api`` does it."""
    given = read_response(decode(X509SVIDResponse, message), OWN, "", time.time(), sidecar.foundation.store.trusted)
    if not sidecar.foundation.store.holds(given.svid, given.bundles):
        await sidecar.foundation.store.renew(given.svid, given.bundles, time.time())


def main() -> int:
    """Print the figures. 1: ``--check`` was asked for, and the bound is passed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.rotation_cost", description="What a rotation costs.")
    parser.add_argument("--check", action="store_true", help=f"1 where the loop's median passes {BOUND_MS:g} ms")
    parser.add_argument("--json", action="store_true", help="the figures as data")
    options = parser.parse_args()
    found = [asyncio.run(measure(federated)) for federated in FEDERATED]
    if options.json:
        sys.stdout.write(json.dumps([asdict(cost) for cost in found]) + "\n")
    else:
        sys.stdout.write("federated  loop p50    max  held p50    max  beside p50   (ms)\n")
        for cost in found:
            sys.stdout.write(
                f"{cost.federated:9d}  {cost.loop_p50:8.2f} {cost.loop_max:6.2f}  {cost.held_p50:8.2f} "
                f"{cost.held_max:6.2f}  {cost.beside_p50:10.2f}\n"
            )
    return int(options.check and any(cost.loop_p50 > BOUND_MS for cost in found))


if __name__ == "__main__":
    sys.exit(main())

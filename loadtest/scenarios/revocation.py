"""``python -m loadtest.scenarios.revocation``: peers are taken back while ten thousand connections are open.

All are mTLS connections to one sidecar, of four workloads. One workload after the other may no longer be there: its
SPIFFE ID is revoked in a file, a reload takes it out of the policy, a CRL names its certificate. Told is when the last
of its connections was closed, that nobody else's was, and how long a request of somebody else had to wait meanwhile.
"""

import argparse
import contextlib
import os
import resource
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from loadtest import client, kernel
from loadtest.contenders import Contender
from loadtest.contenders.pair import Pair, Site
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.material import TRUST_DOMAIN, Credential, Material
from loadtest.openloop.account import Report
from loadtest.processes import ProcessFailed
from loadtest.scenarios import ground
from loadtest.stage import Running, running_pair

CONNECTIONS = 10_000
WORKLOADS = ("steady", "by-spiffe-id", "by-policy", "by-crl")
WITHIN_S = 1.0
STALL_MS = 100.0
"""Longer than a request of somebody else may wait: as long as one look of the deadlines, by which nobody is cut."""
WAIT_S = 5.0
REFUSED = b"HTTP/1.1 401"
RATE, PROBES, SECONDS, FIRST_S = 200.0, 4, 4.0, 2.0
AT_ONCE = 16
SPARE_FILES = 1000
ROOM = 1000  # more than what is opened: the egress, and who asks for metrics


@dataclass(slots=True)
class Crowd:
    """Connections of one workload; ``closed_at`` of those that the sidecar has closed, on the monotonic clock."""

    name: str
    sockets: dict[int, ssl.SSLSocket] = field(default_factory=dict)
    closed_at: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What came of taking one workload back. Seconds, but for the stalls."""

    name: str
    count: int
    first_s: float
    last_s: float
    left: int
    others: int
    quiet_ms: float
    stall_ms: float
    errors: int
    cpu_s: float


class Crowds:
    """All connections, watched for their end, or for the refusal of what they wait for."""

    def __init__(self, names: Sequence[str]) -> None:
        self.by_name = {name: Crowd(name) for name in names}
        self._selector = selectors.DefaultSelector()

    def fill(self, connections: int, open_one: Callable[[str, int], ssl.SSLSocket]) -> None:
        """Open them, as fast as handshakes go, each of the next name."""
        names = list(self.by_name)

        def one(number: int) -> None:
            name = names[number % len(names)]
            self.by_name[name].sockets[number] = open_one(name, number)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done, _ in enumerate(pool.map(one, range(connections)), 1):
                if done % 1000 == 0:
                    ground.say(f"{done} of {connections} connections")
        for crowd in self.by_name.values():
            for number, own in crowd.sockets.items():
                own.setblocking(False)
                self._selector.register(own, selectors.EVENT_READ, (crowd, number))

    def watch(self, until: Callable[[], bool], seconds: float) -> None:
        """Note what is closed, until all that should be is."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            for key, _ in self._selector.select(0.02):
                crowd, number = key.data
                if _has_ended(crowd.sockets[number]):
                    crowd.closed_at[number] = time.monotonic()
                    self._selector.unregister(key.fileobj)

    def close(self) -> None:
        """End all."""
        self._selector.close()
        for crowd in self.by_name.values():
            for own in crowd.sockets.values():
                own.close()


def _has_ended(own: ssl.SSLSocket) -> bool:
    try:
        return (data := own.recv(4096)) == b"" or data.startswith(REFUSED)
    except (ssl.SSLWantReadError, BlockingIOError):
        return False  # a session ticket, or nothing
    except OSError:
        return True


def main() -> int:
    """0: each was closed within a second, and nobody else noticed. 1: not so."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.revocation", description=__doc__)
    parser.add_argument("--connections", type=ground.count, default=CONNECTIONS, help=f"({CONNECTIONS})")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    contender = replace(SVIDECAR, prepare=_prepare(options.connections))
    with _standing(options.keep, contender, options.connections) as (pair, directory):
        material = pair.material
        before = kernel.memory(pair.ingress.pid).rss
        crowds, steps = Crowds(WORKLOADS), list[Step]()
        contexts = {name: client.context(material.bundle, own) for name, own in _credentials(material).items()}
        try:
            began = time.monotonic()
            crowds.fill(options.connections, lambda name, _: connect(pair, contexts[name]))
            filled_s = time.monotonic() - began
            crowds.watch(lambda: False, 1.0)  # tickets, and who was not let in
            held_mb = kernel.memory(pair.ingress.pid).rss - before
            for name, act in _acts(pair, directory).items():
                steps.append(step(pair, crowds, name, [crowds.by_name[name]], act))
                ground.say(f"{name}: the last of {steps[-1].count} was closed after {steps[-1].last_s:.3f} s")
        finally:
            crowds.close()
    return outcome(options.connections, steps, filled_s, held_mb)


@contextlib.contextmanager
def _standing(keep: Path | None, contender: Contender, connections: int) -> Iterator[tuple[Running, Path]]:
    with ground.stage_alone(keep) as stage:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 < hard < connections + SPARE_FILES:
            raise ProcessFailed(
                f"{connections} connections need as many descriptors, and {hard} are allowed: ulimit -n"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for name in WORKLOADS:
            stage.material.root.issue(stage.material.directory, name, f"spiffe://{TRUST_DOMAIN}/{name}")
        with running_pair(stage, contender) as pair:
            yield pair, stage.directory / contender.name


def _credentials(material: Material) -> dict[str, Credential]:
    folder = material.directory
    return {name: Credential(folder / f"{name}.pem", folder / f"{name}.key") for name in WORKLOADS}


def _prepare(connections: int) -> Callable[[str, Site], Pair]:
    """The pair of every scenario, whose ingress also knows the workloads, a list and a CRL."""

    def prepare(program: str, site: Site) -> Pair:
        pair = SVIDECAR.prepare(program, site)
        path = Path(pair.ingress.arguments[-1])
        settings = yaml.safe_load(path.read_text())
        settings["policy"].append(
            {"name": "the crowd", "peers": [f"spiffe://{TRUST_DOMAIN}/{name}" for name in WORKLOADS], "routes": []}
        )
        settings["identity"]["files"] |= {"crl": str(site.directory / "crl.pem"), "poll": "100ms"}
        settings["revocation"] = {"file": str(site.directory / "revoked.json")}
        settings["limits"]["connections"] = connections + ROOM
        (site.directory / "crl.pem").write_bytes(site.material.root.crl())
        (site.directory / "revoked.json").write_text('{"revoked": []}')
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return pair

    return prepare


def _acts(pair: Running, directory: Path) -> dict[str, Callable[[], None]]:
    config = Path(pair.ingress.command.arguments[-1])

    def write(path: Path, content: bytes) -> None:
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)

    def revoke() -> None:
        listing = f'{{"revoked": [{{"spiffe_id": "spiffe://{TRUST_DOMAIN}/by-spiffe-id"}}]}}'
        write(directory / "revoked.json", listing.encode())

    def reload() -> None:
        settings = yaml.safe_load(config.read_text())
        settings["policy"][1]["peers"].remove(f"spiffe://{TRUST_DOMAIN}/by-policy")
        write(config, yaml.safe_dump(settings, sort_keys=False).encode())
        os.kill(pair.ingress.pid, signal.SIGHUP)

    def crl() -> None:
        write(directory / "crl.pem", pair.material.root.crl(_credentials(pair.material)["by-crl"]))

    return {"by-spiffe-id": revoke, "by-policy": reload, "by-crl": crl}


def connect(pair: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection to the ingress, handshake done."""
    raw = socket.create_connection((client.HOST, pair.ports.ingress), timeout=client.TIMEOUT_S)
    return context.wrap_socket(raw, server_hostname=client.AUTHORITY)


def step(pair: Running, crowds: Crowds, name: str, gone: Sequence[Crowd], act: Callable[[], None]) -> Step:
    """Take some back in the middle of a load that should not notice."""
    quiet = _probe(pair, SECONDS / 2)
    found: list[Report] = []
    probe = threading.Thread(target=lambda: found.append(_probe(pair, SECONDS)))
    probe.start()
    crowds.watch(lambda: False, FIRST_S)
    elsewhere = {other.name: len(other.closed_at) for other in crowds.by_name.values() if other not in gone}
    count = sum(len(crowd.sockets) for crowd in gone)
    cpu_s, began = kernel.cpu_s(pair.ingress.pid), time.monotonic()
    act()
    crowds.watch(lambda: sum(len(crowd.closed_at) for crowd in gone) == count, WAIT_S)
    cpu_s = kernel.cpu_s(pair.ingress.pid) - cpu_s
    crowds.watch(lambda: not probe.is_alive(), WAIT_S * 2)
    probe.join()
    if not found:
        raise ProcessFailed("the load did not run to its end")
    closed = [at - began for crowd in gone for at in crowd.closed_at.values()]
    return Step(
        name=name,
        count=count,
        first_s=min(closed, default=0.0),
        last_s=max(closed, default=0.0),
        left=count - len(closed),
        others=sum(len(crowds.by_name[other].closed_at) - before for other, before in elsewhere.items()),
        quiet_ms=float(quiet.figures["percentiles_ms"]["max"]),
        stall_ms=float(found[0].figures["percentiles_ms"]["max"]),
        errors=sum(found[0].errors.values()),
        cpu_s=cpu_s,
    )


def _probe(pair: Running, seconds: float) -> Report:
    return ground.fixed_rate(pair, rate=RATE, connections=PROBES, seconds=seconds)


def outcome(connections: int, steps: list[Step], filled_s: float, held_mb: float) -> ground.Outcome:
    """Judge the steps, and tell them."""
    rows: list[tuple[str, ...]] = [
        ("revoked", "connections", "first s", "last s", "left", "others'", "quiet max ms", "max ms", "lost", "CPU s")
    ]
    problems: list[str] = []
    for step in steps:
        rows.append(
            (
                step.name,
                *(str(step.count), f"{step.first_s:.3f}", f"{step.last_s:.3f}", str(step.left), str(step.others)),
                *(f"{step.quiet_ms:.1f}", f"{step.stall_ms:.1f}", str(step.errors), f"{step.cpu_s:.2f}"),
            )
        )
        slow = step.left or step.last_s >= WITHIN_S
        problems += (
            [f"{step.name}: {step.left} are open, the last was closed after {step.last_s:.2f} s"] if slow else []
        )
        problems += [f"{step.name}: {step.others} connections of others were closed"] if step.others else []
        problems += [f"{step.name}: {step.errors} requests of somebody else failed"] if step.errors else []
        stalled = step.stall_ms > max(STALL_MS, 2 * step.quiet_ms)
        problems += [f"{step.name}: a request of somebody else took {step.stall_ms:.0f} ms"] if stalled else []
    each = held_mb / connections * 1e3
    open_ = [("connections", "opened in s", "MB", "KB each")]
    open_.append((str(connections), f"{filled_s:.0f}", f"{held_mb:.0f}", f"{each:.1f}"))
    return ground.Outcome(
        tables=(("Open mTLS connections", open_), (f"Taken back, with {RATE:g} requests a second beside it", rows)),
        figures={
            "connections": connections,
            "held_mb": held_mb,
            "steps": [{name: getattr(step, name) for name in Step.__dataclass_fields__} for step in steps],
        },
        problems=problems,
    )


if __name__ == "__main__":
    sys.exit(main())

"""``python -m loadtest.scenarios.revoked_tokens``: 10 000 tokens are taken back, each used on its own connection.

Every second connection has an answer that goes on; the others have a request whose body was not sent yet, which a rule
wants to see: both have shown their token. One third is revoked by ``txn``, one by ``sub``, one by the SHA-256 of the
token, an entry for each; or with ``--at-once`` all of it by one list. Told is when the last was cut or answered 401,
that nobody else was, and how long a request of somebody else had to wait meanwhile.
"""

import argparse
import contextlib
import json
import resource
import ssl
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import yaml

from loadtest import client, holder, kernel
from loadtest.contenders.pair import Pair, Site
from loadtest.contenders.svidecar import SVIDECAR
from loadtest.material import EDGE, SCOPE, Material
from loadtest.processes import Command, ProcessFailed, free_ports, running
from loadtest.scenarios import ground
from loadtest.scenarios.revocation import CONNECTIONS, ROOM, SPARE_FILES, Crowds, Step, connect, outcome, step
from loadtest.stage import Running, running_pair

KINDS = ("by-txn", "by-sub", "by-token")
WAITING = "/orders"
"""Its route takes a fact from the body."""


@dataclass(frozen=True, slots=True)
class Held:
    """A token in use, and what of it may be revoked."""

    token: str
    txn: str
    sub: str

    def entry(self, kind: str) -> dict[str, str]:
        """What revokes it."""
        if kind == "by-token":
            return {"token_sha256": sha256(self.token.encode()).hexdigest()}
        return {"txn": self.txn} if kind == "by-txn" else {"sub": self.sub}


def main() -> int:
    """0: each was ended within a second, and nobody else noticed. 1: not so."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios.revoked_tokens", description=__doc__)
    parser.add_argument("--connections", type=ground.count, default=CONNECTIONS, help=f"({CONNECTIONS})")
    parser.add_argument("--at-once", action="store_true", help="all of them with one list")
    return ground.command(parser, _run)


def _run(options: argparse.Namespace) -> ground.Outcome:
    with _standing(options) as (pair, directory):
        held = list(_tokens(pair.material, options.connections))
        context = client.context(pair.material.bundle, pair.material.edge)
        before = kernel.memory(pair.ingress.pid).rss
        crowds, steps = Crowds(KINDS), list[Step]()
        try:
            began = time.monotonic()
            crowds.fill(options.connections, lambda _, number: _use(pair, context, held[number].token, number))
            filled_s = time.monotonic() - began
            crowds.watch(lambda: False, 1.0)
            held_mb = kernel.memory(pair.ingress.pid).rss - before
            for name, act in _acts(directory, held, at_once=options.at_once).items():
                gone = [crowd for crowd in crowds.by_name.values() if name in {crowd.name, "all"}]
                steps.append(step(pair, crowds, name, gone, act))
                ground.say(f"{name}: the last of {steps[-1].count} was ended after {steps[-1].last_s:.3f} s")
        finally:
            crowds.close()
    return outcome(options.connections, steps, filled_s, held_mb)


@contextlib.contextmanager
def _standing(options: argparse.Namespace) -> Iterator[tuple[Running, Path]]:
    with ground.stage_alone(options.keep) as stage:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 < hard < options.connections * 3 // 2 + SPARE_FILES:
            raise ProcessFailed(f"every second connection needs one more behind it, and {hard} descriptors are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        (port,) = free_ports(1)
        command = Command("holder", (sys.executable, "-m", "loadtest.holder", str(port)), {})
        with running(command, on=stage.cores.load, log=stage.directory / "holder.log") as app:
            app.wait_for_port(port)
            contender = replace(SVIDECAR, prepare=_prepare(options.connections, port))
            with running_pair(stage, contender) as pair:
                yield pair, stage.directory / contender.name


def _prepare(connections: int, app: int) -> Callable[[str, Site], Pair]:
    """The pair of every scenario, whose ingress stands before the holder, and knows a list."""

    def prepare(program: str, site: Site) -> Pair:
        pair = SVIDECAR.prepare(program, site)
        path = Path(pair.ingress.arguments[-1])
        settings = yaml.safe_load(path.read_text())
        settings["inbound"]["app"] = f"http://{client.HOST}:{app}"
        settings["policy"][0]["routes"].append(
            {"match": f"POST {WAITING}", "scopes": [SCOPE], "facts": {"quantity": "body:/quantity"}}
        )
        settings["revocation"] = {"file": str(site.directory / "revoked.json")}
        settings["limits"] |= {"connections": connections + ROOM, "upstream_connections": connections + ROOM}
        settings["timeouts"] |= {"body": "1h", "stream_idle": "1h"}
        (site.directory / "revoked.json").write_text('{"revoked": []}')
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return pair

    return prepare


def _tokens(material: Material, count: int) -> Iterator[Held]:
    for _ in range(count):
        txn, sub = str(uuid.uuid4()), f"user-{uuid.uuid4()}"
        yield Held(material.token_of(txn=txn, sub=sub, req_wl=EDGE), txn, sub)


def _use(pair: Running, context: ssl.SSLContext, token: str, number: int) -> ssl.SSLSocket:
    """A connection whose request is in progress: answered so far, or asked to go on with its body."""
    own = connect(pair, context)
    streams = number // len(KINDS) % 2 == 0
    lines = [f"{'GET' if streams else 'POST'} {holder.HELD if streams else WAITING} HTTP/1.1", "Host: orders"]
    lines += [f"Txn-Token: {token}"]
    if not streams:
        lines += ["Content-Type: application/json", "Content-Length: 15", "Expect: 100-continue"]
    own.sendall("\r\n".join([*lines, "", ""]).encode())
    wanted = b"begun" if streams else b"100 Continue"
    said = b""
    while wanted not in said:
        if not (piece := own.recv(4096)):
            raise ProcessFailed(f"a connection ended before its request was in progress: {said[:200]!r}")
        said += piece
    return own


def _acts(directory: Path, held: list[Held], *, at_once: bool) -> dict[str, Callable[[], None]]:
    path, told = directory / "revoked.json", list[dict[str, str]]()

    def revoke(*kinds: str) -> None:
        for kind in kinds:
            told.extend(one.entry(kind) for one in held[KINDS.index(kind) :: len(KINDS)])
        path.with_suffix(".new").write_text(json.dumps({"revoked": told}))
        path.with_suffix(".new").replace(path)

    if at_once:
        return {"all": lambda: revoke(*KINDS)}
    return {kind: (lambda kind=kind: revoke(kind)) for kind in KINDS}  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(main())

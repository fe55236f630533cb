"""Raw TCP through a pair of proxies: CPU per gigabyte each way, and per round trip of 100 bytes, beside HAProxy.

    python -m loadtest.tcp [--megabytes 400] [--trips 4000] [--rounds 5] [--interpreted]

Both pairs do the same: plain TCP, mTLS 1.3 with the same suite between the two, plain TCP. HAProxy runs ``mode tcp``
and looks for the client's SPIFFE ID in its certificate; svidecar opens with CONNECT and judges it (``token: none``:
neither asks a token service). Pairs are up together and visited in turn on one core; read the ratios, taken inside each
round.
"""

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from loadtest import build, kernel, machine
from loadtest.contenders.haproxy import san
from loadtest.contenders.pair import CIPHER, CURVE
from loadtest.contenders.svidecar import OPENSSL
from loadtest.material import EDGE, ORDERS, TRUST_DOMAIN, Credential, Material, make
from loadtest.processes import Command, Process, free_ports, running

MB = 1_000_000
PIECE_BYTES = 256 * 1024
PING = b"p" * 100
PATIENCE_S = 60.0
WHAT = ("download", "upload", "round trips")

HAPROXY = """\
global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend in
  bind 127.0.0.1:{listen} {tls_in}
  {check}
  default_backend next
backend next
  server next 127.0.0.1:{next} {tls_out}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two processes; ``port`` is where the client comes in."""

    name: str
    port: int
    sides: tuple[Process, Process]

    def cpu_s(self) -> float:
        """Of both sides."""
        return sum(kernel.cpu_s(side.pid) for side in self.sides)


def main(arguments: list[str] | None = None) -> int:
    """Measure; print a table. Code 3: a program is missing."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.tcp", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=400, help="each way and round (default: %(default)s)")
    parser.add_argument("--trips", type=int, default=4000, help="of 100 bytes, each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interpreted", action="store_true", help="svidecar as plain Python")
    asked = parser.parse_args(arguments)
    programs = {name: machine.find(name) for name in ("haproxy", "taskset", "setpriv")}
    for name, path in programs.items():
        if path is None:
            print(
                f"{name} is missing: apt-get install {'haproxy' if name == 'haproxy' else 'util-linux'}",
                file=sys.stderr,
            )
            return 3
    built = build.of_this_tree(print, interpreted=asked.interpreted)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        material, app = make(Path(folder)), stack.enter_context(_app())
        pairs = [
            stack.enter_context(_svidecar(material, app, built.tree)),
            stack.enter_context(_haproxy(material, app, str(programs["haproxy"]))),
        ]
        print(f"svidecar: {built.said}; {machine.cores().said}")
        _report(pairs, [_round(pairs, asked.megabytes, asked.trips) for _ in range(asked.rounds)])
    return 0


def _round(pairs: list[Pair], megabytes: int, trips: int) -> dict[tuple[str, str], float]:
    """Microseconds of CPU per megabyte, and per round trip, by pair and by what was done."""
    found = {}
    for what, count, work in zip(WHAT, (megabytes, megabytes, trips), (_download, _upload, _trips), strict=True):
        for pair in pairs:
            with _client(pair.port) as sock:
                before = pair.cpu_s()
                work(sock, count)
                found[pair.name, what] = (pair.cpu_s() - before) / count * 1e6
    return found


def _report(pairs: list[Pair], rounds: list[dict[tuple[str, str], float]]) -> None:
    ours, other = (pair.name for pair in pairs)
    print(f"{'both sides, us of CPU':<24}{ours:>12}{other:>12}{'ratio':>8}   least-greatest ratio")
    for what in WHAT:
        ratios = [each[ours, what] / each[other, what] for each in rounds]
        mine, theirs = (statistics.median(each[name, what] for each in rounds) for name in (ours, other))
        label = f"{what} of 100 B" if what == "round trips" else f"{what}, a MB"
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{label:<24}{mine:>12.1f}{theirs:>12.1f}{statistics.median(ratios):>8.2f}   {spread}")


# ---- the client and the app


def _client(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _download(sock: socket.socket, megabytes: int) -> None:
    sock.sendall(b"D%09d" % megabytes)
    _take(sock, megabytes * MB)


def _upload(sock: socket.socket, megabytes: int) -> None:
    sock.sendall(b"U%09d" % megabytes)
    _give(sock, megabytes * MB)
    _take(sock, 1)


def _trips(sock: socket.socket, count: int) -> None:
    sock.sendall(b"T%09d" % count)
    for _ in range(count):
        sock.sendall(PING)
        _take(sock, len(PING))


def _take(sock: socket.socket, count: int) -> None:
    buffer = memoryview(bytearray(PIECE_BYTES))
    while count:
        got = sock.recv_into(buffer[: min(count, PIECE_BYTES)])
        if not got:
            raise ConnectionError("the connection ended before all had come")
        count -= got


def _give(sock: socket.socket, count: int) -> None:
    piece = memoryview(bytes(PIECE_BYTES))
    while count:
        count -= sock.send(piece[: min(count, PIECE_BYTES)])


def _serve(sock: socket.socket) -> None:
    with contextlib.suppress(OSError), sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        order = sock.recv(10, socket.MSG_WAITALL)
        kind, count = order[:1], int(order[1:] or 0)
        if kind == b"D":
            _give(sock, count * MB)
        elif kind == b"U":
            _take(sock, count * MB)
            sock.sendall(b"k")
        for _ in range(count if kind == b"T" else 0):
            _take(sock, len(PING))
            sock.sendall(PING)
        sock.recv(1)


@contextlib.contextmanager
def _app() -> Iterator[int]:
    """The app, in threads of its own: blocking calls hold no lock of Python's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    threading.Thread(target=_serve, args=(sock,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])


# ---- the pairs


@contextlib.contextmanager
def _up(
    name: str, folder: Path, port: int, commands: tuple[Command, Command], listen: tuple[int, int]
) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        on = machine.cores().proxies
        sides = []
        for command, each in zip(commands, listen, strict=True):
            side = stack.enter_context(running(command, on=on, log=folder / f"{command.name.replace(' ', '-')}.log"))
            side.wait_for_port(each)
            sides.append(side)
        sides[0].wait_for(lambda: _answers(port), "no round trip passes")
        yield Pair(name=name, port=port, sides=(sides[0], sides[1]))


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), _client(port) as sock:
        _trips(sock, 1)
        return True
    return False


def _haproxy(material: Material, app: int, program: str) -> contextlib.AbstractContextManager[Pair]:
    egress, ingress = free_ports(2)
    folder = material.directory
    tls = f"ca-file {material.bundle} verify required ssl-min-ver TLSv1.3 ciphersuites {CIPHER}"
    texts = {
        "egress": HAPROXY.format(
            listen=egress,
            tls_in="",
            check="",
            next=ingress,
            tls_out=f"ssl crt {_joined(folder, 'edge', material.edge)} {tls} verifyhost orders no-ssl-reuse",
        ),
        "ingress": HAPROXY.format(
            listen=ingress,
            tls_in=f"ssl crt {_joined(folder, 'orders', material.orders)} {tls} curves {CURVE} no-tls-tickets",
            check=f"tcp-request session reject unless {{ ssl_c_der,hex -m sub {san(EDGE)} }}",
            next=app,
            tls_out="",
        ),
    }
    for side, text in texts.items():
        (folder / f"haproxy-{side}.cfg").write_text(text)

    def command(side: str) -> Command:
        return Command(f"haproxy {side}", (program, "-db", "-f", str(folder / f"haproxy-{side}.cfg")), {})

    return _up("haproxy", folder, egress, (command("egress"), command("ingress")), (egress, ingress))


def _joined(folder: Path, name: str, own: Credential) -> Path:
    path = folder / f"{name}-both.pem"
    path.touch(mode=0o600)
    path.write_bytes(own.certificate.read_bytes() + own.key.read_bytes())
    return path


def _svidecar(material: Material, app: int, tree: Path | None) -> contextlib.AbstractContextManager[Pair]:
    egress, ingress, *spare = free_ports(8)
    folder = material.directory
    (folder / "openssl.cnf").write_text(OPENSSL)
    port = {"listen": f"127.0.0.1:{egress}", "host": "db:1", "address": f"127.0.0.1:{ingress}", "spiffe_id": ORDERS}
    rule = {"name": "edge", "peers": [EDGE], "routes": [{"match": "CONNECT db:1", "token": "none"}]}
    sides: dict[str, dict[str, object]] = {
        "egress": {"outbound": {"tcp": [port]}},
        "ingress": {"inbound": {"listen": f"127.0.0.1:{ingress}", "app": f"tcp://127.0.0.1:{app}"}, "policy": [rule]},
    }
    where = Path(__file__).resolve().parents[1] if tree is None else tree

    def command(side: str, own: Credential, ports: list[int]) -> Command:
        files = {"svid": str(own.certificate), "key": str(own.key), "bundle": str(material.bundle)}
        operators = {
            n: {"listen": f"127.0.0.1:{p}"} for n, p in zip(("metrics", "health", "admin"), ports, strict=True)
        }
        top = {"service": side, "trust_domain": TRUST_DOMAIN, "identity": {"files": files}, **operators, **sides[side]}
        path = folder / f"svidecar-{side}.yaml"
        path.write_text(yaml.safe_dump(top, sort_keys=False))
        environment = {"OPENSSL_CONF": str(folder / "openssl.cnf"), "PYTHONPATH": os.fspath(where)}
        return Command(
            f"svidecar {side}", (sys.executable, "-P", "-m", "proxy", "run", "--config", str(path)), environment
        )

    commands = command("egress", material.edge, spare[:3]), command("ingress", material.orders, spare[3:])
    return _up("svidecar", folder, egress, commands, (egress, ingress))


if __name__ == "__main__":
    sys.exit(main())

"""A small mesh for the end-to-end tests: real sidecar processes, real apps, real peers with certificates of their own."""

import contextlib
import json
import os
import secrets
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support.apps import App, RawApp
from support.pki import Authority, Svid, pem, write_svid
from support.secrecy import listen_to, records_in
from support.sidecar import COMMAND, START_S, Sidecar, wait_until
from support.tokens import TokenMint
from support.wire import Wire

DOMAIN = "example.org"
EDGE, ORDERS, LEDGER = (f"spiffe://{DOMAIN}/{name}" for name in ("edge", "orders", "ledger"))

INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "HEAD /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "* /any/**", scopes: []}}
      - {{match: "POST /orders", scopes: [orders.write]}}
"""
"""An inbound sidecar with one rule; ``{app}`` is the app's port."""


def outbound(*destinations: str) -> str:
    """The YAML of an outbound listener with these destinations, each in flow style."""
    return "outbound:\n  listen: 127.0.0.1:0\n  destinations:\n" + "".join(f"    - {{{d}}}\n" for d in destinations)


def orders_at(sidecar: Sidecar, host: str = "orders", spiffe_id: str = ORDERS) -> str:
    """The destination ``orders``, behind this sidecar."""
    return f'host: {host}, address: "127.0.0.1:{sidecar.ports["inbound"]}", spiffe_id: {spiffe_id}'


class Mesh:
    """A trust domain in a folder: CA, keys, SVIDs, and the sidecars that a test starts in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listen_to(f"records of {folder.name}", lambda: records_in(folder))
        self.ca = Authority.make(DOMAIN)
        self.mint = TokenMint()
        (folder / "jwks.json").write_bytes(self.mint.jwks())
        self.svids: dict[str, Svid] = {}
        self._sidecars: list[Sidecar] = []
        self._closers: list[Callable[[], None]] = []

    # ---- identities and tokens

    def svid(self, name: str, **shape: Any) -> Path:
        """Write the SVID of ``spiffe://<domain>/<name>``; give its folder."""
        return self.write(name, self.ca.svid(f"spiffe://{DOMAIN}/{name}", **shape), self.ca)

    def write(self, name: str, svid: Svid, ca: Authority) -> Path:
        """Write an SVID and its bundle to the folder ``name``."""
        self.svids[name] = svid
        write_svid(self.folder / name, svid, ca)
        return self.folder / name

    def bearer(self, **claims: object) -> dict[str, str]:
        """The field with a good token, changed by ``claims``."""
        return {"Txn-Token": self.mint.token(**claims).decode()}  # type: ignore[arg-type]

    def context(self, name: str = "edge", svid: Svid | None = None) -> ssl.SSLContext:
        """A TLS client of the standard library with the SVID of ``name``, or another one, which trusts our CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.ca.bundle_pem.decode())
        if svid is None:
            if name not in self.svids:
                self.svid(name)
            svid = self.svids[name]
        load_svid(context, svid, self.folder)
        return context

    def connect(self, port: int, name: str = "edge", svid: Svid | None = None) -> Wire:
        """A TLS connection to a sidecar as a peer."""
        sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        try:
            return self._wire(self.context(name, svid).wrap_socket(sock))
        except BaseException:
            sock.close()
            raise

    def plain(self, port: int) -> Wire:
        """A plain connection."""
        return self._wire(socket.create_connection(("127.0.0.1", port), timeout=20))

    def _wire(self, sock: socket.socket) -> Wire:
        wire = Wire(sock)
        self._closers.append(wire.close)
        return wire

    # ---- apps and sidecars

    def also_close(self, close: Callable[[], None]) -> None:
        """Call ``close`` at the end."""
        self._closers.append(close)

    def app(self) -> App:
        """Start an echoing app."""
        app = App()
        self._closers.append(app.close)
        return app

    def raw_app(self, script: Callable[[socket.socket], None]) -> RawApp:
        """Start an app of raw bytes."""
        app = RawApp(script)
        self._closers.append(app.close)
        return app

    def config(self, name: str, body: str, **changes: str) -> Path:
        """Write the YAML of a sidecar; ``body`` is what differs from test to test."""
        if name not in self.svids:
            self.svid(name)
        path = self.folder / f"{name}.yaml"
        top = {
            "service": name,
            "trust_domain": DOMAIN,
            "identity": f"{{files: {{svid: {name}/svid.pem, key: {name}/svid_key.pem, bundle: {name}/svid_bundle.pem, "
            "poll: 50ms}}",
            "metrics": "{listen: 127.0.0.1:0}",
            "health": "{listen: 127.0.0.1:0}",
            "admin": "{listen: 127.0.0.1:0}",
            "access_log": str(self.folder / f"{name}.log"),
        } | changes
        path.write_text("".join(f"{key}: {value}\n" for key, value in top.items()) + body)
        return path

    def start(self, name: str, body: str, **changes: str) -> Sidecar:
        """Start a sidecar and wait until it is ready."""
        return self.launch(name, body, **changes).wait_until_ready()

    def launch(self, name: str, body: str, **changes: str) -> Sidecar:
        """Start a sidecar; its ports are bound, it may not be ready."""
        return self.run(self.config(name, body, **changes))

    def run(self, config: Path, **environ: str) -> Sidecar:
        """Start a sidecar of this YAML, with more in its environment."""
        sidecar = Sidecar(config, **environ)
        self._sidecars.append(sidecar)
        return sidecar

    def fails(self, name: str, body: str, **changes: str) -> tuple[int, str]:
        """Start a sidecar that cannot start; give its exit code and what it says."""
        command = [*COMMAND, str(self.config(name, body, **changes))]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=START_S, check=False, env={**os.environ}
        )
        listen_to(f"{name}, which cannot start", lambda: ended.stdout + ended.stderr)
        return ended.returncode, ended.stderr

    def records(self, name: str, count: int = 0) -> list[dict[str, Any]]:
        """Records of the access log; wait for ``count`` of them."""
        path = self.folder / f"{name}.log"
        wait_until(
            lambda: count == 0 or (path.exists() and path.read_bytes().count(b"\n") >= count), f"{count} records"
        )
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def record(self, name: str, trace: dict[str, str]) -> dict[str, Any]:
        """The one record of the request that had this ``traceparent``; waits for it."""
        trace_id = trace["traceparent"].split("-")[1]
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [record for record in self.records(name) if record.get("trace_id") == trace_id]
            return bool(found)

        wait_until(look, f"the record of {trace_id}")
        assert len(found) == 1, found
        return found[0]

    def close(self) -> None:
        """End every process and server; no sidecar may have logged a fault."""
        with contextlib.ExitStack() as stack:  # one that fails must not leave the others open
            for close in self._closers:
                stack.callback(close)
            for sidecar in self._sidecars:
                stack.callback(sidecar.stop)
        faults = [f"{s.config.stem}: {s.log}" for s in self._sidecars if s.faults]
        assert not faults, "\n".join(faults)


def load_svid(context: ssl.SSLContext, svid: Svid, folder: Path) -> None:
    """Give a context this SVID."""
    both = folder / f"of-a-peer-{id(svid)}.pem"
    both.write_bytes(pem(svid.chain) + svid.key_pem)
    context.load_cert_chain(both)
    both.unlink()


def new_trace() -> dict[str, str]:
    """A ``traceparent`` of its own, to find a request again."""
    return {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


@contextlib.contextmanager
def mesh_in(folder: Path) -> Iterator[Mesh]:
    """A mesh that ends with the block."""
    mesh = Mesh(folder)
    try:
        yield mesh
    finally:
        mesh.close()

"""The processes of the demo, started in the order in which each needs the ports of the one before.

An app needs the outbound port of its sidecar, and the sidecar the port of its app: so the sockets of the apps are made
here, and handed down.
"""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

from proxy.authority.state import State
from proxy.demo.caller import ask, request
from proxy.demo.configuration import SIDECARS, TRUST_DOMAIN, authority_yaml, sidecar_yaml
from proxy.demo.process import Process, end

_BOUND = re.compile(r" INFO svidecar: \w+: (health \d+, .*)")
"""What a sidecar logs when its ports are bound."""

_NEXT_HOPS = {"edge": ("orders", "orders"), "orders": ("ledger", "entries")}
"""Whom an app calls, and what it asks for there."""


class Mesh:
    """Everything that runs. ``start`` once, then ``end``, whatever came of it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.authority_port = 0
        self.ports: dict[str, dict[str, int]] = {}
        self.app_ports: dict[str, int] = {}
        self.processes: list[Process] = []
        self._say = say
        self._sockets: dict[str, socket.socket] = {}

    @property
    def bundle(self) -> Path:
        """The trust bundle."""
        return self.state / "bundle.pem"

    def svid(self, workload: str) -> Path:
        """Give the folder with the SVID that the authority has written for a workload, if it writes files for it."""
        return State(self.state).workload(workload)

    def access_log(self, sidecar: str) -> Path:
        """Give the path of the access log of a sidecar."""
        return self.folder / "logs" / f"{sidecar}.access.jsonl"

    async def start(self) -> None:
        """Start everything; come back when every sidecar is ready.

        Raises:
            ProcessFailed: as its message says. What was started before is for ``end``.

        """
        (self.folder / "logs").mkdir(exist_ok=True)
        for name in SIDECARS:
            sock = self._sockets[name] = socket.create_server(("127.0.0.1", 0))
            self.app_ports[name] = sock.getsockname()[1]
        await self._start_authority()
        for name in reversed(SIDECARS):  # each needs to know where the next one listens
            await self._start_service(name)

    def check(self) -> None:
        """Raise ProcessFailed if one of the processes has ended."""
        for process in self.processes:
            process.check()

    def end(self) -> None:
        """End every process, and come back when they are gone."""
        for sock in self._sockets.values():
            sock.close()
        end(self.processes)

    async def _start_authority(self) -> None:
        began = time.monotonic()
        config = self.folder / "authority.yaml"
        config.write_text(authority_yaml(os.geteuid()))
        options = ["--trust-domain", TRUST_DOMAIN, "--dir", str(self.state), "--config", str(config)]
        options += ["--socket", str(self.folder / "api.sock")]
        process = self._run("authority", "proxy", "authority", *options)
        self.authority_port = await process.until(self._announced, "port")
        self._ready("authority", began)

    async def _announced(self) -> int | None:
        path = self.state / "authority.json"
        return int(json.loads(path.read_bytes())["port"]) if path.exists() else None

    async def _start_service(self, name: str) -> None:
        began = time.monotonic()
        config = self.folder / f"{name}.yaml"
        inbound = {other: ports["inbound"] for other, ports in self.ports.items()}
        ports = {"authority": self.authority_port, "app": self.app_ports[name], **inbound}
        config.write_text(sidecar_yaml(name, self.folder.absolute(), **ports))
        sidecar = self._run(f"sidecar of {name}", "proxy", "run", "--config", str(config))
        self.ports[name] = await sidecar.until(lambda: _bound(sidecar), "ports")
        app = self._start_app(name)
        await sidecar.until(lambda: _answers_ready(self.ports[name]["health"]), "identity, keys and policy")
        await app.until(lambda: _serves(app), "word that it serves")
        self._ready(f"{name}, sidecar and app", began)

    def _start_app(self, name: str) -> Process:
        descriptor = self._sockets[name].fileno()
        arguments = [name, str(descriptor)]
        if name in _NEXT_HOPS:
            host, collection = _NEXT_HOPS[name]
            arguments += [host, str(self.ports[name]["outbound"]), collection]
        return self._run(f"app of {name}", "proxy.demo.workload", *arguments, descriptors=(descriptor,))

    def _run(self, name: str, module: str, *arguments: str, descriptors: tuple[int, ...] = ()) -> Process:
        log = self.folder / "logs" / f"{name.replace(' ', '-')}.log"
        process = Process.start(name, log, module, arguments, descriptors=descriptors)
        self.processes.append(process)
        return process

    def _ready(self, what: str, began: float) -> None:
        self._say(f"{what} ... ready ({time.monotonic() - began:.1f} s)")


async def _bound(sidecar: Process) -> dict[str, int] | None:
    found = _BOUND.search(sidecar.said)
    return {name: int(port) for name, port in re.findall(r"(\w+) (\d+)", found[1])} if found else None


async def _answers_ready(port: int) -> bool | None:
    with contextlib.suppress(TimeoutError):
        answer = await ask(port, request("GET", "/healthz/ready", "127.0.0.1"))
        return True if answer is not None and answer.status == 200 else None
    return None


async def _serves(app: Process) -> bool | None:
    return True if " serves\n" in app.said else None

"""A real SPIRE server and agent on loopback: in-memory keys, SQLite, a join token, the unix workload attestor.

The binaries are found in ``SPIRE_BIN`` (a folder) or on the PATH. Without them a test is skipped and says so; with
``SVIDECAR_SPIRE_REQUIRED=1``, which .ci/run sets, it fails.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.ports import free_port
from support.sidecar import wait_until

START_S = 30.0

_SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{domain}"
  data_dir = "{folder}/server"
  log_level = "INFO"
  ca_ttl = "1h"
  default_x509_svid_ttl = "1h"
  federation {{
    bundle_endpoint {{
      address = "127.0.0.1"
      port = {bundle_port}
      profile "https_spiffe" {{}}
    }}
  }}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/server/store.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"""

_AGENT = """
agent {{
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/api.sock"
  trust_domain = "{domain}"
  data_dir = "{folder}/agent"
  log_level = "INFO"
  trust_bundle_path = "{folder}/bundle.pem"
  experimental {{ sync_interval = "1s" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


def find(name: str) -> str:
    """The path of ``spire-server`` or ``spire-agent``; skips the test, or fails it, where there is none."""
    found = shutil.which(name, path=os.environ.get("SPIRE_BIN") or None)
    if found is None:
        why = f"no {name} is found in SPIRE_BIN or on the PATH: build it with .ci/spire"
        if os.environ.get("SVIDECAR_SPIRE_REQUIRED") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return found


class Spire:
    """One trust domain: its server, and an agent with the socket of the Workload API."""

    def __init__(self, folder: Path, domain: str) -> None:
        self.folder = folder
        self.domain = domain
        self.names = {"folder": folder, "domain": domain, "port": free_port(), "bundle_port": free_port()}
        self._server_binary, self._agent_binary = find("spire-server"), find("spire-agent")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("server", "agent"):
            (folder / name).mkdir(parents=True)
        (folder / "server.conf").write_text(_SERVER.format(**self.names))
        (folder / "agent.conf").write_text(_AGENT.format(**self.names))

    @property
    def endpoint(self) -> str:
        """What SPIFFE_ENDPOINT_SOCKET says."""
        return f"unix://{self.folder}/api.sock"

    def start(self) -> "Spire":
        """Start both, and wait until they are healthy."""
        self._run("server", [self._server_binary, "run", "-config", str(self.folder / "server.conf")])
        self._wait("server", lambda: self._is_healthy(self._server_binary, "server.sock"))
        (self.folder / "bundle.pem").write_text(self.ask("bundle", "show", "-format", "pem"))
        self.start_agent(self.ask("token", "generate", "-spiffeID", self.id("agent")).split()[1])
        return self

    def start_agent(self, join_token: str = "") -> None:
        """Start the agent; again without a token, for it keeps what it got for that."""
        command = [self._agent_binary, "run", "-config", str(self.folder / "agent.conf")]
        self._run("agent", [*command, *(["-joinToken", join_token] if join_token else [])])
        self._wait("agent", lambda: self._is_healthy(self._agent_binary, "api.sock"))

    def kill_agent(self) -> None:
        """End the agent at once."""
        process = self._processes.pop("agent")
        process.kill()
        process.wait()

    def close(self) -> None:
        """End everything."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    # ---- what an operator asks of the server

    def id(self, path: str) -> str:
        """A SPIFFE ID of this domain."""
        return f"spiffe://{self.domain}/{path}"

    def ask(self, *words: str, stdin: bytes = b"") -> str:
        """Run a verb of ``spire-server``; give what it prints."""
        command = [self._server_binary, *words[:2], "-socketPath", str(self.folder / "server.sock"), *words[2:]]
        ended = subprocess.run(command, input=stdin, capture_output=True, timeout=20, check=False)
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return ended.stdout.decode()

    def enter(self, path: str, *more: str, selector: str = f"unix:uid:{os.getuid()}") -> str:
        """Register a workload; give the ID of its entry."""
        words = ("-parentID", self.id("agent"), "-spiffeID", self.id(path), "-selector", selector, "-output", "json")
        answer: Any = json.loads(self.ask("entry", "create", *words, *more))
        entry: str = answer["results"][0]["entry"]["id"]
        return entry

    def delete(self, entry: str) -> None:
        """Take the registration back."""
        self.ask("entry", "delete", "-entryID", entry)

    def trust(self, other: "Spire") -> None:
        """Take the bundle of another domain."""
        bundle = other.ask("bundle", "show", "-format", "spiffe")
        self.ask("bundle", "set", "-format", "spiffe", "-id", f"spiffe://{other.domain}", stdin=bundle.encode())

    # ---- processes

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def _wait(self, name: str, is_healthy: Callable[[], bool]) -> None:
        def is_up() -> bool:
            log = (self.folder / f"{name}.log").read_text()
            assert self._processes[name].poll() is None, log
            return is_healthy()

        wait_until(is_up, f"a healthy {name} of {self.domain}", START_S)

    def _is_healthy(self, binary: str, name: str) -> bool:
        command = [binary, "healthcheck", "-socketPath", str(self.folder / name)]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0

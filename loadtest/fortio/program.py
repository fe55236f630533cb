"""fortio, where it is installed; else our own open-loop client, which is told in the result."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import machine
from loadtest.processes import MORTAL, ProcessFailed
from loadtest.scenarios.ground import say

MODULE = "fortio.org/fortio"
BUILD_S = 600
SPARE_S = 30.0
PAYLOAD_BYTES = 1024
RESOLUTION_S = "0.00001"  # its default, a millisecond, is more than what is measured
KEPT = 0.97
"""Of the rate: fortio makes whole calls on each connection, so that 64 of them lose 1.3 % of a run of 5 seconds."""
PERCENTS = "50,75,90,99,99.9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run of the load in one way."""

    sent_per_s: float
    requests: int
    errors: dict[str, int]
    ms: Mapping[str, float]
    bad: str


def find(directory: Path | None) -> str | None:
    """In ``directory``, on the path, or where ``go install`` puts programs."""
    go = [os.environ.get("GOBIN", ""), str(Path(os.environ.get("GOPATH", Path.home() / "go")) / "bin")]
    places = [str(directory)] if directory is not None else []
    return shutil.which("fortio", path=os.pathsep.join([*places, machine.search_path(), *filter(None, go)]))


def install(directory: Path, version: str) -> None:
    """Build it into ``directory``. Raises ProcessFailed with the end of what Go said."""
    go = shutil.which("go")
    if go is None:
        raise ProcessFailed("fortio is built by Go, and there is no go on the path")
    directory.mkdir(parents=True, exist_ok=True)
    say(f"go install {MODULE}@{version} into {directory} ...")
    done = subprocess.run(
        [go, "install", f"{MODULE}@{version}"],
        env={**os.environ, "GOBIN": str(directory.resolve())},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode:
        tail = "\n  ".join(done.stderr.strip().splitlines()[-3:])
        raise ProcessFailed(f"go install failed; another --version may do, or leave it out:\n  {tail}")


def server(program: str, port: int) -> tuple[str, ...]:
    """The app of the rig: it echoes what it gets, whatever the path."""
    off = [part for name in ("grpc", "redirect", "tcp", "udp") for part in (f"-{name}-port", "disabled")]
    return (program, "server", "-http-port", f"127.0.0.1:{port}", *off, "-loglevel", "error", "-ui-path", "")


def load(
    program: str, url: str, fields: Mapping[str, str], connections: int, rate: float, seconds: int, spread: str
) -> Round:
    """As Istio calls it. It makes up for what it could not send in time, but its latency counts from the sending."""
    call = [*MORTAL, program, "load", "-qps", f"{rate:g}", "-c", str(connections), "-t", f"{seconds}s", f"-{spread}"]
    call += [
        "-payload-size",
        str(PAYLOAD_BYTES),
        "-r",
        RESOLUTION_S,
        "-p",
        PERCENTS,
        "-json",
        "-",
        "-loglevel",
        "error",
    ]
    for name, value in fields.items():
        call += ["-H", f"{name}: {value}"]
    done = subprocess.run([*call, url], capture_output=True, text=True, timeout=seconds + SPARE_S, check=False)
    if done.returncode:
        raise ProcessFailed(f"fortio ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return parse(done.stdout, rate)


def parse(text: str, rate: float) -> Round:
    """What fortio wrote to ``-json -``, among what it says to people."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    codes = {f"status {code}": count for code, count in found["RetCodes"].items() if code != "200"}
    percentiles = found["DurationHistogram"]["Percentiles"] or []
    kept = found["ActualQPS"] > KEPT * rate
    return Round(
        sent_per_s=found["ActualQPS"],
        requests=found["DurationHistogram"]["Count"],
        errors=codes,
        ms={f"p{each['Percentile']:g}": each["Value"] * 1e3 for each in percentiles},
        bad="" if kept else f"only {found['ActualQPS']:.0f} of {rate:g} requests a second were sent",
    )

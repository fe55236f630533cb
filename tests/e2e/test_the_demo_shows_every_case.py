"""``svidecar demo``: each case that it shows is a test, and nothing that it starts outlives it."""

import argparse
import contextlib
import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.secrecy import listen_to
from support.sidecar import wait_until

from proxy.demo.cases import CASES

COMMAND = (sys.executable, "-W", "error::ResourceWarning", "-m", "proxy", "demo")
FINISHED_S = 80.0

EDGE, ORDERS = "spiffe://example.org/edge", "spiffe://example.org/orders"
SUPPORT, INTRUDER = "spiffe://example.org/support", "spiffe://example.org/intruder"

Hops = list[tuple[str, str, str | None]]

CHAIN: Hops = [("orders", "outbound", ORDERS), ("ledger", "inbound", ORDERS)]
AT_EDGE: Hops = [("edge", "outbound", EDGE)]
AT_ORDERS: Hops = [("orders", "inbound", EDGE)]
FROM_EDGE = [*AT_EDGE, *AT_ORDERS, *CHAIN]

EXPECTED: dict[str, tuple[str, str | None, int | None, Hops]] = {
    "edge reads an order, first call": ("allow", None, 200, FROM_EDGE),
    "edge reads it, median of 30": ("allow", None, 200, FROM_EDGE),
    "edge places an order (POST)": ("allow", None, 201, FROM_EDGE),
    "support cancels it (DELETE)": ("allow", None, 200, [("orders", "inbound", SUPPORT), *CHAIN]),
    "no token": ("deny", "token_missing", 401, AT_ORDERS),
    "two tokens": ("deny", "token_repeated", 400, AT_ORDERS),
    "expired token": ("deny", "token_expired", 401, AT_ORDERS),
    "token for another audience": ("deny", "token_wrong_audience", 401, AT_ORDERS),
    "forged signature": ("deny", "token_bad_signature", 401, AT_ORDERS),
    "token signed with an unknown key": ("deny", "token_unknown_key", 401, AT_ORDERS),
    "token lacks the route's scope": ("deny", "scope_missing", 403, AT_ORDERS),
    "scope beyond edge's connection": ("deny", "scope_beyond_grant", 403, AT_ORDERS),
    "route that no rule has": ("deny", "route_not_allowed", 403, AT_ORDERS),
    "ambiguous path": ("deny", "ambiguous_path", 400, AT_ORDERS),
    "destination that is not known": ("deny", "destination_unknown", 403, AT_EDGE),
    "upstream is not who it should be": ("deny", "upstream_untrusted", 502, AT_EDGE),
    "peer that no rule names": ("deny", "peer_not_allowed", None, [("orders", "inbound", INTRUDER)]),
    "certificate from a foreign CA": ("deny", "untrusted_chain", None, [("orders", "inbound", None)]),
    "plaintext to the mTLS port": ("deny", "plaintext", None, [("orders", "inbound", None)]),
}
"""Written down a second time, by hand: a case that is changed by mistake must not change its test with it."""


class Demo:
    """One run, as a person starts it; its words are in files."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([*COMMAND, *options], stdout=out, stderr=err, env=_environment(folder))
        self.folder = folder
        listen_to("demo", lambda: self.out + self.err)

    @property
    def out(self) -> str:
        """Its standard output."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Its standard error."""
        return self._err.read_text()

    @property
    def children(self) -> list[int]:
        """Processes that it has started and that still run; the leash names it in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and f"leash.py\0{self.process.pid}\0" in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
        return found

    @property
    def folders(self) -> list[Path]:
        """What it has left in the temporary folder."""
        return list((self.folder / "tmp").iterdir())

    def wait_for(self, text: str) -> None:
        """Wait until it says ``text``."""
        wait_until(lambda: text in self.out + self.err or self.process.poll() is not None, text, FINISHED_S)
        assert text in self.out + self.err, self.err

    def end(self, number: int) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


def _environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return os.environ | {"TMPDIR": str(folder / "tmp")}


@contextlib.contextmanager
def demo(folder: Path, *options: str) -> Iterator[Demo]:
    """A run that ends with the block."""
    made = Demo(folder, *options)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()


Run = tuple[Demo, dict[str, dict[str, Any]]]


@pytest.fixture(scope="session")  # what is said here is listened to after the module has ended
def short() -> Iterator[Path]:
    """A folder with a short name: a socket of the demo's stands below it, and those have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(short: Path) -> Path:
    """One for each test."""
    return Path(tempfile.mkdtemp(dir=short))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One run for the whole file, and what it printed, by case."""
    with demo(tmp_path_factory.mktemp("demo"), "--once", "--json") as made:
        made.process.wait(FINISHED_S)
        cases = json.loads(made.out)
        yield made, {case["case"]: case for case in cases}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_case_ends_as_it_should(run: Run, name: str) -> None:
    """Its verdict, its reason, its status, and who called at each hop."""
    case = run[1][name]
    verdict, reason, status, hops = EXPECTED[name]
    assert (case["verdict"], case["reason"], case["status"]) == (verdict, reason, status)
    assert [(hop["sidecar"], hop["direction"], hop["peer"]) for hop in case["hops"]] == hops
    assert (case["expected"], case["ok"], case["wrong"]) == (verdict, True, [])
    for hop in case["hops"]:
        took = hop["overhead_us"]
        assert took is None if status is None else 0 <= took < 10_000_000


def test_no_case_is_without_a_test(run: Run) -> None:
    """Nor has the demo forgotten one."""
    assert list(run[1]) == list(EXPECTED) == [case.name for case in CASES]


def test_a_transaction_is_named_where_it_was_proved(run: Run) -> None:
    """Of a token that was refused, nothing is believed, not even its name."""
    named = {name for name, case in run[1].items() if case["txn"] is not None}
    proved = {name for name, (verdict, *_) in EXPECTED.items() if verdict == "allow"}
    policy = {"token lacks the route's scope", "scope beyond edge's connection", "route that no rule has"}
    assert named == proved | policy | {"ambiguous path"}
    assert len({run[1][name]["txn"] for name in proved if name.startswith("edge")}) == 1, "one token, held by edge"


def test_it_ends_well_and_leaves_nothing(run: Run) -> None:
    """Exit code 0, in good time; no process, no folder; only JSON on standard output, and no fault anywhere."""
    made, _ = run
    assert made.process.returncode == 0, made.err
    assert (made.children, made.folders) == ([], [])
    lines = made.err.strip().splitlines()
    assert [line.split(" ... ")[0] for line in lines[1:]] == [
        "authority",
        *(f"{name}, sidecar and app" for name in ("ledger", "orders", "edge")),
    ]


def test_it_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """The table, then commands and URLs that work; then SIGINT ends every process, and is no failure."""
    with demo(tmp_path) as made:
        made.wait_for("Ctrl-C ends every process")
        assert f"All {len(CASES)} cases ended as they should." in made.out
        assert "\x1b" not in made.out, "no colours into a file"
        assert len(made.children) == 7
        commands = [shlex.split(line, comments=True) for line in made.out.splitlines() if line.startswith("  curl ")]
        assert [_as_curl(command) for command in commands] == [200, 201, 200, 403]
        urls = re.findall(r"http://\S+/(?:metrics|healthz/ready) |http://\S+:\d+/$", made.out, re.MULTILINE)
        assert [_as_curl(["curl", url.strip()]) for url in urls] == [200] * 9
        [folder] = made.folders
        assert str(folder) in made.out
        names = {"authority", "edge", "orders", "ledger"}
        assert {path.name for path in folder.glob("*.yaml")} == {f"{name}.yaml" for name in names}
        assert made.end(signal.SIGINT) == 0
        assert (made.children, made.folders) == ([], [])
        assert "Traceback" not in made.err


def _as_curl(command: list[str]) -> int:
    """Do what curl would do with this command line; give the status."""
    options = argparse.ArgumentParser()
    options.add_argument("-i", action="store_true")
    options.add_argument("-H", default="")
    options.add_argument("-d")
    options.add_argument("url")
    given = options.parse_args(command[1:])
    url = urlsplit(given.url)
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=10)
    try:
        fields = dict([given.H.split(": ")]) if given.H else {}
        connection.request("POST" if given.d else "GET", url.path, given.d, fields)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("after", "number"),
    [("loopback", signal.SIGHUP), ("authority ... ready", signal.SIGTERM), ("ledger, sidecar and", signal.SIGINT)],
    ids=str,
)
def test_it_can_be_ended_in_the_middle_of_its_start(tmp_path: Path, after: str, number: int) -> None:
    """At any moment, and by any of the signals that end things; the exit code says which."""
    with demo(tmp_path) as made:
        made.wait_for(after)
        assert made.end(number) == 128 + number
        assert (made.children, made.folders) == ([], [])
        assert made.out == ""
        assert "Traceback" not in made.err


def test_nothing_outlives_it_even_when_it_is_killed(tmp_path: Path) -> None:
    """SIGKILL lets nobody clean up: the kernel ends its children."""
    with demo(tmp_path) as made:
        made.wait_for("ledger, sidecar and app ... ready")
        assert len(made.children) >= 3
        made.end(signal.SIGKILL)
        wait_until(lambda: not made.children, "the end of every child")


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    """By name; the demo ends itself, for what it shows would be wrong from then on."""
    with demo(tmp_path) as made:
        made.wait_for("Ctrl-C ends every process")
        [authority] = made.folders[0].glob("state/authority.json")
        os.kill(json.loads(authority.read_text())["pid"], signal.SIGKILL)
        assert made.process.wait(20) == 1
        assert "svidecar demo: authority was ended by signal 9. The last that it said:\n    " in made.err
        assert (made.children, made.folders) == ([], [])


WRONG = """
import sys
from dataclasses import replace
from proxy.demo import cases, command
by_name = {case.name: case for case in cases.CASES}
command.CASES = [replace(by_name["no token"], reason="token_expired"), by_name["two tokens"]]
sys.exit(command.main(once=True, as_json=False))
"""


def test_a_case_that_does_not_end_as_it_should_is_loud(tmp_path: Path) -> None:
    """In the table, in the sum, and in the exit code."""
    found = subprocess.run(
        [sys.executable, "-c", WRONG],
        capture_output=True,
        text=True,
        check=False,
        timeout=FINISHED_S,
        env=_environment(tmp_path),
    )
    listen_to("demo", lambda: found.stdout + found.stderr)
    assert found.returncode == 1, found.stderr
    assert "!! NOT AS IT SHOULD BE: expected deny token_expired" in found.stdout
    assert "1 of 2 cases are NOT as they should be." in found.stdout

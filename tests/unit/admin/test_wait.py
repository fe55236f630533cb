"""``svidecar wait``."""

import json
import socket
import threading
import time

import pytest
from support.ports import refused_port
from support.sidecar import SOON_S
from support.stranger import Answer, stranger

from proxy.admin.health import Gate, Health
from proxy.admin.wait import main

READY = "/healthz/ready"


def not_ready(**details: str) -> Answer:
    """The answer of a sidecar of which these gates are closed."""
    health = Health()
    for gate in Gate:
        health.set(gate, gate not in details, details.get(gate, "ok"))
    gates = {gate: {"ok": found.ok, "detail": found.detail} for gate, found in health.findings.items()}
    return 503, json.dumps({"ready": False, "gates": gates}).encode()


def test_ready_at_once() -> None:
    """Exit code 0."""
    with stranger((200, b"{}")) as one:
        assert main(["--url", one.url(READY), "--timeout", "0"]) == 0
    assert one.asked == [f"GET {READY}"]


def test_becomes_ready() -> None:
    """It asks again until it is."""
    with stranger(not_ready(keys="x"), not_ready(keys="x"), (200, b"")) as one:
        assert main(["--url", one.url(READY), "--timeout", "5"]) == 0
    assert len(one.asked) == 3


def test_timeout_names_the_gates(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, each closed gate with its reason, no open one, and not long after the timeout."""
    with stranger(not_ready(svid="no SVID was loaded yet", keys="no keys")) as one:
        began = time.monotonic()
        assert main(["--url", one.url(READY), "--timeout", "0.5"]) == 1
        assert time.monotonic() - began < SOON_S
    assert capsys.readouterr().err == "not ready: svid: no SVID was loaded yet\nnot ready: keys: no keys\n"


def test_timeout_0_looks_once() -> None:
    """As a health check does."""
    with stranger(not_ready(keys="x")) as one:
        assert main(["--url", one.url(READY), "--timeout", "0"]) == 1
    assert len(one.asked) == 1


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """The address is named, for it may be the wrong one."""
    with refused_port() as port:
        assert main(["--url", f"http://127.0.0.1:{port}/", "--timeout", "0"]) == 1
    assert f"no answer from 127.0.0.1:{port}" in capsys.readouterr().err


def test_something_else_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Not HTTP at all: told, not raised."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection = server.accept()[0]
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-OpenSSH\x1b[2J\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert main(["--url", f"http://127.0.0.1:{server.getsockname()[1]}", "--timeout", "0"]) == 1
        thread.join()
    err = capsys.readouterr().err
    assert "no answer" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"gates": 3}', b'{"gates": {"a": 1}}', b'{"gates": {"a": {}}}', b"\xff", b"[" * 50000],
)  # fmt: skip
def test_answers_that_name_no_gate(capsys: pytest.CaptureFixture[str], body: bytes) -> None:
    """Another program on that port may answer anything."""
    with stranger((500, body)) as one:
        assert main(["--url", one.url(READY), "--timeout", "0"]) == 1
    assert capsys.readouterr().err == "not ready: the answer is 500, without the name of a gate\n"


def test_the_terminal_does_not_obey_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are replaced, and a long detail is cut."""
    with stranger(not_ready(keys="\x1b]0;x\x07\n\r" + "a" * 10000)) as one:
        assert main(["--url", one.url(READY), "--timeout", "0"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("not ready: keys: ?]0;x???aaa")
    assert len(err) < 600


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "https://127.0.0.1/"],
        ["--url", "file:///etc/passwd"],
        ["--url", "127.0.0.1:15021"],
        ["--url", "http://"],
        ["--url", "http://x:99999/"],
        ["--url", "http://[::1/"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["--timeout", "86401"],
        ["--timeout", "soon"],
        ["now"],
    ],
)
def test_a_command_line_that_cannot_be_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what would be right, as argparse does."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "svidecar wait" in capsys.readouterr().err

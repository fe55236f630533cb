"""``svidecar tap`` and ``svidecar drain`` before whatever may answer at that port."""

import contextlib
import itertools
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.ports import refused_port
from support.stranger import Answer, stranger

from proxy.admin.ask import NoAnswer, ask
from proxy.admin.tap import told
from proxy.cli import main

RECORD = {
    "time": "2026-11-30T12:03:01.123Z",
    "kind": "request",
    "direction": "inbound",
    "decision": "deny",
    "reason": "scope_missing",
    "rule": "edge may order",
    "peer": "spiffe://example.org/edge",
    "txn": "97053963",
    "method": "POST",
    "route": "/orders/{id}",
    "status": 403,
    "duration_s": 0.00042,
    "overhead_s": 0.0004,
}


def seen(number: int, *records: dict[str, Any], missed: int | None = 0) -> Answer:
    """What a sidecar answers."""
    return 200, json.dumps({"next": number, "missed": missed, "records": records}).encode()


def test_a_line_for_a_person() -> None:
    """When, which way, what and why, who and what, how long; then by which rule, in which transaction."""
    assert told(RECORD) == (
        "12:03:01.123  inbound   deny   403  scope_missing  spiffe://example.org/edge  POST /orders/{id}  "
        "0.42 ms (0.40 ours)  rule edge may order  txn 97053963"
    )
    connection = {"time": RECORD["time"], "kind": "connection", "direction": "inbound", "decision": "error"}
    assert told(connection | {"reason": "handshake_failed"}) == (
        "12:03:01.123  inbound   error  -  handshake_failed  the app  connection"
    )


def test_a_record_cannot_rule_the_terminal() -> None:
    """A ``txn`` may be anything that a token service signs."""
    assert "\x1b" not in told(RECORD | {"txn": "\x1b[2Jx\r\n"})


@pytest.mark.parametrize(
    "changes",
    [
        {name: value}
        for name in RECORD
        for value in (None, 7, 10**400, "x", ["\x1b[2J"], {"a": 1}, True, float("inf"), float("nan"))
    ],
)
def test_a_record_may_be_anything(changes: dict[str, Any]) -> None:
    """Whoever answers at that port has written it: there is a line, without a control character."""
    assert told(RECORD | changes).isprintable()


def test_who_was_away_and_who_finds_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is told what it is."""
    with stranger(seen(4), seen(6, RECORD, missed=None), (503, b"{}")) as one:
        assert main(["tap", "--url", one.url("/tap"), "--json"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "we were away for long, and what came meanwhile was missed",
        f"127.0.0.1:{one.port} answers 503: as many look on as may; come again in ten seconds",
    ]


def test_it_looks_on_from_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """Filters are exact; ``--count`` ends it; what was missed is said, not to the output."""
    with stranger(seen(4), seen(6, RECORD, RECORD | {"reason": ""}, missed=3), seen(7, RECORD)) as one:
        words = ["--reason", "scope_missing", "--count", "2", "--json"]
        assert main(["tap", "--url", one.url("/tap"), *words]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == [RECORD, RECORD]
    assert printed.err == "3 came too fast and were missed\n"
    assert one.asked == ["GET /tap", "GET /tap?after=4", "GET /tap?after=6"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"next": 1, "missed": 0, "records": [1]}'),
        (200, b'{"next": "x", "missed": 0, "records": []}'),
        (200, b'{"next": Infinity, "missed": 0, "records": []}'),
        (200, b'{"next": null, "missed": 0, "records": []}'),
        (404, b'{"next": 1, "missed": 0, "records": []}'),
        (200, b"[" * 100_000),
    ],
)
def test_another_program_is_at_that_port(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in one line, with exit code 1."""
    with stranger(answer) as one:
        assert main(["tap", "--url", one.url("/tap")]) == 1
        assert main(["drain", "--url", one.url("/drain")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("is this the admin.listen of a sidecar?\n") == 2


@pytest.mark.parametrize("verb", ["tap", "drain"])
def test_nobody_answers(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names where it asked, and what to look at."""
    with refused_port() as port:
        assert main([verb, "--url", f"http://127.0.0.1:{port}/{verb}"]) == 1
    assert f"no answer from 127.0.0.1:{port}" in (said := capsys.readouterr().err)
    assert "is a sidecar running, and is this its admin.listen?" in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/\u00fc", "http://a..b/"])
@pytest.mark.parametrize("verb", ["tap", "drain"])
def test_a_url_that_cannot_be_asked(verb: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not ASCII, a host that no name can be: told in one line."""
    assert main([verb, "--url", url]) == 1
    assert capsys.readouterr().err.startswith("no answer from ")


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 202 Accepted\r\n\r\n"])
def test_an_answer_without_end(before: bytes) -> None:
    """A byte now and then keeps nobody: the whole answer has so long, its head and its body."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(before)
            while True:
                connection.sendall(b"a")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="timed out"):
            ask(urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}/drain"), 0.4)
        assert 0.4 <= time.monotonic() - began < 2
        thread.join()


@pytest.mark.parametrize("closes", [True, False])
def test_drain_waits_for_one_that_answers_no_more(closes: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    """Silence, or an end without an answer, is not the end of the sidecar: its port is still there."""

    def serve(listener: socket.socket, held: contextlib.ExitStack) -> None:
        for number in itertools.count():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if number == 0:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            if number == 0 or closes:
                connection.close()
            else:
                held.enter_context(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as held:
        thread = threading.Thread(target=serve, args=(listener, held))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/drain"
        began = time.monotonic()
        assert main(["drain", "--url", url, "--timeout", "0.5"]) == 1
        took_s = time.monotonic() - began
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert 0.5 <= took_s < 2
    assert capsys.readouterr().err == "it has not ended within 0.5 s, and goes on ending\n"


@pytest.mark.parametrize(
    "words",
    [
        ["tap", "--url", "127.0.0.1:15000"],
        ["tap", "--url", "https://127.0.0.1:15000/tap"],
        ["tap", "--url", "http://user:hunter2@127.0.0.1:15000/tap"],
        ["tap", "--count", "0"],
        ["tap", "--count", "-1"],
        ["tap", "--decision", "refuse"],
        ["drain", "--timeout", "soon"],
        ["drain", "--timeout", "-1"],
    ],
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the option is named."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert words[1] in (said := capsys.readouterr().err)
    assert "hunter2" not in said

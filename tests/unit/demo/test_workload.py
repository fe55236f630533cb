"""The app of the demo: what it copies, what it tells."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from support.apps import App
from support.ports import refused_port
from support.tokens import TokenMint

from proxy.demo.workload import MAX_BODY_BYTES, caller, transaction

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@contextmanager
def workload(*next_hop: str) -> Iterator[int]:
    """Run one at a socket of ours; give its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        command = [sys.executable, "-m", "proxy.demo.workload", "orders", str(sock.fileno()), *next_hop]
        process = subprocess.Popen(command, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL)
        try:
            yield sock.getsockname()[1]
        finally:
            process.kill()
            process.wait()


def ask(port: int, method: str, target: str, body: bytes = b"", **fields: str) -> tuple[int, Any]:
    """Ask it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, target, body or None, {name.replace("_", "-"): v for name, v in fields.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def last() -> Iterator[int]:
    """One without a next hop."""
    with workload() as port:
        yield port


def test_it_tells_what_its_sidecar_has_proved(last: int) -> None:
    """The caller, and the transaction."""
    uri = "spiffe://example.org/edge"
    status, answer = ask(
        last,
        "POST",
        "/orders",
        b"four",
        Txn_Token=TokenMint().token(txn="t1", sub="alice").decode(),
        X_Forwarded_Client_Cert=f"By=spiffe://example.org/orders;Hash=ab;URI={uri}",
    )
    assert (status, answer["called_by"], answer["body_bytes"]) == (201, uri, 4)
    assert answer["transaction"] == {"txn": "t1", "sub": "alice", "scope": "orders.read orders.write"}


def test_without_a_sidecar_nobody_is_proved(last: int) -> None:
    """A user calls edge so."""
    status, answer = ask(last, "GET", "/orders/7")
    assert (status, answer["called_by"], answer["transaction"]) == (200, None, None)


def test_it_copies_token_and_trace_and_nothing_else() -> None:
    """The contract of an app: both go on byte for byte; what the sidecar said of the caller does not."""
    app = App()
    token = TokenMint().token().decode()
    try:
        with workload("ledger", str(app.port), "entries") as port:
            status, _ = ask(
                port, "POST", "/orders/7", b"x", Txn_Token=token, traceparent=TRACE, X_Forwarded_Client_Cert="URI=a"
            )
        assert status == 201
        [seen] = app.requests
    finally:
        app.close()
    assert (seen["method"], seen["target"]) == ("POST", "/entries/7")
    fields = {name.lower(): value for name, value in seen["fields"]}
    assert (fields["host"], fields["txn-token"], fields["traceparent"]) == ("ledger", token, TRACE)
    assert "x-forwarded-client-cert" not in fields


def test_a_next_hop_that_is_down_is_told() -> None:
    """As 502, and it serves on."""
    with refused_port() as port_of_nobody, workload("ledger", str(port_of_nobody), "entries") as port:
        for _ in range(2):
            status, answer = ask(port, "GET", "/orders/7")
            assert (status, answer["next"]) == (502, {"error": "ledger gave no answer: ConnectionRefusedError"})


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "-1", "+1", "x"])
def test_a_body_is_counted_and_bounded(last: int, length: str) -> None:
    """Refused before it is read."""
    with socket.create_connection(("127.0.0.1", last), timeout=10) as sock:
        sock.sendall(f"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_the_largest_body_is_taken(last: int) -> None:
    """Of exactly the limit."""
    assert ask(last, "POST", "/orders", b"x" * MAX_BODY_BYTES)[1]["body_bytes"] == MAX_BODY_BYTES


def test_it_needs_nothing_but_the_standard_library() -> None:
    """It stands for an app that knows nothing of us."""
    script = (
        "import sys, proxy.demo.workload; print([n for n in sys.modules if n.startswith(('proxy', 'crypto', 'jwt'))])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "['proxy', 'proxy.demo', 'proxy.demo.workload']"


def test_reading_what_is_not_there() -> None:
    """Neither field."""
    assert caller(None) is None
    assert caller("By=spiffe://example.org/orders;Hash=ab") is None
    assert transaction(None) is None

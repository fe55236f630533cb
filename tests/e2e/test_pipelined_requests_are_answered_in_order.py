"""Many requests in one write, with different tokens and outcomes: each gets its own answer, in order, and no other's."""

import socket
import time

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import request


def _app(connection: socket.socket) -> None:
    """Answer with the path; slowly where it says so."""
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        target = head.split(b" ")[1]
        if b"Content-Length: 4\r\n" in head:
            target += connection.recv(4, socket.MSG_WAITALL)
        if b"slow" in target:
            time.sleep(0.1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(_app)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port))


def _mixed(mesh: Mesh) -> list[tuple[bytes, str]]:
    """Requests, each with what must answer it: a body of the app, or a reason of ours."""
    expired = {"Txn-Token": mesh.mint.token(time.time() - 3600).decode()}
    narrow = mesh.bearer(scope="orders.read")
    return [
        (request("GET", "/any/slow-1", mesh.bearer()), "/any/slow-1"),
        (request("GET", "/any/2"), "token_missing"),
        (request("GET", "/orders/3", narrow), "/orders/3"),
        (request("POST", "/orders", narrow, b"body"), "scope_missing"),
        (request("POST", "/any/5", mesh.bearer(), b"body"), "/any/5body"),
        (request("GET", "/any/6", expired), "token_expired"),
        (request("GET", "/any/slow-7", mesh.bearer()), "/any/slow-7"),
        (request("GET", "/orders/a;b", mesh.bearer()), "ambiguous_path"),
        (request("GET", "/elsewhere", mesh.bearer()), "route_not_allowed"),
        (request("GET", "/any/10", mesh.bearer(), b"body"), "/any/10body"),
    ]


def test_in_one_write(mesh: Mesh, orders: Sidecar) -> None:
    """Fifty requests at once."""
    wire = mesh.connect(orders.ports["inbound"])
    mixed = _mixed(mesh) * 5
    wire.send(b"".join(data for data, _ in mixed))
    for number, (_, expected) in enumerate(mixed):
        answer = wire.reply()
        assert (answer.reason or answer.body.decode()) == expected, number


def test_cut_anywhere(mesh: Mesh, orders: Sidecar) -> None:
    """The same bytes in small pieces."""
    wire = mesh.connect(orders.ports["inbound"])
    mixed = _mixed(mesh)
    data = b"".join(data for data, _ in mixed)
    for start in range(0, len(data), 97):
        wire.send(data[start : start + 97])
    assert [(a.reason or a.body.decode()) for a in (wire.reply() for _ in mixed)] == [e for _, e in mixed]


def test_through_two_sidecars(mesh: Mesh, orders: Sidecar) -> None:
    """Outbound, to several destinations: the order of the answers is that of the requests."""
    edge = mesh.start(
        "edge",
        outbound(orders_at(orders), 'host: down, address: "127.0.0.1:1", protection: plain')
        + "tokens: {keys: jwks.json}\n",
    )
    wire = mesh.plain(edge.ports["outbound"])
    mixed = [
        (request("GET", "/any/slow-1", mesh.bearer()), "/any/slow-1"),
        (request("GET", "/x", host="unknown"), "destination_unknown"),
        (request("GET", "/x", host="down"), "upstream_down"),
        (request("GET", "/any/2", mesh.bearer()), "/any/2"),
        (request("GET", "/any/3"), "token_missing"),
    ] * 4
    wire.send(b"".join(data for data, _ in mixed))
    assert [(a.reason or a.body.decode()) for a in (wire.reply() for _ in mixed)] == [e for _, e in mixed]


def test_what_follows_the_last_request_is_not_read(mesh: Mesh, orders: Sidecar) -> None:
    """After ``Connection: close`` nothing more is served, though it was sent."""
    wire = mesh.connect(orders.ports["inbound"])
    last = request("GET", "/any/last", mesh.bearer() | {"Connection": "close"})
    before = orders.decisions(decision="allow")
    wire.send(last + request("POST", "/any/never", mesh.bearer()) * 3)
    answer = wire.reply()
    assert (answer.body, answer.closes) == (b"/any/last", True)
    assert wire.ends()
    assert orders.decisions(decision="allow") == before + 1


def test_a_bad_request_behind_good_ones(mesh: Mesh, orders: Sidecar) -> None:
    """The good ones are answered, then the refusal, then the end."""
    wire = mesh.connect(orders.ports["inbound"])
    good = request("GET", "/any/slow-ok", mesh.bearer())
    wire.send(good * 2 + b"GARBAGE\r\n\r\n" + good)
    assert [wire.reply().status for _ in range(3)] == [200, 200, 400]
    assert wire.ends()

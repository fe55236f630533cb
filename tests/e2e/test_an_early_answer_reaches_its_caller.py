"""An app may answer before it has read the request: the answer arrives whole, and nothing is left out of step."""

import socket
import threading

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar, wait_until
from support.wire import Wire

BIG = 64 * 1024 * 1024
"""More than what the kernel holds on three hops: the request cannot be whole when the answer comes."""
ANSWER = b"e" * 100_000


def _app(connection: socket.socket) -> None:
    """Answer the head; then read on, close, or do nothing, as the path says."""
    while (head := read_head(connection)).endswith(b"\r\n\r\n"):
        connection.sendall(b"HTTP/1.1 413 X\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
        if b"/reads" in head:
            while connection.recv(1024 * 1024):
                pass
        elif b"/stalls" in head:
            threading.Event().wait(5)
        if b"POST" in head:
            return


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """The app."""
    return mesh.raw_app(_app)


@pytest.fixture(scope="module")
def chain(mesh: Mesh, app: RawApp) -> dict[str, Sidecar]:
    """Two sidecars."""
    linger = "timeouts: {linger: 500ms}\n"
    orders = mesh.start("orders", INBOUND.format(app=app.port) + linger)
    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n" + linger)
    return {"orders": orders, "edge": edge}


def _upload(wire: Wire, mesh: Mesh, target: str, *, chunked: bool) -> threading.Thread:
    token = mesh.bearer()["Txn-Token"]
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {BIG}"
    wire.send(f"POST {target} HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n{framing}\r\n\r\n".encode())

    def send() -> None:
        try:
            for _ in range(BIG // 65536):
                wire.sock.sendall(b"10000\r\n" + b"b" * 65536 + b"\r\n" if chunked else b"b" * 65536)
        except OSError:
            pass  # it is cut off: as it must be, sooner or later

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    return sender


@pytest.mark.parametrize("chunked", [False, True], ids=["counted", "chunked"])
@pytest.mark.parametrize("target", ["/any/reads", "/any/stalls"])
def test_the_answer_arrives_while_the_body_is_sent(
    mesh: Mesh, chain: dict[str, Sidecar], target: str, *, chunked: bool
) -> None:
    """Whole, with ``Connection: close``; the sender is not left hanging."""
    wire = mesh.plain(chain["edge"].ports["outbound"])
    sender = _upload(wire, mesh, target, chunked=chunked)
    answer = wire.reply()
    assert (answer.status, answer.body) == (413, ANSWER)
    assert answer.closes
    sender.join(10)
    assert not sender.is_alive()
    wait_until(lambda: all(s.open_connections(d) == 0 for s, d in _doors(chain)[:1]), "the caller's connection ends")


def test_a_small_body_that_was_not_read(mesh: Mesh, chain: dict[str, Sidecar]) -> None:
    """The app answers and closes with bytes unread: a reset of its kernel's may race its answer, but nothing hangs."""
    with mesh.plain(chain["edge"].ports["outbound"]) as wire:
        answer = wire.ask("POST", "/any/closes", mesh.bearer(), b"b" * 1000)
        assert answer.status in {413, 502}
        assert wire.ask("GET", "/any/next", mesh.bearer()).body == ANSWER


def test_nothing_is_left_open(chain: dict[str, Sidecar], app: RawApp) -> None:
    """Also not a connection to an app that reads no further."""
    app.cut()
    for sidecar, direction in _doors(chain)[:1]:
        wait_until(lambda s=sidecar, d=direction: s.open_connections(d) == 0, "closed")  # type: ignore[misc]


def _doors(chain: dict[str, Sidecar]) -> list[tuple[Sidecar, str]]:
    return [(chain["edge"], "outbound"), (chain["orders"], "inbound")]

"""Whatever HTTP/1.1 allows an app to answer arrives as it was meant: framing, trailers, 1xx, HEAD, 204, 304, HTTP/1.0."""

import socket

import pytest
from support.apps import RawApp, read_head
from support.mesh import INBOUND, Mesh, orders_at, outbound
from support.sidecar import Sidecar
from support.wire import Wire


class Scripted:
    """An app that answers by the path: what a test has put there; it closes after answers that end with it."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.heads: list[bytes] = []

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            self.heads.append(head)
            answer = self.answers[head.split(b" ")[1].decode()]
            connection.sendall(answer)
            if b"until-close" in answer or b"Connection: close" in answer or answer.startswith(b"HTTP/1.0"):
                return


@pytest.fixture(scope="module")
def script() -> Scripted:
    """What the app does."""
    return Scripted()


@pytest.fixture(scope="module")
def app(mesh: Mesh, script: Scripted) -> RawApp:
    """The app."""
    return mesh.raw_app(script)


@pytest.fixture(scope="module")
def edge(mesh: Mesh, app: RawApp) -> Sidecar:
    """The first of two sidecars before the app."""
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    return mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")


@pytest.fixture
def wire(mesh: Mesh, edge: Sidecar) -> Wire:
    """A connection of the app beside ``edge``."""
    return mesh.plain(edge.ports["outbound"])


OK = b"HTTP/1.1 200 OK\r\n"


def test_a_counted_answer(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """Status, reason, fields in order and repeated, body."""
    script.answers["/any/1"] = (
        b"HTTP/1.1 299 Quite So\r\nSet-Cookie: a=1\r\nX-B: 1\r\nSet-Cookie: b=2\r\nDate: now\r\nServer: app\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    answer = wire.ask("GET", "/any/1", mesh.bearer())
    assert (answer.status, answer.body) == (299, b"hello")
    assert [(n, v) for n, v in answer.fields if n in {"set-cookie", "x-b"}] == [
        ("set-cookie", "a=1"),
        ("x-b", "1"),
        ("set-cookie", "b=2"),
    ]
    assert (answer.get("server"), answer.get("date"), answer.get("via")) == ("app", "now", "")


def test_chunks_arrive_as_they_are_sent(mesh: Mesh, edge: Sidecar, app: RawApp) -> None:
    """A stream of events is not collected: each piece arrives before the next one is sent."""
    step = socket.socketpair()

    def script(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two", b"three"):
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert step[0].recv(1), "the reader has seen it"
        connection.sendall(b"0\r\n\r\n")

    usual, app.script = app.script, script
    try:
        app.cut()
        wire = mesh.plain(edge.ports["outbound"])
        wire.send(f"GET /any/s HTTP/1.1\r\nHost: orders\r\nTxn-Token: {mesh.bearer()['Txn-Token']}\r\n\r\n".encode())
        assert wire.head().get("transfer-encoding") == "chunked"
        for piece in (b"one", b"two", b"three"):
            assert wire.take(5 + len(piece)) == b"%x\r\n%b\r\n" % (len(piece), piece)
            step[1].sendall(b"x")
        assert wire.take(5) == b"0\r\n\r\n"
    finally:
        app.script = usual
        for end in step:
            end.close()
    assert app.failures == []


def test_trailers_are_for_who_asks(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """With ``TE: trailers`` they pass, without it they are dropped; those that must not come late never pass."""
    script.answers["/any/t"] = (
        OK + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3;x=y\r\nabc\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\nTxn-Token: x\r\nX-Two: 2\r\n\r\n"
    )
    answer = wire.ask("GET", "/any/t", mesh.bearer())
    assert (answer.body, answer.trailers) == (b"abc", [])
    answer = wire.ask("GET", "/any/t", mesh.bearer() | {"TE": "trailers", "Connection": "TE"})
    assert (answer.body, answer.trailers) == (b"abc", [("x-sum", "42"), ("x-two", "2")])
    assert b"TE: trailers\r\n" in script.heads[-1]
    assert b"Connection: TE\r\n" in script.heads[-1]


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(mesh: Mesh, script: Scripted, wire: Wire, status: int) -> None:
    """The connection is in step after them, whatever length they claim."""
    for length in (b"", b"Content-Length: 42\r\n"):
        script.answers["/any/n"] = b"HTTP/1.1 %d X\r\nETag: 1\r\n%b\r\n" % (status, length)
        answer = wire.ask("GET", "/any/n", mesh.bearer())
        assert (answer.status, answer.get("etag"), answer.get("transfer-encoding")) == (status, "1", "")
        assert status == 304 or not answer.get("content-length"), "RFC 9110 section 8.6"


def test_head(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """The length that a GET would have had, and no body."""
    script.answers["/any/h"] = OK + b"Content-Length: 42\r\n\r\n"
    answer = wire.ask("HEAD", "/any/h", mesh.bearer())
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "42", b"")
    script.answers["/any/h"] = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    assert wire.ask("HEAD", "/any/h", mesh.bearer()).status == 200
    answer = wire.ask("HEAD", "/nothing/here", mesh.bearer())
    assert answer.status == 403, "our own refusals are in step too"
    script.answers["/any/h"] = OK + b"Content-Length: 2\r\n\r\nok"
    assert wire.ask("GET", "/any/h", mesh.bearer()).body == b"ok"


def test_interim_answers_pass_in_order(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """Several of them, with their fields; never to HTTP/1.0."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    script.answers["/any/i"] = b"HTTP/1.1 102 Processing\r\n\r\n" + hints * 2 + OK + b"Content-Length: 2\r\n\r\nok"
    answer = wire.ask("GET", "/any/i", mesh.bearer())
    assert [i.status for i in answer.interims] == [102, 103, 103]
    assert answer.interims[1].get("link") == "</a>"
    assert answer.body == b"ok"
    old = f"GET /any/i HTTP/1.0\r\nHost: orders\r\nTxn-Token: {mesh.bearer()['Txn-Token']}\r\n\r\n".encode()
    assert wire.send(old).rest().startswith(b"HTTP/1.1 200")


def test_too_many_interim_answers(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """16 pass, 17 are a loop: the answer is 502."""
    for count, status in ((16, 200), (17, 502)):
        script.answers["/any/i"] = b"HTTP/1.1 102 Processing\r\n\r\n" * count + OK + b"Content-Length: 2\r\n\r\nok"
        answer = wire.ask("GET", "/any/i", mesh.bearer())
        assert answer.status == status
        assert len(answer.interims) <= 16


def test_an_answer_that_ends_with_its_connection(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """Becomes chunked for HTTP/1.1, so that its end is told; the caller's connection stays."""
    script.answers["/any/u"] = OK + b"X-Kind: until-close\r\n\r\nall that there is"
    for _ in range(2):
        answer = wire.ask("GET", "/any/u", mesh.bearer())
        assert (answer.body, answer.get("transfer-encoding")) == (b"all that there is", "chunked")
    script.answers["/any/u"] = OK + b"X-Kind: until-close\r\n\r\n"
    assert wire.ask("GET", "/any/u", mesh.bearer()).body == b""


def test_an_app_of_http_1_0(mesh: Mesh, script: Scripted, wire: Wire) -> None:
    """Our own version is told, and the connection to the caller stays."""
    script.answers["/any/0"] = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"
    for _ in range(2):
        answer = wire.ask("GET", "/any/0", mesh.bearer())
        assert (answer.body, answer.closes) == (b"old", False)


def test_a_caller_of_http_1_0(mesh: Mesh, script: Scripted, edge: Sidecar) -> None:
    """Gets no chunks and no second request on its connection; the app is asked in HTTP/1.1."""
    script.answers["/any/c"] = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
    token = mesh.bearer()["Txn-Token"]
    for fields in ("", "Connection: keep-alive\r\n"):
        wire = mesh.plain(edge.ports["outbound"])
        wire.send(f"GET /any/c HTTP/1.0\r\nHost: orders\r\n{fields}Txn-Token: {token}\r\n\r\n".encode())
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        assert body == b"abcdef"
        assert b"transfer-encoding" not in head.lower()
        assert b"connection: close" in head.lower()
        assert b" HTTP/1.1\r\n" in script.heads[-1]


def test_connection_close_is_honoured_on_each_side_alone(mesh: Mesh, script: Scripted, edge: Sidecar) -> None:
    """The app's close is not the caller's, and the caller's is not the app's."""
    script.answers["/any/x"] = OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"
    wire = mesh.plain(edge.ports["outbound"])
    for _ in range(2):
        assert not wire.ask("GET", "/any/x", mesh.bearer()).closes
    script.answers["/any/x"] = OK + b"Content-Length: 2\r\n\r\nok"
    assert wire.ask("GET", "/any/x", mesh.bearer() | {"Connection": "close"}).closes
    assert b"connection" not in script.heads[-1].lower()
    assert wire.ends()


def test_half_close(mesh: Mesh, script: Scripted, edge: Sidecar) -> None:
    """A caller that has sent its last byte still gets every answer that it asked for."""
    script.answers["/any/x"] = OK + b"Content-Length: 2\r\n\r\nok"
    token = mesh.bearer()["Txn-Token"]
    get = f"GET /any/x HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token}\r\n\r\n".encode()
    for count in (1, 3):
        wire = mesh.plain(edge.ports["outbound"]).send(get * count)
        wire.sock.shutdown(socket.SHUT_WR)
        assert [wire.reply().body for _ in range(count)] == [b"ok"] * count
        assert wire.ends()
    seen = len(script.heads)
    wire = mesh.plain(edge.ports["outbound"]).send(get + get[:-2])
    wire.sock.shutdown(socket.SHUT_WR)
    assert wire.reply().status == 200
    assert wire.ends(), "half a request is none"
    assert len(script.heads) == seen + 1


def test_options_and_its_hops(mesh: Mesh, script: Scripted, app: RawApp) -> None:
    """``*`` and Max-Forwards (RFC 9110 section 7.6.2): counted down, and not forwarded past zero."""
    legacy = mesh.start("legacy", outbound(f'host: app, address: "127.0.0.1:{app.port}", protection: plain'))
    wire = mesh.plain(legacy.ports["outbound"])
    script.answers["*"] = script.answers["/any/o"] = OK + b"Content-Length: 2\r\n\r\nok"
    assert wire.ask("OPTIONS", "*", {"Max-Forwards": "2"}, host="app").status == 200
    assert b"Max-Forwards: 1\r\n" in script.heads[-1]
    assert script.heads[-1].startswith(b"OPTIONS * HTTP/1.1\r\n")
    seen = len(script.heads)
    answer = wire.ask("OPTIONS", "/any/o", {"Max-Forwards": "0"}, host="app")
    assert answer.status == 501
    assert len(script.heads) == seen

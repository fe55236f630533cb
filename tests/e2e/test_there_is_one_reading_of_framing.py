"""What two parsers could read differently is refused and its connection closed; the app never sees a second request."""

import pytest
from support.apps import RawApp, Recorder
from support.mesh import INBOUND, Mesh
from support.sidecar import Sidecar
from support.wire import Reply

SMUGGLED = b"GET /any/smuggled HTTP/1.1\r\nHost: orders\r\n\r\n"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    """Keeps every byte that reaches the app."""
    return Recorder()


@pytest.fixture(scope="module")
def app(mesh: Mesh, recorder: Recorder) -> RawApp:
    """An app that answers every head that it sees."""
    return mesh.raw_app(recorder)


@pytest.fixture(scope="module")
def orders(mesh: Mesh, app: RawApp) -> Sidecar:
    """The sidecar before the app."""
    return mesh.start("orders", INBOUND.format(app=app.port) + "timeouts: {linger: 0s}\n")


def _post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n" + fields + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

HEADS: dict[str, bytes] = {
    "CL then TE": _post(b"Content-Length: 4\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
    "TE then CL": _post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE and CL 0": _post(CHUNKED + b"Content-Length: 0\r\n", b"0\r\n\r\n" + SMUGGLED),
    "two CL": _post(b"Content-Length: 0\r\nContent-Length: 44\r\n", SMUGGLED),
    "two equal CL": _post(b"Content-Length: 4\r\nContent-Length: 4\r\n", b"body" + SMUGGLED),
    "CL list": _post(b"Content-Length: 4, 4\r\n", b"body" + SMUGGLED),
    "CL with a sign": _post(b"Content-Length: +4\r\n", b"body" + SMUGGLED),
    "CL negative": _post(b"Content-Length: -4\r\n", SMUGGLED),
    "CL with an underscore": _post(b"Content-Length: 1_0\r\n", b"0123456789"),
    "CL hexadecimal": _post(b"Content-Length: 0x4\r\n", b"body"),
    "CL with a space": _post(b"Content-Length: 4 4\r\n", b"body"),
    "CL of other digits": _post("Content-Length: \u0664\r\n".encode(), b"body"),
    "CL huge": _post(b"Content-Length: 99999999999999999999\r\n"),
    "CL empty": _post(b"Content-Length:\r\n", SMUGGLED),
    "TE twice": _post(CHUNKED * 2, b"0\r\n\r\n" + SMUGGLED),
    "TE chunked, chunked": _post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE identity": _post(b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n", b"body"),
    "TE xchunked": _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE with VT": _post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE quoted": _post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n" + SMUGGLED),
    "TE with a parameter": _post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE chunked, identity": _post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE gzip, chunked": _post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE in HTTP/1.0": _post(CHUNKED, b"0\r\n\r\n" + SMUGGLED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "space before the colon": _post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "tab before the colon": _post(b"Content-Length\t: 4\r\n", b"body" + SMUGGLED),
    "obs-fold": _post(b"X-A: 1\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "obs-fold with a tab": _post(b"X-A: 1\r\n\tb\r\n"),
    "space before the first field": b"GET /any/1 HTTP/1.1\r\n Host: orders\r\nTxn-Token: %b\r\n\r\n",
    "LF alone after a field": _post(b"X-A: 1\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "LF alone at the end": _post(b"X-A: 1\r\n", b"")[:-2] + b"\n" + SMUGGLED,
    "LF alone after the request line": b"GET /any/1 HTTP/1.1\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "LF LF": b"GET /any/1 HTTP/1.1\nHost: orders\nTxn-Token: %b\n\n" + SMUGGLED,
    "CR alone in a value": _post(b"X-A: 1\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "CR CR LF": _post(b"X-A: 1\r\r\n"),
    "NUL in a value": _post(b"X-A: 1\x002\r\n"),
    "NUL in a name": _post(b"X\x00A: 1\r\n"),
    "no colon": _post(b"X-A\r\n"),
    "no name": _post(b": 1\r\n"),
    "two spaces in the request line": b"GET  /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "tab in the request line": b"GET\t/any/1\tHTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "space in the target": b"GET /any/1 HTTP/1.1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "version in lower case": b"GET /any/1 http/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "no version": b"GET /any/1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "HTTP/1.2": b"GET /any/1 HTTP/1.2\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%b",
    "two empty lines first": b"\r\n\r\nGET /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "two Hosts": _post(b"Host: evil\r\n"),
    "Connection names the token": _post(b"Connection: Txn-Token\r\n"),
    "Connection names Content-Length": _post(b"Connection: Content-Length\r\nContent-Length: 44\r\n", SMUGGLED),
    "a fragment": b"GET /any/1#x HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n",
    "a target in UTF-8": "GET /any/\u00e9 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n".encode(),
    "two Authorizations": _post(b"Authorization: a\r\nAuthorization: b\r\n"),
    "unknown expectation": _post(b"Expect: 200-ok\r\nContent-Length: 4\r\n", b"body"),
    "CONNECT": b"CONNECT ledger:443 HTTP/1.1\r\nHost: ledger:443\r\nTxn-Token: %b\r\n\r\n" + SMUGGLED,
}

REASONS = {
    "TE gzip, chunked": {"coding_unknown", "bad_framing"},
    "TE xchunked": {"coding_unknown", "bad_framing"},
    "HTTP/1.2": {"bad_version"},
    "HTTP/2 preface": {"bad_version"},
    "two Hosts": {"bad_host"},
    "Connection names the token": {"owned_field"},
    "Connection names Content-Length": {"owned_field"},
    "unknown expectation": {"expectation_unknown"},
    "CONNECT": {"method_refused"},
}


@pytest.fixture(scope="module")
def refusals(mesh: Mesh, orders: Sidecar, recorder: Recorder, app: RawApp) -> dict[str, Reply]:
    """Each head on a connection of its own, all at once: its answer; every connection ends, and nobody is called."""
    before, accepted = recorder.bytes, app.accepted
    wires = {
        name: mesh.connect(orders.ports["inbound"]).send(head.replace(b"%b", mesh.mint.token(), 1))
        for name, head in HEADS.items()
    }
    answers = {name: wire.reply() for name, wire in wires.items()}
    assert [name for name, wire in wires.items() if not wire.ends()] == []
    assert (recorder.bytes, app.accepted) == (before, accepted)
    return answers


@pytest.mark.parametrize("name", HEADS)
def test_a_doubtful_head_is_refused(orders: Sidecar, refusals: dict[str, Reply], name: str) -> None:
    """One refusal, ``Connection: close``, the end; not a byte to the app, also not of what came behind."""
    answer = refusals[name]
    assert answer.reason in REASONS.get(name, {"bad_request", "bad_framing"})
    assert answer.status in {400, 417, 501, 505}
    assert answer.closes
    assert orders.decisions(reason=answer.reason, direction="inbound", decision="deny") >= 1


BODIES: dict[str, bytes] = {
    "size with 0x": b"0x4\r\nbody\r\n0\r\n\r\n",
    "size with a sign": b"+4\r\nbody\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "size with a space": b" 4\r\nbody\r\n0\r\n\r\n",
    "size negative": b"-1\r\nbody\r\n0\r\n\r\n",
    "size empty": b"\r\nbody\r\n0\r\n\r\n",
    "size huge": b"FFFFFFFFFFFFFFFFF\r\nbody\r\n0\r\n\r\n",
    "LF alone after the size": b"4\nbody\r\n0\r\n\r\n",
    "CR alone in the size line": b"4\rX\r\nbody\r\n0\r\n\r\n",
    "LF alone in an extension": b"4;a=\nb\r\nbody\r\n0\r\n\r\n",
    "LF alone after the data": b"4\r\nbody\n0\r\n\r\n",
    "nothing after the data": b"4\r\nbody0\r\n\r\n",
    "two bytes too many": b"4\r\nbodyXX\r\n0\r\n\r\n",
    "LF alone in the trailers": b"4\r\nbody\r\n0\r\nX-A: 1\n\r\n",
    "a fold in the trailers": b"4\r\nbody\r\n0\r\nX-A: 1\r\n b\r\n\r\n",
    "Content-Length in the trailers": b"4\r\nbody\r\n0\r\nContent-Length: 44\r\n\r\n",
    "Transfer-Encoding in the trailers": b"4\r\nbody\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Host in the trailers": b"4\r\nbody\r\n0\r\nHost: evil\r\n\r\n",
    "a twin in the trailers": b"4\r\nbody\r\n0\r\nTxn_Token: x\r\n\r\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_doubtful_chunk_ends_the_connection(mesh: Mesh, orders: Sidecar, recorder: Recorder, name: str) -> None:
    """The head may have gone to the app already; its body then never ends there, and nothing comes after it."""
    body = BODIES[name] + SMUGGLED
    wire = mesh.connect(orders.ports["inbound"])
    recorder.received.clear()
    wire.send((_post(CHUNKED) % mesh.mint.token()) + body)
    assert b"HTTP/1.1 400" in wire.rest() or not wire.rest()
    assert b"smuggled" not in recorder.bytes
    assert recorder.bytes.count(b"HTTP/1.1\r\n") <= 1
    assert b"0\r\n\r\n" not in recorder.bytes.partition(b"\r\n\r\n")[2], "what was not whole is not made whole"


def test_a_body_never_becomes_a_request(mesh: Mesh, orders: Sidecar, recorder: Recorder) -> None:
    """A request in a body arrives as a body, in each framing, and what follows is judged as a request of its own."""
    recorder.received.clear()
    wire = mesh.connect(orders.ports["inbound"])
    counted = _post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED)
    chunked = _post(CHUNKED, b"%x;ext=1\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(SMUGGLED), SMUGGLED))
    for data in (counted, chunked):
        head, _, body = data.partition(b"\r\n\r\n")
        wire.send((head % mesh.mint.token()) + b"\r\n\r\n" + body)
        assert wire.reply().status == 200
    assert recorder.bytes.count(SMUGGLED) == 2
    assert b";ext" not in recorder.bytes, "chunked anew: extensions are of one hop"
    answer = wire.send(SMUGGLED).reply()
    assert (answer.status, answer.reason) == (401, "token_missing")


def test_one_empty_line_before_a_request_is_skipped(mesh: Mesh, orders: Sidecar) -> None:
    """As RFC 9112 section 2.2 lets old clients do, also between two requests."""
    wire = mesh.connect(orders.ports["inbound"])
    for _ in range(2):
        wire.send(b"\r\nGET /any/1 HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n" % mesh.mint.token())
        assert wire.reply().status == 200


ANSWERS: dict[str, bytes] = {
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    "CL with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody",
    "LF alone": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n b\r\nContent-Length: 4\r\n\r\nbody",
    "TE gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody",
    "no HTTP": b"\x16\x03\x01\x00\x2a",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 0\r\n\r\n",
    "CR alone": b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_doubtful_answer_is_not_passed_on(mesh: Mesh, orders: Sidecar, recorder: Recorder, name: str) -> None:
    """502 in its place; the app's connection ends, the caller's stays in step."""
    good = recorder.answer
    wire = mesh.connect(orders.ports["inbound"])
    try:
        recorder.answer = ANSWERS[name]
        answer = wire.ask("GET", "/any/1", mesh.bearer())
    finally:
        recorder.answer = good
    assert (answer.status, answer.reason) == (502, "upstream_bad_response")
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200


def test_an_answer_that_nobody_asked_for_is_never_delivered(mesh: Mesh, orders: Sidecar, recorder: Recorder) -> None:
    """Two answers to one request: the second one does not become that of the next request."""
    good = recorder.answer
    wire = mesh.connect(orders.ports["inbound"])
    try:
        recorder.answer = good + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
        assert wire.ask("GET", "/any/1", mesh.bearer()).body == b"ok"
    finally:
        recorder.answer = good
    for _ in range(3):
        assert wire.ask("GET", "/any/1", mesh.bearer()).body == b"ok"

"""No byte of a peer reaches an app of raw TCP before one CONNECT was authorised: its token, its authority, its framing."""

import json
import time

import pytest
from support.apps import App, RawApp, Recorder
from support.mesh import INBOUND, Mesh, orders_at
from support.mesh import outbound as http_outbound
from support.ports import refused_port
from support.sidecar import SOON_S, Sidecar, wait_until
from support.tcp import DB_RULE, Path, inbound, outbound, path_to, token_service
from support.wire import Truncated, Wire

from proxy.cli import main

HOST = b"Host: db:5432\r\n"


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    """What came to the app."""
    return Recorder(b"")


@pytest.fixture(scope="module")
def app(mesh: Mesh, recorder: Recorder) -> RawApp:
    """The app."""
    return mesh.raw_app(recorder)


@pytest.fixture(scope="module")
def path(mesh: Mesh, app: RawApp) -> Path:
    """Two sidecars."""
    return path_to(mesh, app.port)


def connect(
    token: bytes | None, more: bytes = b"", *, authority: bytes = b"db:5432", host: bytes | None = None
) -> bytes:
    """A CONNECT."""
    lines = b"Host: " + (authority if host is None else host) + b"\r\n" + more
    if token is not None:
        lines += b"Txn-Token: " + token + b"\r\n"
    return b"CONNECT " + authority + b" HTTP/1.1\r\n" + lines + b"\r\n"


def refused(wire: Wire, sent: bytes, status: int, reason: str) -> None:
    """It is answered so, and the connection is over."""
    answer = wire.send(sent).reply()
    assert (answer.status, answer.reason, answer.closes) == (status, reason, True)
    assert wire.ends()


def good(mesh: Mesh, **claims: object) -> bytes:
    """A token for the database, changed by ``claims``."""
    return mesh.mint.token(**({"scope": "db.query"} | claims))  # type: ignore[arg-type]


def test_a_good_one_opens(mesh: Mesh, path: Path, recorder: Recorder) -> None:
    """The case that all the others differ from by one thing."""
    wire = path.peer().send(connect(good(mesh)))
    answer = wire.head()
    assert (answer.status, answer.fields) == (200, [])
    wire.send(b"hello")
    wait_until(lambda: recorder.bytes == b"hello", "the bytes of the client alone")
    recorder.received.clear()


@pytest.mark.parametrize(
    ("claims", "status", "reason"),
    [
        ({"aud": "other.org"}, 401, "token_wrong_audience"),
        ({"exp": int(time.time()) - 600, "iat": int(time.time()) - 900}, 401, "token_expired"),
        ({"scope": "orders.read"}, 403, "scope_beyond_grant"),
        ({"scope": "db.query orders.read"}, 403, "scope_beyond_grant"),
        ({"scope": "db.admin"}, 403, "scope_missing"),
        ({"iat": int(time.time()) + 600, "exp": int(time.time()) + 900}, 401, "token_from_future"),
    ],
)
def test_the_token_is_judged_as_everywhere(
    mesh: Mesh, path: Path, app: RawApp, claims: dict[str, object], status: int, reason: str
) -> None:
    """Audience, life, scopes within the Grant, the scope of the route."""
    accepted = app.accepted
    refused(path.peer(), connect(good(mesh, **claims)), status, reason)
    assert app.accepted == accepted, "the app is not even called"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (b"", "token_missing"),
        (b"Txn-Token: \r\n", "token_missing"),
        (b"Txn-Token: T\r\nTxn-Token: T\r\n", "token_repeated"),
        (b"Txn-Token: T,T\r\n", "token_repeated"),
        (b"Authorization: Bearer T\r\n", "token_missing"),
        (b"Txn-Token: TX\r\n", "token_bad_signature"),
        (b"Txn-Token: nonsense\r\n", "token_malformed"),
    ],
)
def test_exactly_one_token(mesh: Mesh, path: Path, app: RawApp, more: bytes, reason: str) -> None:
    """None, several, a list, another field, a forged one."""
    accepted = app.accepted
    token = good(mesh)
    head, _, signature = token.rpartition(b".")
    forged = head + b"." + (b"A" if signature[:1] != b"A" else b"B") + signature[1:]
    wire = path.peer().send(
        connect(None, more.replace(b"TX", forged).replace(b": T", b": " + token).replace(b",T", b"," + token))
    )
    answer = wire.reply()
    assert (answer.reason, answer.closes) == (reason, True)
    assert app.accepted == accepted


@pytest.mark.parametrize(
    ("authority", "host", "status", "reason"),
    [
        (b"other:5432", None, 403, "route_not_allowed"),
        (b"db:5433", None, 403, "route_not_allowed"),
        (b"127.0.0.1:5432", None, 403, "route_not_allowed"),
        (b"[::1]:5432", None, 403, "route_not_allowed"),
        (b"xdb:5432", None, 403, "route_not_allowed"),
        (b"db:5432", b"other:5432", 400, "bad_host"),
        (b"db:5432", b"db", 400, "bad_host"),
        (b"other:5432", b"db:5432", 400, "bad_host"),
        (b"db", None, 400, "bad_host"),
        (b"db:", None, 400, "bad_host"),
        (b"db:0", None, 400, "bad_host"),
        (b"db:65536", None, 400, "bad_host"),
        (b"db:05432", None, 400, "bad_host"),
        (b"user@db:5432", None, 400, "bad_host"),
        (b"db:5432/x", None, 400, "bad_host"),
        (b"db.:5432", None, 400, "bad_host"),
        (b"http://db:5432/", None, 400, "bad_host"),
        (b"/db:5432", None, 400, "bad_host"),
        (b"*", None, 400, "bad_host"),
    ],
)
def test_the_authority_is_one_of_ours(  # one parameter for each thing that differs
    mesh: Mesh, path: Path, app: RawApp, authority: bytes, host: bytes | None, status: int, reason: str
) -> None:
    """A good token for somebody else's name opens nothing here: no confused deputy."""
    accepted = app.accepted
    refused(path.peer(), connect(good(mesh), authority=authority, host=host), status, reason)
    assert app.accepted == accepted


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (b"Content-Length: 0\r\n", "bad_framing"),
        (b"Content-Length: 5\r\n", "bad_framing"),
        (b"Transfer-Encoding: chunked\r\n", "bad_framing"),
        (b"Expect: 100-continue\r\n", "bad_framing"),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", "bad_framing"),
        (HOST, "bad_host"),
        (b"Connection: Txn-Token\r\n", "owned_field"),
        (b"X: a\x00b\r\n", "bad_request"),
        (b" folded\r\n", "bad_request"),
    ],
)
def test_nothing_of_a_request(mesh: Mesh, path: Path, app: RawApp, more: bytes, reason: str) -> None:
    """No body, no framing of one, no expectation, no upgrade, no second Host."""
    accepted = app.accepted
    refused(path.peer(), connect(good(mesh), more), 400, reason)
    assert app.accepted == accepted


@pytest.mark.parametrize("behind", [b"x", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"])
@pytest.mark.parametrize("pause_s", [0, 0.05])
def test_nothing_before_the_answer(mesh: Mesh, path: Path, recorder: Recorder, behind: bytes, pause_s: float) -> None:
    """What was sent in the hope of a tunnel would be a request where it is refused: it ends the connection."""
    recorder.received.clear()
    head = connect(good(mesh))
    if pause_s:  # not in one piece, and still before the head is whole
        wire = path.peer().send(head[:20])
        time.sleep(pause_s)
        wire.send(head[20:] + behind)
    else:
        wire = path.peer().send(head + behind)
    answer = wire.reply()
    assert (answer.status, answer.reason) == (400, "bad_framing")
    assert wire.ends()
    time.sleep(0.1)
    assert not recorder.bytes


def test_a_second_request_is_bytes_of_the_tunnel(mesh: Mesh, path: Path, recorder: Recorder) -> None:
    """There is one admission; whatever looks like another is carried to the app, and answered by nobody else."""
    recorder.received.clear()
    wire = path.peer().send(connect(good(mesh)))
    assert wire.head().status == 200
    again = connect(None)
    wire.send(again)
    wait_until(lambda: recorder.bytes == again, "it came to the app")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "connect", "TRACE"])
def test_requests_are_refused_where_the_app_speaks_tcp(mesh: Mesh, path: Path, app: RawApp, method: str) -> None:
    """The app would read them as its own protocol."""
    accepted = app.accepted
    token = good(mesh).decode()
    sent = f"{method} / HTTP/1.1\r\nHost: db:5432\r\nTxn-Token: {token}\r\n\r\n".encode()
    refused(path.peer(), sent, 501, "method_refused")
    assert app.accepted == accepted


@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT db:5432 HTTP/1.0\r\n\r\n",
        b"CONNECT db:5432 HTTP/2.0\r\n\r\n",
        b"CONNECT  db:5432 HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"PING\r\n",
        b"CONNECT db:5432\r\n\r\n",
    ],
)
def test_garbage_is_refused_at_once(path: Path, app: RawApp, sent: bytes) -> None:
    """An SSLRequest of Postgres, an inline command of Redis, other versions: without waiting for more."""
    accepted = app.accepted
    answer = path.peer().send(sent).reply()
    assert answer.status in {400, 501, 505}
    assert app.accepted == accepted


def test_another_peer_is_closed_before_a_byte(path: Path, app: RawApp) -> None:
    """As with HTTP: no rule names it."""
    accepted = app.accepted
    assert path.peer("intruder").rest() == b""
    path.db.wait_for_decision(reason="peer_not_allowed")
    assert app.accepted == accepted


def test_an_app_of_http_takes_no_tunnel(mesh: Mesh) -> None:
    """Not on its inbound port, and not by the outbound port of a sidecar that has ports for raw TCP too."""
    app: App = mesh.app()
    orders = mesh.start("orders", INBOUND.format(app=app.port))
    wire = mesh.connect(orders.ports["inbound"])
    refused(wire, connect(good(mesh, scope="orders.read"), authority=b"orders:80"), 501, "method_refused")
    db = mesh.start("db", inbound(mesh.raw_app(Recorder(b"")).port))
    service = token_service(mesh)
    both = outbound(db, service).replace("outbound:\n", http_outbound(orders_at(orders)), 1)
    edge = mesh.start("edge", both)
    assert {"outbound", "tcp0"} <= edge.ports.keys()
    for authority in (b"db:5432", b"orders:80"):
        refused(mesh.plain(edge.ports["outbound"]), connect(good(mesh), authority=authority), 501, "method_refused")
    answer = mesh.plain(edge.ports["outbound"]).ask("GET", "/", host="db:5432")
    assert answer.reason == "destination_unknown", "it leads to its port alone"


def edge_of(mesh: Mesh, db: Sidecar | int, **changes: str) -> Sidecar:
    """A sidecar with a port for raw TCP."""
    return mesh.start("edge", outbound(db, token_service(mesh), **changes))


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"token": "{scope: db.admin}"}, "tunnel_refused", "403 scope_missing"),
        ({"token": "{scope: orders.read}"}, "tunnel_refused", "403 scope_beyond_grant"),
        ({"host": '"other:5432"'}, "tunnel_refused", "403 route_not_allowed"),
        ({"spiffe_id": "spiffe://example.org/ledger"}, "upstream_untrusted", "expected spiffe://example.org/ledger"),
    ],
)
def test_the_app_is_reset_and_the_reason_is_told(
    mesh: Mesh, path: Path, changes: dict[str, str], reason: str, said: str
) -> None:
    """It speaks no protocol that could be answered in: the reason stands in metric, record and log of its sidecar."""
    edge = edge_of(mesh, path.db, **changes)
    with pytest.raises(ConnectionResetError):
        mesh.plain(edge.ports["tcp0"]).sock.recv(1)
    edge.wait_for_decision(
        decision="error", reason=reason, direction="outbound", rule=changes.get("host", "db:5432").strip('"')
    )
    edge.wait_for_log(said)


def test_without_a_token_where_one_is_needed(mesh: Mesh, path: Path) -> None:
    """The port asks for none, the rule wants one."""
    edge = mesh.start("edge", outbound(path.db, None))
    with pytest.raises(ConnectionResetError):
        mesh.plain(edge.ports["tcp0"]).sock.recv(1)
    edge.wait_for_log("401 token_missing")


def test_without_a_token_service(mesh: Mesh, path: Path) -> None:
    """Fail closed: the peer is not even called."""
    service = token_service(mesh)
    service.issue = lambda _form: (500, {})
    edge = mesh.start("edge", outbound(path.db, service))
    before = path.db.metric("svidecar_tls_handshake_seconds_count", role="server")
    with pytest.raises(ConnectionResetError):
        mesh.plain(edge.ports["tcp0"]).sock.recv(1)
    edge.wait_for_decision(decision="error", reason="tts_unavailable")
    assert path.db.metric("svidecar_tls_handshake_seconds_count", role="server") == before


def test_nobody_answers_there(mesh: Mesh) -> None:
    """Neither the sidecar over there nor, behind it, the app."""
    with refused_port() as nobody:
        db = mesh.start("db", inbound(nobody))
        edge = edge_of(mesh, db)
        with pytest.raises(ConnectionResetError):
            mesh.plain(edge.ports["tcp0"]).sock.recv(1)
        edge.wait_for_log("502 upstream_down")
        db.wait_for_decision(decision="error", reason="upstream_down", rule="edge may query")
        alone = edge_of(mesh, nobody)
        with pytest.raises(ConnectionResetError):
            mesh.plain(alone.ports["tcp0"]).sock.recv(1)
        alone.wait_for_decision(decision="error", reason="upstream_down")


def test_mtls_alone_where_the_rule_says_so(mesh: Mesh, recorder: Recorder, app: RawApp) -> None:
    """token: none, for one authority; a token that is brought all the same has to be good."""
    rules = DB_RULE + '      - {match: "CONNECT cache:6379", token: none}\n'
    db = mesh.start("db", inbound(app.port, rules))
    recorder.received.clear()
    edge = mesh.start("edge", outbound(db, None, host='"cache:6379"'))
    mesh.plain(edge.ports["tcp0"]).send(b"hello")
    wait_until(lambda: recorder.bytes == b"hello", "the bytes")
    port = db.ports["inbound"]
    refused(mesh.connect(port), connect(None), 401, "token_missing")
    refused(mesh.connect(port), connect(None, authority=b"any:1"), 401, "token_missing")
    bad = good(mesh, aud="other.org")
    refused(mesh.connect(port), connect(bad, authority=b"cache:6379"), 401, "token_wrong_audience")
    assert mesh.connect(port).send(connect(None, authority=b"cache:6379")).head().status == 200


def test_mtls_alone_needs_no_keys(mesh: Mesh, app: RawApp) -> None:
    """A sidecar all of whose rules say so is configured without tokens."""
    rule = '\n  - {name: cache, peers: [spiffe://example.org/edge], routes: [{match: "CONNECT cache:6379", token: none}]}\n'
    text = inbound(app.port, rule).replace("tokens: {audience: example.org, keys: jwks.json}\n", "")
    db = mesh.start("db", text)
    assert mesh.connect(db.ports["inbound"]).send(connect(None, authority=b"cache:6379")).head().status == 200
    wire = mesh.connect(db.ports["inbound"])
    refused(wire, connect(good(mesh), authority=b"cache:6379"), 503, "keys_unavailable")


@pytest.mark.parametrize(
    "entry", [{"txn": "task-7"}, {"sub": "carol"}, {"spiffe_id": "spiffe://example.org/edge"}, None], ids=str
)
def test_what_is_revoked_ends_the_tunnel(
    mesh: Mesh, path: Path, recorder: Recorder, entry: dict[str, str] | None
) -> None:
    """The token that opened it, whoever it speaks for, or the peer itself: within a second; another's goes on."""
    tunnel = path.peer().send(connect(good(mesh, txn="task-7", sub="carol")))
    assert tunnel.head().status == 200
    others = entry is None  # the case that all the others differ from
    status, body = path.db.post("/revocations", entry or {"txn": "another"})
    assert status == 201, body
    try:
        if others:
            time.sleep(0.5)
            tunnel.send(b"still there")
            wait_until(lambda: recorder.bytes.endswith(b"still there"), "its bytes")
            recorder.received.clear()
            return
        began = time.monotonic()
        assert tunnel.ends()
        assert time.monotonic() - began < SOON_S
    finally:
        assert path.db.post("/revocations/lift", {"id": json.loads(body)["id"]})[0] == 200


def test_what_the_callers_sidecar_knows_is_revoked_ends_its_tunnel(mesh: Mesh, path: Path, recorder: Recorder) -> None:
    """The sidecar that asked for the token holds its own tunnels to it, whatever the other one has been told."""
    tunnel = path.connect().send(b"first")
    wait_until(lambda: recorder.bytes.endswith(b"first"), "the bytes of the client")
    recorder.received.clear()
    status, body = path.edge.post("/revocations", {"sub": str(mesh.mint.claims()["sub"])})
    assert status == 201, body
    try:
        began = time.monotonic()
        assert tunnel.ends()
        assert time.monotonic() - began < SOON_S
    finally:
        assert path.edge.post("/revocations/lift", {"id": json.loads(body)["id"]})[0] == 200


@pytest.mark.parametrize("authority", ["db:5432", "DB:5432", "other:5432", "db:5433", "db", "db:0", "db:5432/"])
@pytest.mark.parametrize("scope", ["db.query", "db.admin", "orders.read", None])
@pytest.mark.parametrize("peer", ["edge", "shop"])
def test_explain_says_the_same(
    mesh: Mesh,
    path: Path,
    app: RawApp,
    capsys: pytest.CaptureFixture[str],
    authority: str,
    scope: str | None,
    peer: str,
) -> None:
    """Of each tunnel, what the sidecar before the app does with it."""
    mesh.svid("shop")
    mesh.config("db", inbound(app.port))  # that of the sidecar before the app; others here have written theirs over it
    claims = mesh.folder / "claims.json"
    claims.write_text(json.dumps({"sub": "alice", "scope": scope}))
    words = ["--config", str(mesh.folder / "db.yaml"), "--peer", f"spiffe://example.org/{peer}", "--host", authority]
    words += ["--json"] if scope is None else ["--json", "--claims", str(claims)]
    main(["explain", *words])
    explained = json.loads(capsys.readouterr().out)
    wire = path.peer(peer)
    token = None if scope is None else mesh.mint.token(scope=scope)
    try:
        answer = wire.send(connect(token, authority=authority.encode())).head()
        found = (answer.status == 200, "")
        if answer.status != 200:
            found = (False, json.loads(wire.take(int(answer.get("content-length"))))["reason"])
    except (Truncated, ConnectionError):
        found = (False, "peer_not_allowed")
    assert (explained["allowed"], explained["reason"]) == found

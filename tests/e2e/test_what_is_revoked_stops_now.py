"""What is revoked stops within a second, also where it is under way: peers, transactions, subjects, actors, tokens."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apps import RawApp, read_head
from support.mesh import DOMAIN, EDGE, INBOUND, ORDERS, Mesh, mesh_in, orders_at, outbound
from support.sidecar import SOON_S, Sidecar, wait_until
from support.wire import Truncated, Wire

from proxy.cli import main

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
SHOP = f"spiffe://{DOMAIN}/shop"
SLOW_S = 1.0


class Paths:
    """An app: a stream that never ends, a websocket, an answer that takes a moment, and short ones."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        while (head := read_head(connection)).endswith(b"\r\n\r\n"):
            self.tokens += [line[11:].decode() for line in head.split(b"\r\n") if line.startswith(b"Txn-Token: ")]
            if b"websocket" in head:
                connection.sendall(SWITCH)
            elif b"/any/stream" not in head:
                time.sleep(SLOW_S if b"/any/slow" in head else 0)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                connection.sendall(b"1\r\nx\r\n")
                time.sleep(0.05)


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture
def paths() -> Paths:
    """What the app does."""
    return Paths()


def orders_of(mesh: Mesh, paths: Paths, more: str = "") -> Sidecar:
    """The sidecar that is called, of two peers."""
    app: RawApp = mesh.raw_app(paths)
    for name in ("edge", "shop"):
        mesh.svid(name)
    yaml = INBOUND.format(app=app.port).replace(f"peers: [{EDGE}]", f"peers: [{EDGE}, {SHOP}]")
    return mesh.start("orders", yaml + more)


def revoke(sidecar: Sidecar, **entry: object) -> str:
    """Revoke over the admin port; give the id."""
    status, body = sidecar.post("/revocations", entry)
    assert status == 201, body
    return str(json.loads(body)["id"])


def lift(sidecar: Sidecar, key: str) -> None:
    """Take it back."""
    assert sidecar.post("/revocations/lift", {"id": key})[0] == 200


def streaming(mesh: Mesh, sidecar: Sidecar, token: dict[str, str], name: str = "edge") -> Wire:
    """A connection with an answer that goes on."""
    wire = mesh.connect(sidecar.ports["inbound"], name)
    fields = "".join(f"{key}: {value}\r\n" for key, value in token.items())
    wire.send(f"GET /any/stream HTTP/1.1\r\nHost: orders\r\n{fields}\r\n".encode())
    assert wire.head().status in {101, 200}
    return wire


def seconds_to_end(*wires: Wire) -> float:
    """How long until all of these have ended."""
    began = time.monotonic()
    for wire in wires:
        with pytest.raises((Truncated, OSError)):
            while True:
                wire.take(1)
    return time.monotonic() - began


TOKENS: dict[str, dict[str, object]] = {
    "txn": {"txn": "task-1"},
    "sub": {"sub": "alice"},
    "act": {"sub": "bob", "act": {"sub": "agent-2", "act": {"sub": "agent-1"}}},
    "token_sha256": {"txn": "task-2"},
    "issued_before": {"iat": int(time.time()) - 100},
}
"""Claims of a token that is revoked by each kind."""


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token(mesh: Mesh, paths: Paths, kind: str) -> None:
    """It is refused on the next request of the same connection; others pass, and it again when that is lifted."""
    orders = orders_of(mesh, paths)
    token = mesh.bearer(**TOKENS[kind])
    other = mesh.bearer(sub="alice2", txn="task-1-2", act={"sub": "agent-12"})
    values = {
        "txn": "task-1",
        "sub": "alice",
        "act": "agent-1",
        "token_sha256": hashlib.sha256(token["Txn-Token"].encode()).hexdigest().upper(),
        "issued_before": int(time.time()) - 50,
    }
    wire = mesh.connect(orders.ports["inbound"])
    for one in (token, other):
        assert wire.ask("GET", "/any/1", one).status == 200
    key = revoke(orders, **{kind: values[kind]})
    refused = wire.ask("GET", "/any/1", token)
    assert (refused.status, refused.reason) == (401, "token_revoked")
    assert wire.ask("GET", "/any/1", other).status == 200
    wait_until(lambda: orders.metric("svidecar_revocations", kind=kind) == 1, "it is counted")
    lift(orders, key)
    assert wire.ask("GET", "/any/1", token).status == 200
    assert len(paths.tokens) == 4


def test_what_goes_on(mesh: Mesh, paths: Paths) -> None:
    """The stream and the websocket of a transaction end when it does; those of another go on, on the same peer."""
    orders = orders_of(mesh, paths)
    ended, lasting = mesh.bearer(txn="task-1"), mesh.bearer(txn="task-2")
    doomed = [streaming(mesh, orders, ended), streaming(mesh, orders, ended | UPGRADE)]
    spared = [streaming(mesh, orders, lasting), streaming(mesh, orders, lasting | UPGRADE)]
    began = time.monotonic()
    revoke(orders, txn="task-1")
    seconds_to_end(*doomed)
    assert time.monotonic() - began < SOON_S
    for wire in spared:
        assert wire.take(120)
    orders.wait_for_decision(2, reason="token_revoked")


@pytest.mark.parametrize("by", ["spiffe_id", "serial", "serial of the issuer's key"])
def test_a_peer_in_the_file(mesh: Mesh, paths: Paths, by: str) -> None:
    """Named in the file it is cut off, idle or streaming, and let in no more; another peer notices nothing."""
    listing = mesh.folder / "revoked.yaml"
    listing.write_text("revoked: []\n")
    orders = orders_of(mesh, paths, "revocation: {file: revoked.yaml}\n")
    doomed = [streaming(mesh, orders, mesh.bearer()), mesh.connect(orders.ports["inbound"])]
    spared = [streaming(mesh, orders, mesh.bearer(), "shop"), mesh.connect(orders.ports["inbound"], "shop")]
    serial = mesh.svids["edge"].certificate.serial_number
    entry = {
        "spiffe_id": f"spiffe_id: {EDGE}",
        "serial": f"serial: 0x00{serial:X}\n    issuer: {DOMAIN}",
        "serial of the issuer's key": f"serial: dec:{serial}\n    issuer: {key_of(mesh)}",
    }[by]
    decoy = f"serial: {serial:#x}\n    issuer: other.org\n    because: 'another issuer''s'"
    began = time.monotonic()
    listing.write_text(f"revoked:\n  - {decoy}\n  - {entry}\n")
    seconds_to_end(*doomed)
    assert time.monotonic() - began < SOON_S
    assert mesh.connect(orders.ports["inbound"]).ends()
    orders.wait_for_decision(3, reason="peer_revoked")
    assert spared[0].take(60)
    assert spared[1].ask("GET", "/any/1", mesh.bearer()).status == 200
    listing.write_text("revoked: []\n")
    wait_until(lambda: is_served(mesh, orders), "who is no longer named comes in again")


def key_of(mesh: Mesh) -> str:
    """The SHA-256 of the public key of the CA, as a CRL's issuer is told."""
    from proxy.identity.revocation import key_id

    return key_id(mesh.ca.certificate).hex().upper()


def is_served(mesh: Mesh, orders: Sidecar) -> bool:
    """Whether the edge is let in."""
    try:
        return mesh.connect(orders.ports["inbound"]).ask("GET", "/any/1", mesh.bearer()).status == 200
    except (Truncated, OSError):
        return False


@pytest.mark.parametrize("manner", ["drain", "cut"])
def test_the_manner(mesh: Mesh, paths: Paths, manner: str) -> None:
    """A request that is nearly done is answered, or not: of a peer, and of a transaction; an entry says it too."""
    orders = orders_of(mesh, paths, f"revocation: {{end: {'cut' if manner == 'drain' else 'drain'}, grace: 3s}}\n")
    for entry in ({"txn": "task-1"}, {"spiffe_id": EDGE}):
        wire, before = mesh.connect(orders.ports["inbound"]), len(paths.tokens)
        wire.send(
            f"GET /any/slow HTTP/1.1\r\nHost: orders\r\nTxn-Token: {mesh.bearer(txn='task-1')['Txn-Token']}\r\n\r\n".encode()
        )
        wait_until(lambda before=before: len(paths.tokens) > before, "it is with the app")  # type: ignore[misc]
        key = revoke(orders, **entry, end=manner)
        began = time.monotonic()
        if manner == "drain":
            assert wire.reply().status == 200
        else:
            assert (wire.reply().reason if "txn" in entry else wire.rest()[9:12]) in {"token_revoked", b"403", b""}
        assert time.monotonic() - began < SOON_S
        lift(orders, key)


def test_the_app_sends_it_no_more(mesh: Mesh, paths: Paths) -> None:
    """What the app puts in stays here when it is revoked, a stream with it ends, and a revoked callee is not called."""
    orders = orders_of(mesh, paths)
    edge = mesh.start("edge", outbound(orders_at(orders)) + "tokens: {keys: jwks.json}\n")
    token, other = mesh.bearer(txn="task-1"), mesh.bearer(txn="task-2")
    wire, stream = mesh.plain(edge.ports["outbound"]), mesh.plain(edge.ports["outbound"])
    assert wire.ask("GET", "/any/1", token).status == 200
    stream.send(f"GET /any/stream HTTP/1.1\r\nHost: orders\r\nTxn-Token: {token['Txn-Token']}\r\n\r\n".encode())
    assert stream.head().status == 200
    began = time.monotonic()
    revoke(edge, txn="task-1")
    seconds_to_end(stream)
    assert time.monotonic() - began < SOON_S
    sent = len(paths.tokens)
    refused = wire.ask("GET", "/any/1", token)
    assert (refused.status, refused.reason) == (401, "token_revoked")
    unread = wire.ask("GET", "/any/1", {"Txn-Token": "a.b.c"})
    assert (unread.status, unread.reason) == (401, "token_malformed")
    assert len(paths.tokens) == sent
    assert wire.ask("GET", "/any/1", other).status == 200
    revoke(edge, spiffe_id=ORDERS)
    wait_until(lambda: wire.ask("GET", "/any/1", other).status == 502, "nobody is called who is revoked", SOON_S)
    refused = wire.ask("GET", "/any/1", other)
    assert refused.reason == "upstream_untrusted"
    assert "peer_revoked" in refused.json["detail"]


def test_it_is_kept(mesh: Mesh, paths: Paths) -> None:
    """What the admin port was told is there after a restart, and reaches another process that shares the state."""
    more = "revocation: {state: revoked.journal}\n"
    orders = orders_of(mesh, paths, more)
    twin = mesh.start("orders-2", orders.config.read_text().partition("access_log")[2].partition("\n")[2])
    key = revoke(orders, txn="task-1")
    wire = mesh.connect(twin.ports["inbound"])
    wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).status == 401, "the other process knows")
    orders.stop()
    again = mesh.run(orders.config).wait_until_ready()
    wire = mesh.connect(again.ports["inbound"])
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).reason == "token_revoked"
    listed = json.loads(again.get("admin", "/revocations")[1])["revoked"]
    assert [(one["id"], one["source"], one["txn"]) for one in listed] == [(key, "admin", "task-1")]
    lift(again, key)
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).status == 200


@pytest.mark.parametrize("choice", ["refuse", "serve"])
def test_a_silent_source(mesh: Mesh, paths: Paths, choice: str) -> None:
    """Without its file a sidecar lets nobody new in and no token pass, or goes on, as it is told; then all is well."""
    listing = mesh.folder / "revoked.json"
    listing.write_text('{"revoked": [{"txn": "task-1"}]}')
    orders = orders_of(mesh, paths, f"revocation: {{file: revoked.json, stale: {choice}, max_age: 3s}}\n")
    wire = mesh.connect(orders.ports["inbound"])
    assert wire.ask("GET", "/any/1", mesh.bearer()).status == 200
    listing.rename(mesh.folder / "gone.json")
    if choice == "refuse":
        wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer()).reason == "revocation_stale", "nothing passes")
        assert mesh.connect(orders.ports["inbound"]).ends()
        orders.wait_for_decision(reason="revocation_unknown")
    else:
        wait_until(lambda: orders.metric("svidecar_revocation_age_seconds", source="file") > 3.5, "it is stale")
        assert mesh.connect(orders.ports["inbound"]).ask("GET", "/any/1", mesh.bearer()).status == 200
        assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).reason == "token_revoked"
    Path(mesh.folder / "gone.json").rename(listing)
    wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer()).status == 200, "it is heard again")
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).reason == "token_revoked"


def test_the_door_of_the_operator(mesh: Mesh, paths: Paths) -> None:
    """It refuses a page, another type, what is no entry, and a file's entry to be lifted; and tells how to write it."""
    (mesh.folder / "revoked.yaml").write_text("revoked: [{txn: task-9}]\n")
    orders = orders_of(mesh, paths, "revocation: {file: revoked.yaml, max_entries: 2}\n")
    assert orders.post("/revocations", {"txn": "t"}, "text/plain")[0] == 415
    status, body = orders.post("/revocations", {"serial": "1234", "issuer": DOMAIN})
    assert status == 400
    assert "0x1f2e" in json.loads(body)["detail"]
    assert orders.post("/revocations", b'{"txn": "a", "txn": "b"}')[0] == 400
    listed = json.loads(orders.get("admin", "/revocations")[1])
    assert listed["kept"] is False
    of_file = next(one["id"] for one in listed["revoked"] if one["source"] == "file")
    assert orders.post("/revocations/lift", {"id": of_file})[0] == 404
    revoke(orders, sub="one")
    status, body = orders.post("/revocations", {"sub": "two"})
    assert (status, json.loads(body)["reason"]) == (503, "revocations_invalid")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"sub": "alice"}, "token_revoked"),
        ({"txn": "task-1"}, "token_revoked"),
        ({"sub": "bob"}, ""),
        ({"spiffe_id": EDGE}, "peer_revoked"),
    ],
)
def test_explain_says_the_same(
    mesh: Mesh, paths: Paths, capsys: pytest.CaptureFixture[str], entry: dict[str, str], reason: str
) -> None:
    """With what the sidecar says of itself, explain has its verdict."""
    orders = orders_of(mesh, paths)
    revoke(orders, **entry)
    said, claims = mesh.folder / "said.json", mesh.folder / "claims.json"
    said.write_text(orders.get("admin", "/revocations")[1])
    mine = {"sub": "alice", "txn": "task-1", "scope": "orders.read"}
    claims.write_text(json.dumps(mine))
    words = ["--config", str(orders.config), "--peer", EDGE, "--host", "orders", "--path", "/orders/1", "--json"]
    words += ["--claims", str(claims), "--revocations", str(said)]
    main(["explain", *words])
    explained = json.loads(capsys.readouterr().out)
    assert (explained["allowed"], explained["reason"]) == (not reason, reason)
    assert not any("what else is revoked" in line for line in explained["unknown"])
    try:
        answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/orders/1", mesh.bearer(**mine))
    except (Truncated, ConnectionError):
        orders.wait_for_decision(reason="peer_revoked")
        assert reason == "peer_revoked"
    else:
        assert (answer.status == 200, answer.reason) == (not reason, reason)

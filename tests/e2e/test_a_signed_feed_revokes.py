"""A signed feed revokes within two seconds, by poll or push; what is forged, replayed or for others does nothing."""

import json
import time
from collections.abc import Iterator

import pytest
from support.events import AUDIENCE, ISSUER, OWN, RISC, EventMint
from support.mesh import INBOUND, Mesh, mesh_in
from support.sidecar import SOON_S, Sidecar, wait_until
from support.transmitter import SPIFFE_ID, Transmitter

ALICE = {"subject": {"format": "iss_sub", "iss": ISSUER, "sub": "alice"}}


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


def start(mesh: Mesh, feed: str = "", more: str = "") -> Sidecar:
    """A sidecar that hears the feed; before that it is not ready."""
    (mesh.folder / "events.json").write_bytes(mint().mint.jwks())
    told = f"issuer: {ISSUER}, audience: {AUDIENCE}, keys: events.json{feed}"
    yaml = f"revocation: {{state: revoked.journal, feed: {{{told}}}{more}}}\n"
    return mesh.launch("orders", INBOUND.format(app=mesh.app().port) + yaml)


def mint() -> EventMint:
    """Who signs, now."""
    return EventMint(time.time())


def push(sidecar: Sidecar, event: bytes, content_type: str = "application/secevent+jwt") -> tuple[int, str]:
    """Push one; the status, and the code of the refusal."""
    status, body = sidecar.post("/revocations/events", event, content_type)
    return status, json.loads(body)["err"] if status == 400 else ""


def test_by_poll(mesh: Mesh) -> None:
    """Taken, kept, acknowledged; what is no good is told back, and what cannot be verified waits with the other side."""
    idp = Transmitter(mesh)
    orders = start(mesh, f', poll: "{idp.url}", spiffe_id: {SPIFFE_ID}, interval: 100ms').wait_until_ready()
    wire = mesh.connect(orders.ports["inbound"])
    doomed = mesh.bearer(txn="task-1")
    assert wire.ask("GET", "/any/1", doomed).status == 200
    bad = mint().event(OWN + "revoked", {"txn": ""}, jti="bad")
    unknown = EventMint(time.time(), mint().mint.forger()).revoked(txn="task-2")
    idp.waiting |= {"bad": bad.decode(), "unknown": unknown.decode(), "renamed": mint().revoked(txn="t").decode()}
    idp.waiting["good"] = mint().event(OWN + "transaction-ended", {"txn": "task-1"}, jti="good").decode()
    wait_until(lambda: wire.ask("GET", "/any/1", doomed).reason == "token_revoked", "the task has ended", SOON_S)
    wait_until(lambda: set(idp.waiting) == {"unknown"}, "all but one are acknowledged")
    assert {jti: why["err"] for jti, why in idp.refused.items()} == {
        "bad": "invalid_request",
        "renamed": "invalid_request",
    }
    assert orders.metric("svidecar_revocation_events_total", result="invalid_key") > 0
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-2")).status == 200
    assert orders.metric("svidecar_revocation_events_total", result="ok") == 1
    orders.stop()
    idp.waiting.clear()
    again = mesh.run(orders.config).wait_until_ready()
    wire = mesh.connect(again.ports["inbound"])
    assert wire.ask("GET", "/any/1", doomed).reason == "token_revoked"


def test_by_push(mesh: Mesh) -> None:
    """An account is disabled and enabled again; older words that come later, and the same ones again, change nothing."""
    orders = start(mesh)
    wait_until(lambda: '"svid": {"ok": true' in orders.get("health", "/healthz/ready")[1], "all but the feed")
    assert not orders.ready
    assert mesh.connect(orders.ports["inbound"]).ends()
    token = mesh.bearer(sub="alice")
    now = time.time()

    def is_refused() -> bool:
        return wire.ask("GET", "/any/1", token).reason == "token_revoked"

    disabled = EventMint(now - 50).event(RISC + "account-disabled", ALICE)
    enabled = EventMint(now - 40).event(RISC + "account-enabled", ALICE)
    early = EventMint(now - 60).event(RISC + "account-enabled", ALICE)
    assert push(orders, disabled) == (202, "")
    wire = mesh.connect(orders.wait_until_ready().ports["inbound"])
    assert is_refused()
    assert push(orders, early)[0] == 202
    assert is_refused()
    assert push(orders, enabled)[0] == 202
    assert not is_refused()
    assert push(orders, disabled)[0] == 202  # again: it was taken already
    assert not is_refused()
    assert push(orders, EventMint(now - 30).event(RISC + "account-disabled", ALICE))[0] == 202
    assert push(orders, enabled)[0] == 202
    assert is_refused()


def test_what_is_not_for_us(mesh: Mesh) -> None:
    """Each is refused by its registered code, and takes nothing back."""
    orders = start(mesh, more=", stale: serve").wait_until_ready()
    wire = mesh.connect(orders.ports["inbound"])
    forged = EventMint(time.time(), mint().mint.forger())
    kind = OWN + "revoked"
    for event, code in (
        (b"garbage", "invalid_request"),
        (mesh.mint.token(), "invalid_request"),
        (forged.revoked(txn="task-1"), "invalid_key"),
        (mint().event(kind, {"txn": "task-1"}, iss="https://evil.example.org"), "invalid_issuer"),
        (mint().event(kind, {"txn": "task-1"}, aud="https://other.example.org"), "invalid_audience"),
        (mint().event(kind, {"txn": "task-1"}, header={"typ": "JWT"}), "invalid_request"),
        (mint().event(kind, {"txn": "task-1"}, iat=int(time.time()) + 3600), "invalid_request"),
    ):
        assert push(orders, event) == (400, code)
    assert push(orders, mint().revoked(txn="task-1"), "application/jwt") == (400, "invalid_request")
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).status == 200
    status = wire.ask("GET", "/any/1", {"Txn-Token": mint().revoked(txn="task-1").decode()})
    assert (status.status, status.reason) == (401, "token_wrong_type")
    assert push(orders, mint().revoked(txn="task-1"))[0] == 202
    assert wire.ask("GET", "/any/1", mesh.bearer(txn="task-1")).reason == "token_revoked"


def test_a_feed_that_falls_silent(mesh: Mesh) -> None:
    """After max_age no token passes, until it is heard again."""
    idp = Transmitter(mesh)
    orders = start(
        mesh, f', poll: "{idp.url}", spiffe_id: {SPIFFE_ID}, interval: 100ms', ", max_age: 3s"
    ).wait_until_ready()
    wire = mesh.connect(orders.ports["inbound"])
    wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer()).status == 200, "it is heard")
    idp.status = 503
    wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer()).reason == "revocation_stale", "it is silent")
    idp.status = 200
    wait_until(lambda: wire.ask("GET", "/any/1", mesh.bearer()).status == 200, "it is heard again")

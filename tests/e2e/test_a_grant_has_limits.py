"""A rule limits a connection: tokens beyond the Grant until it ends, bytes and time of a tunnel, and when that is over."""

import time

import pytest
from support.apps import RawApp
from support.mesh import Mesh
from support.sidecar import SOON_S, Sidecar, wait_until
from support.tcp import inbound, outbound, token_service
from support.wire import Wire

N = 4

RULES = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{audience: example.org, keys: jwks.json}}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    limits: {{{limits}}}
    routes: [{{match: "* /any/**"}}]
"""


def tcp_rule(limits: str, ends: str = "token") -> str:
    """A rule for raw TCP with these limits."""
    return (
        f"\n  - name: edge may query\n    peers: [spiffe://example.org/edge]\n    scopes: [db.query]\n"
        f'    limits: {{{limits}}}\n    routes: [{{match: "CONNECT db:5432", scopes: [db.query], ends: {ends}}}]\n'
    )


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> RawApp:
    """An app of raw TCP that echoes."""

    def echo(connection: object) -> None:
        while data := connection.recv(65536):  # type: ignore[attr-defined]
            connection.sendall(data)  # type: ignore[attr-defined]

    return mesh.raw_app(echo)


@pytest.fixture(scope="module")
def orders(mesh: Mesh) -> Sidecar:
    """A sidecar before an app of HTTP, which bears N tokens beyond the Grant."""
    return mesh.start("orders", RULES.format(app=mesh.app().port, limits=f"refusals: {N}"))


def beyond(mesh: Mesh, wire: Wire, **claims: object) -> tuple[int, bool]:
    """Show a token that is good, and not for this connection."""
    answer = wire.ask("GET", "/any/x", mesh.bearer(**({"scope": "orders.admin"} | claims)))
    return answer.status, answer.closes


def test_the_last_token_beyond_the_grant_ends_the_connection(mesh: Mesh, orders: Sidecar) -> None:
    """At n - 1 it is open and serves; number n is answered, and is the last."""
    wire = mesh.connect(orders.ports["inbound"])
    for _ in range(N - 1):
        assert beyond(mesh, wire) == (403, False)
    assert wire.ask("GET", "/any/x", mesh.bearer(scope="orders.read")).status == 200
    assert beyond(mesh, wire) == (403, True)
    assert wire.ends()


def test_other_refusals_are_not_counted(mesh: Mesh, orders: Sidecar) -> None:
    """An expired token, a missing one, a path that no rule has: mistakes of a caller whose connection is as it should be."""
    wire = mesh.connect(orders.ports["inbound"])
    now = int(time.time())
    for _ in range(N + 1):
        assert wire.ask("GET", "/any/x", mesh.bearer(iat=now - 900, exp=now - 600)).status == 401
        assert wire.ask("GET", "/any/x").status == 401
        assert wire.ask("GET", "/nothing", mesh.bearer(scope="orders.read")).status == 403
    assert wire.ask("GET", "/any/x", mesh.bearer(scope="orders.read")).status == 200


def test_nothing_behind_the_last_one_is_served(mesh: Mesh, orders: Sidecar) -> None:
    """Pipelined requests come too late, also good ones."""
    wire = mesh.connect(orders.ports["inbound"])
    bad, good = (mesh.mint.token(scope=scope) for scope in ("orders.admin", "orders.read"))
    one = b"GET /any/x HTTP/1.1\r\nHost: orders\r\nTxn-Token: %b\r\n\r\n"
    wire.send(one % bad * N + one % good)
    assert [wire.reply().status for _ in range(N)] == [403] * N
    assert wire.ends()


def test_the_default_is_ten(mesh: Mesh) -> None:
    """Where the rule says nothing."""
    orders = mesh.start("orders", RULES.format(app=mesh.app().port, limits="bytes: 1KiB"))
    wire = mesh.connect(orders.ports["inbound"])
    assert [beyond(mesh, wire) for _ in range(10)] == [(403, False)] * 9 + [(403, True)]


def test_a_connection_has_its_time(mesh: Mesh) -> None:
    """It takes no new request then, and ends in good order; the next one is admitted as before."""
    orders = mesh.start("orders", RULES.format(app=mesh.app().port, limits="time: 2s"))
    wire = mesh.connect(orders.ports["inbound"])
    began = time.monotonic()
    assert wire.ask("GET", "/any/x", mesh.bearer(scope="orders.read")).status == 200
    assert wire.rest() == b""
    assert time.monotonic() - began > 1
    again = mesh.connect(orders.ports["inbound"])
    assert again.ask("GET", "/any/x", mesh.bearer(scope="orders.read")).status == 200


def tunnel(mesh: Mesh, app: RawApp, rule: str, lifetime_s: int = 300) -> tuple[Wire, Sidecar]:
    """A tunnel under a rule, and the sidecar that judges it."""
    service = token_service(mesh)
    service.lifetime_s = lifetime_s
    db = mesh.start("db", inbound(app.port, rule))
    edge = mesh.start("edge", outbound(db, service))
    return mesh.plain(edge.ports["tcp0"]), db


def lasts(wire: Wire) -> float:
    """Use the tunnel until it is reset, which has to be; how long it lasted."""
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() - began < 20:
            assert wire.send(b"x").take(1) == b"x"
            time.sleep(0.05)
    return time.monotonic() - began


def test_bytes_of_a_tunnel(mesh: Mesh, app: RawApp) -> None:
    """Both ways together: the byte with number n passes, n + 1 does not, and both sides are reset."""
    wire, db = tunnel(mesh, app, tcp_rule("bytes: 2000"))
    assert wire.send(b"a" * 1000).take(1000) == b"a" * 1000
    assert db.metric("svidecar_tunnels") == 1
    assert db.metric("svidecar_tunnel_bytes_total") == 2000
    with pytest.raises(ConnectionResetError):
        wire.send(b"b").sock.recv(1)
    db.wait_for_decision(decision="deny", reason="bytes_spent", rule="edge may query")
    assert db.metric("svidecar_tunnel_bytes_total") == 2000
    assert db.metric("svidecar_tunnels") == 0


def test_bytes_of_a_tunnel_in_one_piece(mesh: Mesh, app: RawApp) -> None:
    """What is beyond the limit of a larger piece is not carried either."""
    wire, db = tunnel(mesh, app, tcp_rule("bytes: 1500"))
    wire.send(b"a" * 5000)
    with pytest.raises(ConnectionResetError):
        wire.sock.recv(1)
    db.wait_for_decision(reason="bytes_spent")
    assert db.metric("svidecar_tunnel_bytes_total", flow="to_upstream") == 1500


def test_time_of_a_tunnel(mesh: Mesh, app: RawApp) -> None:
    """However busy it is."""
    wire, db = tunnel(mesh, app, tcp_rule("time: 1500ms"))
    assert lasts(wire) > 1
    db.wait_for_decision(decision="deny", reason="grant_ended", rule="edge may query")


def test_it_ends_with_its_token(mesh: Mesh, app: RawApp) -> None:
    """At exp, as the rule says nothing else."""
    wire, db = tunnel(mesh, app, tcp_rule("bytes: 1MiB"), lifetime_s=3)
    assert lasts(wire) > 1
    db.wait_for_decision(decision="deny", reason="grant_ended")


def test_it_ends_with_the_time_of_its_rule(mesh: Mesh, app: RawApp) -> None:
    """ends: limit. The token only opened it, and may end before."""
    wire, db = tunnel(mesh, app, tcp_rule("time: 5s", ends="limit"), lifetime_s=2)
    assert lasts(wire) > 4
    db.wait_for_decision(decision="deny", reason="grant_ended")


def test_it_ends_with_its_rule(mesh: Mesh, app: RawApp) -> None:
    """Another policy: a tunnel that it does not allow ends at once; one that it allows goes on, with its new time."""
    wire, db = tunnel(mesh, app, tcp_rule("time: 60s"))
    assert wire.send(b"x").take(1) == b"x"

    def reload(rule: str) -> None:
        before = db.metric("svidecar_reload_total", result="ok")
        mesh.config("db", inbound(app.port, rule))
        db.signal(1)
        wait_until(lambda: db.metric("svidecar_reload_total", result="ok") > before, "reloaded")

    reload(tcp_rule("time: 60s").replace("edge may query", "another name"))
    time.sleep(0.3)
    assert wire.send(b"x").take(1) == b"x"
    reload(tcp_rule("time: 60s").replace("CONNECT db:5432", "CONNECT db:5433"))
    began = time.monotonic()
    with pytest.raises(ConnectionResetError):
        wire.sock.recv(1)
    assert time.monotonic() - began < SOON_S
    db.wait_for_decision(decision="deny", reason="route_not_allowed")


def test_a_shorter_time_holds_for_what_is_open(mesh: Mesh, app: RawApp) -> None:
    """The new limit counts from when the tunnel was opened."""
    wire, db = tunnel(mesh, app, tcp_rule("time: 60s"))
    assert wire.send(b"x").take(1) == b"x"
    mesh.config("db", inbound(app.port, tcp_rule("time: 2s")))
    db.signal(1)
    lasts(wire)


def test_it_ends_with_its_svid(mesh: Mesh, app: RawApp) -> None:
    """No authority outlives the identity that it was given to."""
    service = token_service(mesh)
    db = mesh.start("db", inbound(app.port, tcp_rule("bytes: 1MiB")))
    edge = mesh.start("edge", outbound(db, service))
    before = db.metric("svidecar_svid_rotations_total")
    mesh.svid("db", lifetime_s=5)
    try:
        wait_until(lambda: db.metric("svidecar_svid_rotations_total") > before, "the rotation")
        lasts(mesh.plain(edge.ports["tcp0"]))
    finally:
        mesh.svid("db")

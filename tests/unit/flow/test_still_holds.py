"""A request that waits for a connection, while other rules are taken, or other destinations: it goes by the newest."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import CONFIG, Bench, settle

from proxy.flow.account import Account
from proxy.flow.raw_inbound import RawInboundConnection
from proxy.policy.revocation import Ending, Entry, Kind
from proxy.tls.proofs import Proofs

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE, TWO = 'address: "127.0.0.1:4"', 'address: "127.0.0.1:5"'
ROUTE = '"GET /orders/{id}", scopes: [orders.read]'
RAW = CONFIG.replace("http://", "tcp://").replace("GET /orders/{id}", "CONNECT db:5432")


@pytest.fixture(name="bench")
async def _bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, getattr(request, "param", CONFIG))
    await made.sidecar.keys.load()
    monkeypatch.setattr(made.doors._dialer, "dial", made.dial)
    yield made
    await made.sidecar.close()
    for _, other in made.opened:
        other.close()


raw = pytest.mark.parametrize("bench", [RAW], indirect=True)


def connect(bench: Bench) -> bytes:
    """What asks for a tunnel."""
    return bench.request("CONNECT db:5432 HTTP/1.1").replace(b"Host: ledger", b"Host: db:5432")


def revoke(bench: Bench) -> None:
    """Take back all tokens of the subject."""
    sub = Entry(kind=Kind.SUB, value=str(bench.mint.claims()["sub"]))
    bench.sidecar._revocations._ledger.put("admin", [sub])


# ---- either way


@pytest.mark.parametrize("way", ["inbound", "outbound"])
async def test_a_token_that_was_taken_back_goes_no_further(bench: Bench, way: str) -> None:
    """Whoever has its request already may answer within the grace; nobody gets it who has not."""
    connection, transport = bench.inbound() if way == "inbound" else bench.outbound()
    connection.data_received(bench.request())
    await settle()
    revoke(bench)
    await settle()
    await bench.opens()
    assert set(bench.received().values()) == {b""}
    assert b'"token_revoked"' in transport.sent


@raw
async def test_nor_does_it_open_a_tunnel(bench: Bench) -> None:
    """The same for raw TCP."""
    connection, transport = bench.inbound()
    connection.data_received(connect(bench))
    await settle()
    revoke(bench)
    await bench.opens()
    assert b'"token_revoked"' in transport.sent
    assert b"200 OK" not in transport.sent


async def test_a_token_that_has_ended_is_not_sent_a_second_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app has closed a connection that was used before, long after the request had come."""
    connection, transport = bench.inbound()
    await bench.opens()
    connection.data_received(bench.request())
    await settle()
    bench.opened[0][1].sendall(OK)
    await settle()
    assert transport.sent.endswith(b"ok")
    connection.data_received(bench.request())
    monkeypatch.setattr(connection.runtime, "now", lambda: time.time() + 3000)
    bench.opened[0][1].close()
    await settle()
    assert b'"token_expired"' in transport.sent
    with pytest.raises(BlockingIOError):
        bench.opened[1][1].recv(1)


# ---- outbound


async def test_a_destination_that_is_gone_gets_nothing(bench: Bench) -> None:
    """Neither the token nor a byte of the request goes where none leads any more."""
    connection, transport = bench.outbound()
    connection.data_received(bench.request())
    await settle()
    bench.take("host: ledger", "host: other")
    await bench.opens()
    assert bench.received() == {"127.0.0.1:4": b""}
    assert b'"destination_unknown"' in transport.sent
    assert not bench.doors.pools.open


@pytest.mark.parametrize(("length", "body"), [("", b""), ("Content-Length: 4\r\n", b"body")])
async def test_a_destination_that_has_moved_gets_all_of_it(bench: Bench, length: str, body: bytes) -> None:
    """Where it is now; and its transaction is found there, too, by the mark that the app has passed on."""
    passages = bench.sidecar._transactions.passages
    assert passages is not None
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    passage = passages.enter(trace_id.encode(), b"a.b.c", "txn", 1e12, 0.0)
    trace = f"traceparent: 00-{trace_id}-b7ad6b7169203331-01\r\ntracestate: svidecar={passage.mark.decode()}\r\n"
    connection, _ = bench.outbound()
    head = f"PUT /a HTTP/1.1\r\nHost: ledger\r\n{trace}{length}\r\n".encode()
    connection.data_received(head + body)
    await settle()
    bench.take(ONE, TWO)
    await bench.opens()
    assert [where for where, _ in bench.opened] == ["127.0.0.1:4", "127.0.0.1:5"]
    received = bench.received()
    assert received["127.0.0.1:4"] == b""
    sent, _, rest = received["127.0.0.1:5"].partition(b"\r\n\r\n")
    assert (sent.count(b"Txn-Token: a.b.c"), sent.count(b"tracestate"), rest) == (1, 0, body)


async def test_a_token_that_did_not_go_out_after_all_ends_nothing(bench: Bench) -> None:
    """Its destination is one outside of the mesh now, which gets none; then the token is taken back."""
    connection, _ = bench.outbound()
    connection.data_received(bench.request())
    await settle()
    bench.take("spiffe_id: spiffe://example.org/ledger, propagate: tracestate", "protection: plain")
    await bench.opens()
    assert [b"Txn-Token" in sent for sent in bench.received().values()] == [False]
    sub = Entry(kind=Kind.SUB, value=str(bench.mint.claims()["sub"]), ending=Ending.CUT)
    bench.sidecar._revocations._ledger.put("admin", [sub])
    await settle()
    assert connection.exchange is not None
    assert not connection.exchange.finished


async def test_other_destinations_are_nothing_to_it(bench: Bench) -> None:
    """It goes on, and once."""
    connection, transport = bench.outbound()
    connection.data_received(bench.request())
    await settle()
    bench.take("destinations: [", f"destinations: [{{host: other, {TWO}, protection: plain}}, ")
    await bench.opens()
    assert [(where, sent.count(b"GET ")) for where, sent in bench.received().items()] == [("127.0.0.1:4", 1)]
    bench.opened[0][1].sendall(OK)
    await settle()
    assert transport.sent.endswith(b"ok")


# ---- inbound


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [("GET /orders", "GET /others", b"route_not_allowed"), ("/edge]", "/front]", b"grant_ended")],
)
@pytest.mark.parametrize("is_judged", [True, False])
async def test_what_is_allowed_no_more_does_not_reach_the_app(
    bench: Bench, old: str, new: str, reason: bytes, *, is_judged: bool
) -> None:
    """Whether or not the round of judging has come to the connection."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request())
    if is_judged:
        await settle()
    bench.take(old, new)
    if is_judged:
        await settle()
    await bench.opens()
    assert bench.received() == {"127.0.0.1:2": b""}
    assert b'"' + reason + b'"' in transport.sent


async def test_what_is_allowed_still_goes_on_under_the_new_rules(bench: Bench) -> None:
    """And it is written down as theirs; its transaction is let out no more if they say so."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request())
    exchange = connection.exchange
    assert exchange is not None
    assert exchange.passage is not None
    await settle()
    bench.take(ROUTE, ROUTE + ", propagate: false")
    await bench.opens()
    assert bench.received()["127.0.0.1:2"].count(b"GET ") == 1
    assert exchange.account is connection.account
    assert exchange.account.policy == bench.doors.inbound_door.policy.version  # type: ignore[union-attr]
    assert exchange.passage.raw == b""
    bench.opened[0][1].sendall(OK)
    await settle()
    assert transport.sent.endswith(b"ok")


async def test_what_is_to_be_used_once_by_now_is_used(bench: Bench) -> None:
    """The next one with this transaction is refused."""
    connection, _ = bench.inbound()
    request = bench.request()
    connection.data_received(request)
    await settle()
    bench.take(ROUTE, ROUTE + ", once: true")
    await bench.opens()
    assert bench.received()["127.0.0.1:2"].count(b"GET ") == 1
    other, transport = bench.inbound()
    other.data_received(request)
    assert b'"transaction_replayed"' in transport.sent


UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"


@pytest.mark.parametrize("is_judged", [True, False])
@pytest.mark.parametrize(("old", "new"), [("GET /orders", "GET /others"), ("/edge]", "/front]"), ("", "")])
async def test_a_websocket_that_the_app_has_not_taken_yet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, old: str, new: str, *, is_judged: bool
) -> None:
    """It takes it after other rules were taken: no tunnel opens that they would not open, and none stays."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request(more=UPGRADE))
    await bench.opens()
    app = bench.opened[0][1]
    assert b"Upgrade: websocket" in app.recv(1 << 20)
    if not is_judged:  # its turn does not come
        assert bench.doors.inbound_door is not None
        monkeypatch.setattr(bench.doors.inbound_door.lifetimes, "judge", lambda _judge: None)
    bench.take(old, new)
    await settle()
    with contextlib.suppress(OSError):
        app.sendall(SWITCH)
    await settle()
    if old:
        assert b"101" not in transport.sent
        assert b"hello" not in transport.sent
        assert connection._tunnel is None
        assert app.recv(1) == b""
    else:
        assert transport.sent.endswith(b"hello")
        connection.data_received(b"to the app")
        await settle()
        assert app.recv(100) == b"to the app"


async def test_an_answer_to_a_websocket_is_an_answer(bench: Bench) -> None:
    """The app has refused the upgrade and goes on answering: what is in progress ends as any other request does."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request(more=UPGRADE))
    await bench.opens()
    app = bench.opened[0][1]
    app.sendall(OK[:-2])
    await settle()
    bench.take("GET /orders", "GET /others")
    await settle()
    app.sendall(OK[-2:])
    await settle()
    assert transport.sent.endswith(b"ok")


@raw
async def test_a_tunnel_that_is_not_open_yet(bench: Bench) -> None:
    """Its round has not come, or it has and found that the peer is proved no more: no 200 is said."""
    for proofs in (False, True):
        connection, transport = bench.inbound()
        assert isinstance(connection, RawInboundConnection)
        bench.may_open.clear()
        connection.data_received(connect(bench))
        await settle()
        assert connection.exchange is not None
        assert transport.sent == b""
        if proofs:
            assert bench.doors.inbound_door is not None
            bench.doors.inbound_door.proofs = Proofs({}, 0.0)
            connection.judge()
        else:
            bench.take("CONNECT db", "CONNECT other")
        await bench.opens()
        assert (b"grant_ended" if proofs else b"route_not_allowed") in transport.sent
        assert b"200 OK" not in transport.sent
        bench.take("CONNECT db", "CONNECT db")
        await settle()


@raw
async def test_a_tunnel_that_is_to_be_used_once_by_now_is_used(bench: Bench) -> None:
    """As a request is: the next one with this transaction is refused."""
    request, route = connect(bench), '"CONNECT db:5432", scopes: [orders.read]'
    connection, transport = bench.inbound()
    connection.data_received(request)
    await settle()
    bench.take(route, route + ", once: true")
    await bench.opens()
    assert b"200 OK" in transport.sent
    other, transport = bench.inbound()
    other.data_received(request)
    await settle()
    assert b'"transaction_replayed"' in transport.sent


@raw
async def test_what_was_opened_for_a_tunnel_that_never_was_does_not_stay(bench: Bench) -> None:
    """Nobody is ever lent it: it would be one of the few connections that the app has to give, for nothing."""
    connection, _ = bench.inbound()
    connection.data_received(connect(bench))
    await settle()
    connection.connection_lost(None)
    await bench.opens()
    assert bench.opened[0][1].recv(1) == b""
    assert bench.doors.inbound_door is not None
    assert not bench.doors.inbound_door.pool.ledger.open


async def test_a_websocket_that_never_opened_is_not_written_down_as_allowed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its peer is found to be named no more when the app takes it: the record says so."""
    written: list[str] = []
    monkeypatch.setattr(Account, "close", lambda *_told: written.append("allow"))
    monkeypatch.setattr(Account, "fail", lambda _account, _facts, error, _now: written.append(error.reason))
    connection, transport = bench.inbound()
    connection.data_received(bench.request(more=UPGRADE))
    await bench.opens()
    assert bench.doors.inbound_door is not None
    monkeypatch.setattr(bench.doors.inbound_door.lifetimes, "judge", lambda _judge: None)
    bench.take("/edge]", "/front]")
    bench.opened[0][1].sendall(SWITCH)
    await settle()
    assert b"101" not in transport.sent
    assert written == ["grant_ended"]


ONE_AT_A_TIME = CONFIG.replace("inbound: {", "limits: {upstream_connections: 1}\ninbound: {")


@pytest.mark.parametrize("bench", [ONE_AT_A_TIME], indirect=True)
async def test_the_one_behind_it_gets_the_connection_that_it_did_not_need(bench: Bench) -> None:
    """A request that is refused gives its connection back; the next of the pipeline is not told that all are in use."""
    connection, transport = bench.inbound()
    connection.data_received(bench.request("GET /orders/1 HTTP/1.1") + bench.request("GET /others/2 HTTP/1.1"))
    await settle()
    bench.take("GET /orders", "GET /others")
    await bench.opens()
    assert transport.sent.count(b"HTTP/1.1 ") == 1
    assert b'"route_not_allowed"' in transport.sent
    assert [sent.count(b"GET /others/2") for sent in bench.received().values()] == [1]

"""trade.py: what is asked of the token service for a request, what waits for it, and what goes no further."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from support.admitted import LOCAL, Admitted, Kept
from support.authorisers import OpaLike
from support.fetch import Clock, Web, json_answer
from support.fetching import until
from support.flow import Caller, exchange_of, get, head_of, make_runtime
from support.flow import Clock as RuntimeClock
from support.tokens import TokenMint, compact_json

from loadtest.loop import CONFIG
from proxy.errors import (
    AccessTokenMalformed,
    AccessTokenMissing,
    BodyTooLarge,
    FactUnusable,
    NotReady,
    TtsUnavailable,
)
from proxy.flow.exchange import Exchange
from proxy.flow.trade import Traded, facts_of, trade
from proxy.flow.uses import Uses
from proxy.http1.message import EndOfMessage, RequestHead
from proxy.net.common_file import CommonFile
from proxy.tokens.ask import Ask, compile_ask
from proxy.tokens.fetch import Answer
from proxy.tokens.jwks import KeyStore
from proxy.tokens.once import UsedTransactions
from proxy.tokens.settings import AskSettings, ServiceSettings, SubjectSettings, TokenSettings
from proxy.tokens.subject import TXN_TOKEN, TYPES
from proxy.tokens.tts import TokenService

MINT = TokenMint()
SETTINGS = TokenSettings(
    audience="example.org",
    keys="https://tts/jwks",
    service=ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts"),
)
LIMIT_BYTES = 100


def given(token: bytes) -> Answer:
    """The answer of a token service that gives this token."""
    members = {"access_token": token.decode(), "issued_token_type": TXN_TOKEN, "token_type": "N_A"}
    return json_answer(compact_json(members))


def asking(subject: SubjectSettings | None = None, **facts: dict[str, str]) -> Ask:
    """What a route asks for."""
    errors: list[tuple[str, str]] = []
    settings = AskSettings(scope=("orders.read",), subject=subject, **facts)
    made = compile_ask("exchange", settings, errors, routed=True)
    assert made is not None, errors
    return made


OWN = asking()
BEARER = asking(SubjectSettings())
OF_BODY = asking(details={"quantity": "body:/quantity"})
ALICE = "Authorization: Bearer of-alice"
JSON = "Content-Type: application/json"
BODY = b'{"quantity": 100}'


class Desk:
    """Where a token is asked for: a token service in memory, which gives ``token``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.token = MINT.token(self.clock.now, scope="orders.read")
        self.web = Web(given(self.token))
        self.keys = KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), self.clock)
        self.service = TokenService(SETTINGS, self.web, self.keys, self.clock, lambda: 0.5)
        self.caller = Caller()

    def exchange(self, head: RequestHead) -> Exchange:
        """A request of ``edge``."""
        runtime = make_runtime(RuntimeClock())
        runtime.now = self.clock
        made = exchange_of(runtime, self.caller, head)
        made.account.local, made.account.peer = LOCAL, "spiffe://example.org/edge"
        return made

    def trade(self, exchange: Exchange, ask: Ask, limit_bytes: int = LIMIT_BYTES) -> Traded:
        """Take the step."""
        return trade(exchange, ask, self.service, limit_bytes, "192.0.2.1", "/orders/{id}")

    async def obtained(self, exchange: Exchange, ask: Ask) -> dict[str, str]:
        """Take the step, which has to wait, and once more; give what was asked for."""
        found = self.trade(exchange, ask)
        assert found is not None
        assert not isinstance(found, bytes)
        assert await found == self.token
        assert self.trade(exchange, ask) == self.token
        return dict(parse_qsl(self.web.sent[-1].body.decode()))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """One with its keys."""
    made = Desk()
    await made.keys.load()
    yield made
    await made.service.close()
    await made.keys.close()


async def test_nobody_to_ask_and_nobody_who_asks(desk: Desk) -> None:
    """Each is a refusal of its own; the request keeps what it brought, and a token may still be asked for."""
    exchange = desk.exchange(get(ALICE))
    with pytest.raises(TtsUnavailable, match="no token service is configured"):
        trade(exchange, BEARER, None, LIMIT_BYTES)
    exchange.account.local = None
    for ask in (OWN, BEARER):
        with pytest.raises(NotReady):
            desk.trade(exchange, ask)
    assert exchange.head.lines == [ALICE.encode()]
    assert not exchange.learned
    assert desk.web.sent == []


async def test_in_our_own_name(desk: Desk) -> None:
    """Nothing of the request plays a part: what it brings goes on, its body streams, and nobody waits for that."""
    exchange = desk.exchange(get(ALICE, "Content-Length: 5", method="POST"))
    form = await desk.obtained(exchange, OWN)
    assert (form["client_id"], form["scope"]) == (LOCAL, "orders.read")
    assert "of-alice" not in form.values()
    assert exchange.head.lines == [ALICE.encode()]
    assert exchange.hold is None
    waiting = desk.exchange(get("Content-Length: 5", method="POST"))
    waiting.wait_for_body(LIMIT_BYTES)
    assert desk.trade(waiting, OWN) == desk.token


async def test_what_is_traded_is_asked_with_and_then_taken_out(desk: Desk) -> None:
    """While the token is asked for the request still has it; all other fields stay, in their order."""
    exchange = desk.exchange(get("X-A: 1", ALICE, "X-B: 2", "Content-Length: 5", method="POST"))
    lines = list(exchange.head.lines)
    found = desk.trade(exchange, BEARER)
    assert found is not None
    assert not isinstance(found, bytes)
    assert exchange.head.lines == lines
    assert await found == desk.token
    assert desk.trade(exchange, BEARER) == desk.token
    assert exchange.head.lines == [line for line in lines if line != ALICE.encode()]
    assert len(exchange.head.lines) == len(lines) - 1
    (sent,) = desk.web.sent
    form = dict(parse_qsl(sent.body.decode()))
    assert (form["subject_token"], form["subject_token_type"]) == ("of-alice", TYPES["access_token"])
    assert (form["client_id"], form["scope"]) == (LOCAL, "orders.read")
    assert exchange.hold is None, "no fact is taken from the body"


async def test_what_is_held_is_given_at_once(desk: Desk) -> None:
    """The next request with the same to trade waits for nobody; one with another is another."""
    await desk.obtained(desk.exchange(get(ALICE)), BEARER)
    again = desk.exchange(get(ALICE))
    assert desk.trade(again, BEARER) == desk.token
    assert again.head.lines == []
    assert not again.learned
    assert len(desk.web.sent) == 1
    other = await desk.obtained(desk.exchange(get("Authorization: Bearer of-bob")), BEARER)
    assert other["subject_token"] == "of-bob"
    assert len(desk.web.sent) == 2


async def test_the_step_taken_again_wants_the_same(desk: Desk) -> None:
    """A later step leads back: what was taken out is not missed, and where the rules are others theirs is wanted."""
    exchange = desk.exchange(get("X-User: judy", ALICE))
    await desk.obtained(exchange, BEARER)
    assert desk.trade(exchange, BEARER) == desk.token
    assert exchange.head.lines == [b"X-User: judy"]
    assert len(desk.web.sent) == 1
    named = asking(SubjectSettings(type="unsigned_json", taken="header:X-User"))
    form = await desk.obtained(desk.exchange(get("X-User: judy")), named)
    assert json.loads(form["subject_token"]) == {"sub": "judy"}
    assert desk.trade(exchange, named) == desk.token
    assert exchange.head.lines == []
    assert desk.trade(exchange, BEARER) == desk.token


@pytest.mark.parametrize(
    ("fields", "error"),
    [([], AccessTokenMissing), ([ALICE.replace("Bearer", "Basic")], AccessTokenMissing), ([ALICE + " b"], AccessTokenMalformed)],
)  # fmt: skip
async def test_a_request_that_brings_none(desk: Desk, fields: list[str], error: type[Exception]) -> None:
    """Nothing is asked for, not even in our own name."""
    with pytest.raises(error):
        desk.trade(desk.exchange(get(*fields)), BEARER)
    assert desk.web.sent == []


async def test_a_token_that_is_no_more_when_the_step_comes_again(desk: Desk) -> None:
    """It was obtained for this request and has ended: the request is refused, and does not ask for ever."""
    exchange = desk.exchange(get(ALICE))
    found = desk.trade(exchange, BEARER)
    assert found is not None
    assert not isinstance(found, bytes)
    assert await found == desk.token
    desk.clock.now += 301
    with pytest.raises(TtsUnavailable, match="still good"):
        desk.trade(exchange, BEARER)
    assert exchange.head.lines == [ALICE.encode()]
    assert len(desk.web.sent) == 1


# ---- facts


async def test_facts_go_with_what_is_asked_for(desk: Desk) -> None:
    """Of the request, of whoever sent it, and of the route."""
    context = {"req_ip": "source", "via": "peer", "how": "method", "where": "route", "agent": "header:user-agent"}
    exchange = desk.exchange(get("User-Agent: test", method="POST"))
    form = await desk.obtained(exchange, asking(context=context))
    assert json.loads(form["request_context"]) == {
        "req_ip": "192.0.2.1",
        "via": "spiffe://example.org/edge",
        "how": "POST",
        "where": "/orders/{id}",
        "agent": "test",
    }
    assert exchange.head.lines == [b"User-Agent: test"]


async def test_a_fact_of_the_body_waits_for_all_of_it(desk: Desk) -> None:
    """Nothing is asked for before its last byte; then the steps are taken again, once, and what came is forwarded."""
    exchange = desk.exchange(get(JSON, f"Content-Length: {len(BODY)}", method="POST"))
    assert desk.trade(exchange, OF_BODY) is None
    hold = exchange.hold
    assert exchange.takes_body
    exchange.body(BODY[:3])
    exchange.flush()
    assert desk.trade(exchange, OF_BODY) is None
    assert desk.caller.asked == 0
    exchange.body(BODY[3:])
    exchange.body_end(EndOfMessage())
    exchange.flush()
    assert desk.caller.asked == 1
    form = await desk.obtained(exchange, OF_BODY)
    assert json.loads(form["request_details"]) == {"quantity": 100}
    assert exchange.hold is hold
    assert exchange.request_bytes == len(BODY)


async def test_a_body_that_is_read_for_another_reason_is_waited_for_too(desk: Desk) -> None:
    """Who reads it takes the steps again, and once is enough."""
    exchange = desk.exchange(get(ALICE, "Content-Length: 5", method="POST"))
    exchange.wait_for_body(LIMIT_BYTES)
    assert desk.trade(exchange, BEARER) is None
    exchange.body(b"12345")
    exchange.body_end(EndOfMessage())
    await desk.obtained(exchange, BEARER)


async def test_a_body_that_never_comes_is_not_waited_for(desk: Desk) -> None:
    """A request without one tells no fact of it."""
    exchange = desk.exchange(get())
    with pytest.raises(FactUnusable):
        desk.trade(exchange, OF_BODY)
    assert desk.caller.asked == 0
    assert desk.web.sent == []


async def test_a_body_is_read_up_to_the_limit(desk: Desk) -> None:
    """At n it is taken; at n and one more it is refused, by what its head says, or where it passes the limit."""
    size = len(BODY)
    exchange = desk.exchange(get(JSON, f"Content-Length: {size}", method="POST"))
    assert desk.trade(exchange, OF_BODY, size) is None
    with pytest.raises(BodyTooLarge):
        desk.trade(desk.exchange(get(JSON, f"Content-Length: {size}", method="POST")), OF_BODY, size - 1)
    chunked = desk.exchange(get(JSON, "Transfer-Encoding: chunked", method="POST"))
    assert desk.trade(chunked, OF_BODY, size - 1) is None
    chunked.body(BODY[:-1])
    assert desk.caller.refused == []
    chunked.body(BODY[-1:])
    assert desk.caller.refused == ["body_too_large"]
    assert desk.web.sent == []


async def test_what_a_request_tells() -> None:
    """All of it; of a peer, a body and trailers that are not there: nothing."""
    exchange = Desk().exchange(
        head_of(b"PUT /orders/7?a=b HTTP/1.1\r\nHost: orders\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n")
    )
    exchange.account.peer = None
    told = facts_of(exchange, "192.0.2.1")
    assert (told.method, told.target, told.authority) == (b"PUT", b"/orders/7?a=b", b"orders")
    assert (told.lines, told.source, told.peer, told.route) == ([b"X-A: 1"], "192.0.2.1", "", "")
    assert (told.body, told.trailers) == (None, False)
    exchange.account.peer = "spiffe://example.org/edge"
    exchange.wait_for_body(LIMIT_BYTES)
    told = facts_of(exchange, "192.0.2.1", "/orders/{id}")
    assert (told.peer, told.route) == ("spiffe://example.org/edge", "/orders/{id}")
    assert (told.body, told.trailers) == (None, False)
    exchange.body(b"ab")
    exchange.body_end(EndOfMessage((b"X-B: 2",)))
    told = facts_of(exchange, "192.0.2.1")
    assert (told.body, told.trailers) == (b"ab", True)
    without = Desk().exchange(get("Content-Length: 2", method="POST"))
    without.wait_for_body(LIMIT_BYTES)
    without.body(b"ab")
    without.body_end(EndOfMessage())
    assert facts_of(without, "").trailers is False


# ---- the step comes again


EDGE = CONFIG.replace(
    "keys: jwks.json", 'keys: jwks.json, service: {url: "https://tts/token", spiffe_id: "spiffe://example.org/tts"}'
)
ROUTE = 'match: "POST /orders/{id}", scopes: [orders.read], exchange: {scope: orders.read}'
OPA = 'authoriser: {{opa: {{url: "{url}"}}, headers: [x-a], timeout: 5s}}\n'


Go = Callable[[], None]
Later = tuple[str, Go]
"""A later step: what the configuration says of it, and what lets it go on."""


class Edge(Admitted):
    """A sidecar at the edge whose token service is in memory."""

    def __init__(self, folder: Path, route: str = "", more: str = "") -> None:
        routes = EDGE.replace('match: "GET /orders/{id}", scopes: [orders.read]', ROUTE + route)
        super().__init__(folder, routes + more)
        self.token = self.mint.token(scope="orders.read", tctx={"id": "17", "quantity": 100})
        self.web = Web(given(self.token))
        settings, keys = self.sidecar.settings.tokens, self.sidecar.keys
        self.door.transactions.service = TokenService(settings, self.web, keys, time.time, lambda: 0.5)

    async def ask(self, app: Kept, go: Go) -> bytes:
        """Send an order, and ``go`` when it was traded; give the head that the app gets."""
        await self.sidecar.keys.load()
        body = b'{"quantity": 100}'
        fields = b"Host: orders\r\nAuthorization: Bearer of-alice\r\nX-A: 1\r\nContent-Type: application/json\r\n"
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        self.connection.data_received(b"POST /orders/17 HTTP/1.1\r\n" + fields + length + body)
        exchange = self.connection.exchange
        assert exchange is not None
        await until(lambda: not any(b"of-alice" in line for line in exchange.head.lines))
        go()
        await until(lambda: b"\r\n\r\n" in app.sent or bool(self.transport.sent))
        assert self.transport.sent == b""
        head, _, rest = app.sent.partition(b"\r\n\r\n")
        assert rest == body
        return head


@contextlib.contextmanager
def nobody(_: Path) -> Iterator[Later]:
    """None but the policy."""
    yield "", lambda: None


@contextlib.contextmanager
def opa(_: Path) -> Iterator[Later]:
    """An authoriser outside that agrees."""
    server = OpaLike()
    server.answer = lambda _: (200, b'{"result": true}')
    yield OPA.format(url=server.url), lambda: None
    server.close()


@contextlib.contextmanager
def busy(folder: Path) -> Iterator[Later]:
    """Another process of the app, which has the list of used transactions until then."""
    (folder / "shared").mkdir(mode=0o700)
    other = Uses(UsedTransactions(10, 1.0), CommonFile(folder / "shared" / "used", 32))
    assert other.begin()
    yield f"transactions: {{share: {folder}/shared, timeout: 5s}}\n", other.end
    other.close()


@pytest.mark.parametrize(
    ("route", "later"),
    [
        ("", nobody),
        (", facts: {id: path:id}", nobody),
        (", facts: {quantity: body:/quantity}", nobody),
        ("", opa),
        (", once: true", busy),
        (", once: true, facts: {id: path:id, quantity: body:/quantity}", opa),
    ],
)
async def test_a_later_step_leads_back_to_the_token_that_was_traded(
    tmp_path: Path, route: str, later: Callable[[Path], contextlib.AbstractContextManager[Later]]
) -> None:
    """What was traded is taken out of the request by then, and is not missed; it was asked for once."""
    with later(tmp_path) as (more, go):
        async with contextlib.aclosing(Edge(tmp_path, route, more)) as edge:
            head = await edge.ask(edge.lend(), go)
    assert b"\r\nTxn-Token: " + edge.token + b"\r\n" in head
    assert b"of-alice" not in head
    assert b"\r\nX-A: 1\r\n" in head
    (sent,) = edge.web.sent
    form = dict(parse_qsl(sent.body.decode()))
    assert (form["client_id"], form["scope"], form["subject_token"]) == (LOCAL, "orders.read", "of-alice")
    assert form["subject_token_type"] == TYPES["access_token"]

"""trade.py: what is asked of the token service for a request, what waits for it, and what goes no further."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from support.admitted import LOCAL, Admitted, Kept
from support.authorisers import OpaLike
from support.fetch import Web, json_answer
from support.fetching import until
from support.tokens import TokenMint, compact_json

from loadtest.loop import CONFIG
from proxy.flow.uses import Uses
from proxy.net.common_file import CommonFile
from proxy.tokens.fetch import Answer
from proxy.tokens.once import UsedTransactions
from proxy.tokens.subject import TXN_TOKEN, TYPES
from proxy.tokens.tts import TokenService

MINT = TokenMint()


def given(token: bytes) -> Answer:
    """The answer of a token service that gives this token."""
    members = {"access_token": token.decode(), "issued_token_type": TXN_TOKEN, "token_type": "N_A"}
    return json_answer(compact_json(members))


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

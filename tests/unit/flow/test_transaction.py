"""transaction.py: what is left when the token service gave a token, and time went on before it could be used."""

import pytest
from support.fetch import Clock, Web, json_answer
from support.flow import Caller, exchange_of, get, make_runtime
from support.flow import Clock as RuntimeClock
from support.tokens import TokenMint, compact_json

from proxy.errors import TtsUnavailable
from proxy.flow.exchange import Exchange
from proxy.flow.transaction import Transactions
from proxy.flow.uses import Uses
from proxy.observe.catalog import Metrics
from proxy.policy.compile import compile_destinations
from proxy.policy.permit import Destination
from proxy.policy.settings import DestinationSettings
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.cache import TokenCache
from proxy.tokens.jwks import KeyStore
from proxy.tokens.once import UsedTransactions, use_of
from proxy.tokens.passage import Passages
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.tts import TokenService

MINT = TokenMint()
TYPE = "urn:ietf:params:oauth:token-type:txn_token"
SETTINGS = TokenSettings(
    audience="example.org",
    keys="https://tts/jwks",
    service=ServiceSettings(url="https://tts/token", spiffe_id="spiffe://example.org/tts"),
)
NONE_USED = Uses(UsedTransactions(1, 0.0))
LEDGER = DestinationSettings(
    host="ledger", address="ledger:15006", spiffe_id="spiffe://example.org/ledger", narrow=("ledger.read",)
)


def ledger() -> Destination:
    """A destination that may see one scope."""
    return compile_destinations((LEDGER,), "example.org").all[0]


def exchange_at(clock: Clock) -> Exchange:
    """A request of the app."""
    runtime = make_runtime(RuntimeClock())
    runtime.now = clock
    made = exchange_of(runtime, Caller(), get())
    made.account.local = "spiffe://example.org/orders"
    return made


async def test_the_wider_token_stays_where_the_narrow_one_has_ended_already() -> None:
    """It was obtained for this request, and is not good any more: the request ends, and is not asked for for ever."""
    clock = Clock()
    narrow = MINT.token(clock.now, scope="ledger.read", exp=int(clock.now) + 5).decode()
    web = Web(json_answer(compact_json({"access_token": narrow, "issued_token_type": TYPE, "token_type": "N_A"})))
    keys = KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), clock)
    await keys.load()
    service = TokenService(SETTINGS, web, keys, clock, lambda: 0.5)
    transactions = Transactions(Authenticator(SETTINGS, keys, TokenCache(10)), service, NONE_USED, None)
    exchange, wide = exchange_at(clock), MINT.token(clock.now, scope="ledger.read ledger.write")
    asked = transactions.token(exchange, ledger(), wide)
    assert asked is not None
    assert not isinstance(asked, bytes)
    assert (await asked).decode() == narrow
    clock.now += 10
    with pytest.raises(TtsUnavailable):
        transactions.token(exchange, ledger(), wide)
    assert len(web.sent) == 1
    await service.close()
    await keys.close()


def test_how_full_the_memories_are() -> None:
    """Read when somebody looks; without a memory nothing is in it."""
    clock, metrics = Clock(), Metrics("0", "test")
    keys = KeyStore(SETTINGS, Web(json_answer(MINT.jwks())), clock)
    used = UsedTransactions(4, 10.0)
    transactions = Transactions(Authenticator(SETTINGS, keys, TokenCache(10)), None, Uses(used), None)
    transactions.show(metrics, clock)
    with_app, spent = metrics.transaction_memory("with_app"), metrics.transaction_memory("used")
    assert (with_app.value, spent.value) == (0.0, 0.0)
    transactions.passages = passages = Passages(2, 1000, 1.0, lambda count: b"x" * count)
    passages.enter(b"trace", b"raw", "txn", 1e9, 0.0)
    used.use(use_of("r", "t"), clock.now, clock.now)
    assert (with_app.value, spent.value) == (0.5, 0.25)
    clock.now += 11
    assert spent.value == 0.0

"""The transaction that a request of the app belongs to, and the token of it that a destination may see.

What the app itself has put in comes first, and must be of the transaction that it works on where that is known. Else it
is the one of the inbound request (``tokens/passage.py``). A destination that may see less of it gets a token that the
service has narrowed (specs 1.12); where none can be had, the request ends here, and the wider one never leaves.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

from proxy.errors import NotReady, ScopeMissing, TokenExpired, TokenUnknownKey, TransactionMismatch, TtsUnavailable
from proxy.flow.exchange import Exchange
from proxy.flow.mark import take_mark
from proxy.flow.settings import InboundSettings
from proxy.flow.trade import Traded
from proxy.observe.catalog import Metrics
from proxy.policy.permit import Destination
from proxy.policy.revocation import Revoked
from proxy.policy.settings import DestinationSettings, Propagation
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.cache import TokenCache
from proxy.tokens.claims import TxnToken
from proxy.tokens.jwks import KeyStore
from proxy.tokens.once import UsedTransactions
from proxy.tokens.passage import Passages
from proxy.tokens.settings import TokenSettings
from proxy.tokens.subject import TXN_TOKEN, subject
from proxy.tokens.tts import TokenService, Want

_NO_TOKEN: Final = b""


class Transactions:
    """See the module. ``passages`` None: no destination asks for what was remembered."""

    __slots__ = ("authenticator", "passages", "service")

    def __init__(self, authenticator: Authenticator, service: TokenService | None, passages: Passages | None) -> None:
        self.authenticator = authenticator
        self.service = service
        self.passages = passages

    def token(self, exchange: Exchange, destination: Destination, brought: bytes) -> Traded:
        """Give the token to send; ``brought`` is the app's own. Empty: nothing is known; else as in ``trade``.

        Raises:
            TransactionAmbiguous, TransactionMismatch: as their docstrings say.
            TokenRefusal: what the app brought, or what was remembered, is not good now.
            ScopeMissing: the transaction has no scope that this destination may see.
            TtsUnavailable, NotReady: there is nobody to narrow it.

        """
        raw = brought
        try:
            if destination.propagate is not Propagation.NEVER and self.passages is not None:
                raw = self._remembered(exchange, self.passages, destination, brought)
            if not raw or destination.narrow is None:
                return raw
            return self._narrowed(exchange, raw, destination.narrow)
        except TokenUnknownKey:
            return self._learned(raw)

    def _remembered(self, exchange: Exchange, passages: Passages, destination: Destination, brought: bytes) -> bytes:
        _, mark = take_mark(exchange.head.lines)
        by_trace = destination.propagate is Propagation.TRACEPARENT
        trace_id, now = exchange.trace_id or b"", exchange.runtime.clock()
        if not brought:
            found = passages.find(trace_id, mark, now, by_trace=by_trace)
            if found is None:
                return _NO_TOKEN
            if exchange.runtime.now() >= found.exp:
                raise TokenExpired("the token of the transaction has expired while its request was with the app")
            return found.raw
        known = passages.of(trace_id, mark, now, by_trace=by_trace)
        if known and all(passage.raw != brought for passage in known):
            txn = self._verified(exchange, brought).txn
            if all(passage.txn != txn for passage in known):
                raise TransactionMismatch("the app put in a token of another transaction than the one that it works on")
        return brought

    def _narrowed(self, exchange: Exchange, raw: bytes, most: frozenset[str]) -> Traded:
        token = self._verified(exchange, raw)
        if token.scopes <= most:
            return raw
        scopes = token.scopes & most
        if not scopes:
            raise ScopeMissing("the transaction has none of the scopes that this destination may see")
        service, client = self.service, exchange.account.local
        if service is None:
            raise TtsUnavailable("no token service is configured to narrow the token")
        if client is None:
            raise NotReady("no identity is loaded to ask the token service with")
        want = Want(client, tuple(sorted(scopes)), subject(TXN_TOKEN, raw.decode("ascii")))
        narrow = service.recall(want, exchange.runtime.now())
        if narrow is not None:
            return narrow
        if exchange.learned:
            raise TtsUnavailable("the token service gave no narrower token that is still good")
        exchange.learned = True
        return service.obtain(want)

    def _verified(self, exchange: Exchange, raw: bytes) -> TxnToken:
        exchange.token = token = self.authenticator.authenticate(raw, exchange.runtime.now())
        return token

    async def _learned(self, raw: bytes) -> bytes:
        if not await self.authenticator.learn(raw):
            raise TokenUnknownKey("no key has the kid of the token that the app works with")
        return raw


def memory_for(
    destinations: Sequence[DestinationSettings], inbound: InboundSettings | None, now: Passages | None = None
) -> Passages | None:
    """Give the memory of what is with the app: the one that there is ``now``, where there has to be one.

    None where no destination asks for it, and nobody pays for it. What is with the app when the first destination
    begins to ask is not known, and finds nothing.
    """
    if inbound is None or all(each.propagate is Propagation.NEVER for each in destinations):
        return None
    return (
        now
        if now is not None
        else Passages(inbound.transactions, inbound.transaction_bytes, inbound.transaction_grace_s, os.urandom)
    )


def watch(metrics: Metrics, transactions: Transactions, used: UsedTransactions, now: Callable[[], float]) -> None:
    """Show how full the two memories are: both refuse requests when they are."""

    def with_app() -> float:
        return transactions.passages.fullness if transactions.passages is not None else 0.0

    metrics.transaction_memory("with_app").read = with_app
    metrics.transaction_memory("used").read = lambda: used.fullness(now())


def counted(settings: TokenSettings, keys: KeyStore, metrics: Metrics, revoked: Revoked) -> Authenticator:
    """Give what verifies tokens for both directions, once for each token, and counts what it does."""
    return Authenticator(
        settings,
        keys,
        TokenCache(settings.cache_entries, revoked.passes),
        on_hit=metrics.token_cache("hit").inc,
        on_miss=metrics.token_cache("miss").inc,
        check=revoked.check,
        on_verify=lambda result, seconds: metrics.token_verify(result).observe(seconds),
    )

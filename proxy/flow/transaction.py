"""The transaction that a request of the app belongs to, and the token of it that a destination may see.

What the app itself has put in comes first, and must be of the transaction that it works on where that is known. Else it
is the one of the inbound request (``tokens/passage.py``). A destination that may see less of it gets a token that the
service has narrowed (specs 1.12); where none can be had, the request ends here, and the wider one never leaves.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from proxy.errors import (
    NotReady,
    ScopeMissing,
    TokenExpired,
    TokenUnknownKey,
    TransactionMismatch,
    TtsBadAnswer,
    TtsUnavailable,
)
from proxy.flow.exchange import Exchange
from proxy.flow.mark import set_mark, take_mark
from proxy.flow.settings import InboundSettings, SharingSettings
from proxy.flow.siblings import Siblings
from proxy.flow.trade import Traded
from proxy.flow.uses import Uses, uses_for
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.policy.permit import Destination, Permit
from proxy.policy.revocation import Revoked
from proxy.policy.settings import DestinationSettings, Propagation
from proxy.tokens.authenticate import Authenticator
from proxy.tokens.cache import TokenCache
from proxy.tokens.claims import TxnToken
from proxy.tokens.jwks import KeyStore
from proxy.tokens.passage import Passages, Remembered, the_one
from proxy.tokens.settings import TokenSettings
from proxy.tokens.share import is_mark
from proxy.tokens.subject import TXN_TOKEN, subject
from proxy.tokens.tts import TokenService, Want

_NO_TOKEN: Final = b""


class Transactions:
    """See the module. ``passages`` None: no destination asks for what was remembered."""

    __slots__ = ("authenticator", "passages", "service", "siblings", "uses")

    def __init__(
        self,
        authenticator: Authenticator,
        service: TokenService | None,
        uses: Uses,
        passages: Passages | None,
        siblings: Siblings | None = None,
    ) -> None:
        self.authenticator = authenticator
        self.service = service
        self.uses = uses
        self.passages = passages
        self.siblings = siblings

    async def begin(self, tasks: Tasks, now: float) -> None:
        """Be there for the other processes of the app, where transactions are shared. Raises ListenFailed."""
        if self.siblings is not None:
            await self.siblings.start(tasks)
        self.uses.start(now)

    def show(self, metrics: Metrics, now: Callable[[], float]) -> None:
        """Show how full the two memories are: both refuse requests when they are."""

        def with_app() -> float:
            return self.passages.fullness if self.passages is not None else 0.0

        metrics.transaction_memory("with_app").read = with_app
        metrics.transaction_memory("used").read = lambda: self.uses.fullness(now())

    async def close(self) -> None:
        """End what was begun here."""
        if self.siblings is not None:
            self.siblings.close()
        self.uses.close()
        if self.service is not None:
            await self.service.close()

    def token(self, exchange: Exchange, destination: Destination, brought: bytes) -> Traded:
        """Give the token to send; ``brought`` is the app's own. Empty: nothing is known; else as in ``trade``.

        Raises:
            TransactionAmbiguous, TransactionMismatch: as their docstrings say.
            TokenRefusal: what the app brought, or what was remembered, is not good now.
            ScopeMissing: the transaction has no scope that this destination may see.
            TtsUnavailable, NotReady: there is nobody to narrow it.

        What is awaited raises SiblingUnavailable where another process of the app does not answer.

        """
        raw = brought
        try:
            if destination.propagate is not Propagation.NEVER and self.passages is not None:
                found = self._remembered(exchange, self.passages, destination, brought)
                if not isinstance(found, bytes):
                    return found
                raw = found
            if not raw or destination.narrow is None:
                return raw
            return self._narrowed(exchange, raw, destination.narrow)
        except TokenUnknownKey:
            return self._learned(raw)

    def _remembered(self, exchange: Exchange, passages: Passages, destination: Destination, brought: bytes) -> Traded:
        _, mark = take_mark(exchange.head.lines)
        by_trace = destination.propagate is Propagation.TRACEPARENT
        trace_id, now = exchange.trace_id or b"", exchange.runtime.clock()
        known: Sequence[Remembered]
        known = passages.of(trace_id, mark, now, by_trace=by_trace)
        if self.siblings is not None:
            if exchange.heard is not None:
                known = [*known, *exchange.heard]
            elif _is_asked(exchange, mark, by_trace=by_trace, known=bool(known)):
                return self._heard(exchange, self.siblings, trace_id, mark)
        if not brought:
            found = the_one(known)
            if found is None:
                return _NO_TOKEN
            if exchange.runtime.now() >= found.exp:
                raise TokenExpired("the token of the transaction has expired while its request was with the app")
            return found.raw
        if known and all(passage.raw != brought for passage in known):
            txn = self._verified(exchange, brought).txn
            if all(passage.txn != txn for passage in known):
                raise TransactionMismatch("the app put in a token of another transaction than the one that it works on")
        return brought

    async def _heard(self, exchange: Exchange, siblings: Siblings, trace_id: bytes, mark: bytes | None) -> bytes:
        exchange.heard = await siblings.ask(trace_id, mark)
        return _NO_TOKEN

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

    def hold(self, exchange: Exchange, raw: bytes, most: frozenset[str]) -> None:
        """Hold a token of our own to what the destination may see: the service need not give what it was asked for.

        Raises:
            TtsBadAnswer: it may do more.

        """
        if not self._verified(exchange, raw).scopes <= most:
            raise TtsBadAnswer("the token service gave a token that may do more than this destination may see")

    def _verified(self, exchange: Exchange, raw: bytes) -> TxnToken:
        exchange.token = token = self.authenticator.authenticate(raw, exchange.runtime.now())
        return token

    async def _learned(self, raw: bytes) -> bytes:
        if not await self.authenticator.learn(raw):
            raise TokenUnknownKey("no key has the kid of the token that the app works with")
        return raw


def remember(exchange: Exchange, passages: Passages, permit: Permit, raw: bytes) -> None:
    """Remember the transaction of an inbound request for what the app does next. Raises TransactionsFull."""
    token, trace_id = exchange.token, exchange.trace_id
    if token is None or trace_id is None:
        raise RuntimeError("a request is remembered after it was authenticated")
    kept = raw if permit.propagates else b""
    exchange.passage = passage = passages.enter(trace_id, kept, token.txn, token.exp, exchange.runtime.clock())
    exchange.head.lines = set_mark(exchange.head.lines, passage.mark)


def _is_asked(exchange: Exchange, mark: bytes | None, *, by_trace: bool, known: bool) -> bool:
    """Whether another process of the app could change what is known: by a mark of theirs, or under the trace id."""
    if mark is not None:
        return not known and is_mark(mark)
    return by_trace and b"traceparent" in exchange.head.held


def memory_for(
    destinations: Sequence[DestinationSettings],
    inbound: InboundSettings | None,
    sharing: SharingSettings | None,
    now: Passages | None = None,
) -> Passages | None:
    """Give the memory of what is with the app: the one that there is ``now``, where there has to be one.

    None where no destination of ours asks for it and no other process can, and nobody pays for it. What is with the app
    when the first destination begins to ask is not known, and finds nothing. Nothing is ever in it without inbound.
    """
    if sharing is None and (inbound is None or all(each.propagate is Propagation.NEVER for each in destinations)):
        return None
    if now is not None:
        return now
    if inbound is None:
        return Passages(1, 1, 0.0, os.urandom)
    return Passages(inbound.transactions, inbound.transaction_bytes, inbound.transaction_grace_s, os.urandom)


def memories_for(
    destinations: Sequence[DestinationSettings],
    inbound: InboundSettings | None,
    sharing: SharingSettings | None,
    metrics: Metrics,
) -> tuple[Uses, Passages | None, Siblings | None]:
    """Give what is known of transactions, and whom to ask for what is not: nobody where nothing is shared."""
    passages = memory_for(destinations, inbound, sharing)
    siblings = None
    if sharing is not None and passages is not None:
        siblings = Siblings(sharing, passages, metrics, time.monotonic)
    return uses_for(inbound, sharing), passages, siblings


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

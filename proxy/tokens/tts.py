"""The client of the Transaction Token Service: one flight for equal wants, and a short memory of what came of it.

What comes back is verified like a token from anyone else before it is used: a service that signs with another key or
for another audience is found here, by its reason, and not at every peer. So the ``exp`` that we go by is verified.

A token is asked for anew at about 80 % of its life, by whoever recalls it then, while the old one still serves.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from proxy.errors import (
    AccessTokenRefused,
    ConfigInvalid,
    Internal,
    KeysUnavailable,
    Overloaded,
    ProxyError,
    TokenRefusal,
    TokenRevoked,
    TokenUnknownKey,
    TtsBadAnswer,
    TtsRefused,
    TtsUnavailable,
    UpstreamBadResponse,
)
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.net.tasks import Tasks
from proxy.tokens.claims import TxnToken
from proxy.tokens.equal import equal
from proxy.tokens.exchange import SUBJECT_CODES, Want, read_answer, request_body
from proxy.tokens.fetch import Answer, Fetch
from proxy.tokens.jwks import KeyStore
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import ServiceSettings, TokenSettings
from proxy.tokens.subject import TXN_TOKEN
from proxy.tokens.verify import Expect, kid_of, verify

__all__ = ["FAILURE_S", "MAX_TRIES", "OBTAINED", "TokenService", "Want"]

MAX_TRIES: Final = 1024
"""Wants for which there is no token yet: under way, or refused a moment ago. They are counted apart from the tokens
that are held, so that whoever comes with a thousand bad access tokens pushes no good one out."""

FAILURE_S: Final = 1.0
"""How long a failure answers whoever wants the same: a service in trouble is not asked once for each request."""

REFRESH_FROM: Final = 0.75
REFRESH_TO: Final = 0.85
"""The part of a token's life after which the next one is asked for: 80 %, spread so that sidecars do not meet."""

OBTAINED: Final = "obtained"
"""The result of an exchange that gave a token, beside the reasons of those that did not."""

_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class _Entry:
    """What is known of one want: a token until ``exp``, the last failure, and when to ask again.

    ``keys``: those that the token was last verified by.
    """

    __slots__ = ("ask_at", "exp", "failure", "flight", "keys", "raw")

    def __init__(self) -> None:
        self.raw = b""
        self.keys: KeySet | None = None
        self.exp = 0.0
        self.ask_at = 0.0
        self.failure: ProxyError | None = None
        self.flight: asyncio.Task[None] | None = None

    def is_due(self, now: float) -> bool:
        return self.flight is None and now >= self.ask_at


class TokenService:
    """Obtains and holds tokens for our own calls. ``now`` is Unix time, ``jitter`` gives 0 to 1."""

    def __init__(
        self,
        settings: TokenSettings,
        fetch: Fetch,
        keys: KeyStore,
        now: Callable[[], float],
        jitter: Callable[[], float],
        *,
        on_exchange: Callable[[str, float], None] = lambda _result, _seconds: None,
        assertion: Callable[[], Awaitable[str]] | None = None,
        check_svid: Callable[[str, str], object] | None = None,
        is_revoked: Callable[[bytes], bool] = lambda _raw: False,
    ) -> None:
        """Make it; ``assertion`` gives a JWT-SVID for the service (specs 5.9), where mTLS does not say who we are.

        ``check_svid`` is ``Callers.check``; without it no JWT-SVID is traded. ``is_revoked`` tells of a token that may
        be sent no more.

        Raises:
            ConfigInvalid: the service is not one that can be known.

        """
        self._service, self._spiffe_id = _known(settings)
        self._expect = Expect.of(settings)
        self._fetch = fetch
        self._keys = keys
        self._now = now
        self._jitter = jitter
        self._on_exchange = on_exchange
        self._assertion = assertion
        self._check_svid = check_svid
        self._is_revoked = is_revoked
        self._held: dict[Want, _Entry] = {}  # with a token, the one obtained first at the beginning
        self._tried: dict[Want, _Entry] = {}  # without one yet
        self._tasks = Tasks("token service")

    def recall(self, want: Want, now: float) -> bytes | None:
        """Return the token that is held for ``want``, and ask for its successor when it is time for that.

        Raises AccessTokenRefused or KeysUnavailable where it is wanted for a JWT-SVID that is not believed now.
        """
        if want.subject is not None and want.subject.audience:
            if self._check_svid is None:
                raise KeysUnavailable("JWT-SVIDs are verified with the keys of an agent, and none is configured")
            self._check_svid(want.subject.token, want.subject.audience)
        entry = self._held.get(want)
        if entry is None or now >= entry.exp:
            return None
        if self._is_revoked(entry.raw) or (entry.keys is not self._keys.current and not self._is_proved(entry)):
            entry.exp = entry.ask_at = 0.0
            return None
        if now >= entry.ask_at and entry.flight is None:
            self._start(want, entry)
        return entry.raw

    def _is_proved(self, entry: _Entry) -> bool:
        """Whether the newest keys prove a token that others have proved. While there are none, nobody can say no."""
        if self._keys.current is not None:
            try:
                self._verify(entry.raw)
            except TokenRefusal:
                return False
            entry.keys = self._keys.current
        return True

    async def obtain(self, want: Want) -> bytes:
        """Return a token for ``want``, held or new; equal wants share one request.

        Raises:
            TtsUnavailable, TtsRefused, TtsRefusedUs, TtsBadAnswer, AccessTokenRefused: also again for ``FAILURE_S``
                after it happened.
            KeysUnavailable: a new token could not be verified.
            Overloaded: ``MAX_TRIES`` different ones are under way.

        """
        held = self.recall(want, self._now())
        if held is not None:
            return held
        entry = self._held.get(want) or self._try(want)
        if entry.is_due(self._now()):
            self._start(want, entry)
        if entry.flight is not None:
            await asyncio.wait((entry.flight,))  # wait, not await: our being cancelled does not cancel the flight
        if self._now() < entry.exp:
            return entry.raw
        failure = entry.failure or TtsUnavailable("the token has expired before it could be used")
        raise type(failure)(failure.detail)

    async def close(self) -> None:
        """End all requests that are under way."""
        await self._tasks.close()

    def _try(self, want: Want) -> _Entry:
        entry = self._tried.get(want)
        if entry is None:
            if len(self._tried) >= MAX_TRIES:
                _drop_one(self._tried)
            entry = self._tried[want] = _Entry()
        return entry

    def _hold(self, want: Want, entry: _Entry) -> None:
        """Hold what was obtained: now the newest."""
        self._tried.pop(want, None)
        if self._held.pop(want, None) is None and len(self._held) >= self._service.cache_entries:
            _drop_one(self._held)
        self._held[want] = entry

    def _start(self, want: Want, entry: _Entry) -> None:
        entry.flight = self._tasks.spawn(self._fly(want, entry), "exchange")

    async def _fly(self, want: Want, entry: _Entry) -> None:
        began, result = time.perf_counter(), Internal.reason
        # What holds if we never come to know better: a fault of ours is not tried in a tight loop either.
        entry.failure, entry.ask_at = Internal("the exchange was given up"), self._now() + FAILURE_S
        try:
            raw, exp = await self._exchange(want)
            entry.keys, now = self._keys.current, self._now()
            part = REFRESH_FROM + (REFRESH_TO - REFRESH_FROM) * self._jitter()
            entry.raw, entry.exp, entry.ask_at, entry.failure = raw, exp, now + (exp - now) * part, None
            self._hold(want, entry)
            result = OBTAINED
        except ProxyError as error:
            entry.failure, entry.ask_at = error, self._now() + FAILURE_S
            result = error.reason
        finally:
            entry.flight = None
            self._on_exchange(result, time.perf_counter() - began)

    async def _exchange(self, want: Want) -> tuple[bytes, float]:
        if self._keys.current is None:
            raise KeysUnavailable("no keys are loaded to verify a new token with")
        try:
            raw = read_answer(await self._ask(want))
        except TtsRefused as refused:
            if want.subject is not None and refused.detail in SUBJECT_CODES:
                raise AccessTokenRefused("the token service does not take the token of this request") from refused
            raise
        try:
            token = await self._verified(raw)
        except TokenRefusal as error:
            raise TtsBadAnswer(f"the token that it gave is refused: {error.reason}") from error
        if self._now() >= token.exp:
            raise TtsBadAnswer("the token that it gave has expired")
        if want.subject is not None and want.subject.kind == TXN_TOKEN:
            check_replacement(self._verify(want.subject.token.encode()), token, want.scopes)
        if self._is_revoked(raw):
            raise TokenRevoked("the token service gives a token for what is revoked")
        return raw, token.exp

    async def _ask(self, want: Want) -> Answer:
        assertion = await self._assertion() if self._assertion is not None else ""
        try:
            return await self._fetch(
                "POST",
                self._service.url,
                fields=_FORM,
                body=request_body(want, self._expect.audience, self._expect.profile, assertion),
                timeout_s=self._service.timeout_s,
                expect=self._spiffe_id,
            )
        except UpstreamBadResponse as error:
            raise TtsBadAnswer("the answer is not HTTP") from error
        except ProxyError as error:
            raise TtsUnavailable(f"the token service cannot be reached: {error.reason}") from error

    async def _verified(self, raw: bytes) -> TxnToken:
        try:
            return self._verify(raw)
        except TokenUnknownKey:
            if not await self._keys.learn(kid_of(raw)):
                raise
        return self._verify(raw)

    def _verify(self, raw: bytes) -> TxnToken:
        keys = self._keys.current
        if keys is None:
            raise KeysUnavailable("no keys are loaded to verify a new token with")
        return verify(raw, keys, self._now(), self._expect)


def check_replacement(old: TxnToken, new: TxnToken, scopes: Sequence[str]) -> None:
    """Hold a replacement to what may change (specs 1.12): less scope, and nothing of whose transaction it is.

    Raises:
        TtsBadAnswer: it is another transaction, somebody else's, or wider.

    """
    if _whose(new) != _whose(old):
        raise TtsBadAnswer("the replacement has another txn, sub, aud or act than the token that it replaces")
    if _contradicts(new.tctx or {}, old.tctx or {}):
        raise TtsBadAnswer("the replacement says in tctx something else than the token that it replaces")
    if not new.scopes <= old.scopes.intersection(scopes):
        raise TtsBadAnswer("the replacement may do more than the token that it replaces, or than was asked for")


def _whose(token: TxnToken) -> tuple[object, ...]:
    return token.txn, token.sub, token.aud, token.actors, token.actors_by


def _contradicts(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether a fact that was authorised is another now. The service may add some, and leave some out (specs 1.12)."""
    return any(name in new and not equal(new[name], value) for name, value in old.items())


def _known(settings: TokenSettings) -> tuple[ServiceSettings, SpiffeId]:
    service = settings.service
    if service is None or not service.url.lower().startswith("https://"):
        raise ConfigInvalid("tokens.service.url must be an https URL: the service is known by its SPIFFE ID")
    try:
        return service, SpiffeId.parse(service.spiffe_id)
    except InvalidSpiffeId as error:
        raise ConfigInvalid(f"tokens.service.spiffe_id: {error}") from error


def _drop_one(entries: dict[Want, _Entry]) -> None:
    """Make room: the oldest goes that nobody waits for. Raises Overloaded."""
    for want, entry in entries.items():
        if entry.flight is None:
            del entries[want]
            return
    raise Overloaded(f"{len(entries)} token requests are under way")

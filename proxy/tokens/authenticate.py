"""The step from a field value to a ``TxnToken``: remembered, or verified now.

It stands on the path of every request, so a token that was seen before costs one look-up and one comparison.
"""

import time
from collections.abc import Callable
from typing import Final

from proxy.errors import Internal, KeysUnavailable, ProxyError, TokenExpired
from proxy.tokens.cache import TokenCache
from proxy.tokens.claims import TxnToken
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings
from proxy.tokens.verify import Expect, kid_of, verify

VERIFIED: Final = "verified"
"""The result of a verification that held, beside the reasons of those that did not."""


def _unchecked(_: TxnToken) -> None:
    """Refuse nothing."""


def _uncounted(*_: object) -> None:
    """Count nothing."""


class Authenticator:
    """Authenticates tokens against the newest keys, and forgets what it knows when those change."""

    __slots__ = (
        "_cache",
        "_check",
        "_clock",
        "_expect",
        "_keys",
        "_on_hit",
        "_on_miss",
        "_on_verify",
        "_recall",
        "skew_s",
    )

    def __init__(
        self,
        settings: TokenSettings,
        keys: KeyStore,
        cache: TokenCache,
        *,
        on_hit: Callable[[], None] = _uncounted,
        on_miss: Callable[[], None] = _uncounted,
        on_verify: Callable[[str, float], None] = _uncounted,
        clock: Callable[[], float] = time.perf_counter,
        check: Callable[[TxnToken], None] = _unchecked,
    ) -> None:
        """Make it; ``check`` refuses a verified token by raising: it was revoked. ``doubt`` when that has changed."""
        self._check = check
        self._cache = cache
        self._recall = cache.recall
        self._keys = keys
        self._expect = Expect.of(settings)
        self.skew_s = settings.skew_s
        self._on_hit = on_hit
        self._on_miss = on_miss
        self._on_verify = on_verify
        self._clock = clock
        keys.subscribe(cache.clear)

    def authenticate(self, raw: bytes, now: float) -> TxnToken:
        """Return the token that these bytes are, valid at ``now`` (Unix time).

        Raises:
            KeysUnavailable: no keys are loaded, so nothing can be said about the token.
            TokenUnknownKey: await ``learn`` once, then call again.
            TokenRefusal: every other class of it, as its docstring says.

        """
        token = self._recall(raw)
        if token is None:
            return self._verify(raw, now)
        self._on_hit()
        if now >= token.exp + self.skew_s:
            raise TokenExpired("exp has passed")
        return token

    def recheck(self, token: TxnToken, now: float) -> None:
        """Hold a token that was authenticated a while ago to its end, and to what was taken back since.

        Raises:
            TokenExpired, and what ``check`` does.

        """
        self._check(token)
        if now >= token.exp + self.skew_s:
            raise TokenExpired("exp has passed")

    def doubt(self) -> None:
        """Have ``check`` look at every remembered token again, when it comes next."""
        self._cache.doubt()

    async def learn(self, raw: bytes) -> bool:
        """Ask for the key of a token that ``authenticate`` refused with TokenUnknownKey; True if it is known now."""
        return await self._keys.learn(kid_of(raw))

    def _verify(self, raw: bytes, now: float) -> TxnToken:
        self._on_miss()
        began = self._clock()
        result = Internal.reason
        try:
            keys = self._keys.current
            if keys is None:
                raise KeysUnavailable("no verification keys are loaded yet")
            token = verify(raw, keys, now, self._expect)
            self._check(token)
            result = VERIFIED
        except ProxyError as error:
            result = error.reason
            raise
        finally:
            self._on_verify(result, self._clock() - began)
        self._cache.remember(raw, token)
        return token

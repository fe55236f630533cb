"""JWT-SVIDs that requests bring to be traded: verified here before a token service hears of them (specs 2.3).

The keys are those of the agent's JWT bundles, and of foreign trust domains whose bundles are fetched. What was verified
is remembered until the keys change, in a bounded number; its end is compared again each time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from proxy.errors import AccessTokenRefused, KeysUnavailable, TokenExpired, TokenRefusal, UnknownTrustDomain
from proxy.identity.sources.source import IdentitySource
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.tokens.assertion import Assertions
from proxy.tokens.jwt_svid import SKEW_S, JwtSvid, read_bundles, verify_jwt_svid
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import AskSettings
from proxy.tokens.subject import JWT_SVID
from proxy.workload_api.messages import JWTBundlesResponse

_log = logging.getLogger(__name__)

MAX_REMEMBERED: Final = 4096
"""Some 4 MB; a JWT-SVID is used for minutes, and beyond this number verifying again costs 0.1 ms."""

Follow = Callable[[Callable[[JWTBundlesResponse], None]], Awaitable[None]]
"""Gives each state of the agent's JWT bundles to what it is called with."""

Foreign = Callable[[], Mapping[str, bytes]]
"""Gives the JWK Sets that were fetched, by trust domain."""


class Callers:
    """Whose JWT-SVIDs are believed. ``now`` is Unix time."""

    __slots__ = ("_fetched", "_follow", "_foreign", "_given", "_keys", "_now", "_remembered", "_wanted")

    def __init__(self, follow: Follow | None, foreign: Foreign, now: Callable[[], float]) -> None:
        """Without ``follow`` somebody else gives the keys to ``take_bundles``."""
        self._follow = follow
        self._foreign = foreign
        self._now = now
        self._wanted = asyncio.Event()
        self._given: Mapping[str, bytes] | None = None
        self._fetched: Mapping[str, bytes] = {}
        self._keys: dict[str, KeySet] = {}
        self._remembered: dict[tuple[str, str], JwtSvid] = {}

    def want(self, asks: Iterable[AskSettings | None]) -> None:
        """Begin to follow the keys, where one of these takes JWT-SVIDs; else only the first JWT-SVID begins it."""
        if any(ask is not None and ask.subject is not None and ask.subject.type == JWT_SVID for ask in asks):
            self._wanted.set()

    async def keep(self) -> None:
        """Follow the keys of JWT-SVIDs, as soon as anybody wants them."""
        await self._wanted.wait()
        if self._follow is not None:
            await self._follow(self.take_bundles)

    def take_bundles(self, response: JWTBundlesResponse) -> None:
        """Take the agent's keys: all of them, for a message is the full state."""
        self._given = response.bundles
        self._read()

    def check(self, token: str, audience: str) -> JwtSvid:
        """Return who holds this JWT-SVID, if it is for ``audience``.

        Raises:
            AccessTokenRefused: it is not believed; the detail has the reason.
            KeysUnavailable: the agent has not told any keys yet.

        """
        self._wanted.set()
        if self._given is None:
            raise KeysUnavailable("the agent has given no keys for JWT-SVIDs yet")
        if self._foreign() != self._fetched:
            self._read()
        try:
            return self._verified(token, audience)
        except (TokenRefusal, UnknownTrustDomain) as error:
            raise AccessTokenRefused(f"the JWT-SVID is refused: {error.reason}") from error

    def _verified(self, token: str, audience: str) -> JwtSvid:
        now = self._now()
        known = self._remembered.get((token, audience))
        if known is None:
            known = verify_jwt_svid(token.encode(), self._keys, audience, now)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[token, audience] = known
        if now >= known.exp + SKEW_S:
            raise TokenExpired("the JWT-SVID has ended")
        return known

    def _read(self) -> None:
        self._fetched = self._foreign()
        given = {name.removeprefix("spiffe://"): raw for name, raw in (self._given or {}).items()}
        # What is fetched lies over what the agent gives, as it does for certificates; our own domain is never fetched.
        self._keys, refused = read_bundles({**given, **self._fetched})
        self._remembered.clear()
        for why in refused:
            _log.warning("identity: %s", why)


def make_callers(
    source: IdentitySource, assertions: Assertions | None, foreign: Foreign, now: Callable[[], float]
) -> Callers | None:
    """Make it where an agent can give the keys; those that ``assertions`` follows serve both."""
    if not isinstance(source, WorkloadApiSource):
        return None
    if assertions is None:
        return Callers(source.watch_jwt_bundles, foreign, now)
    callers = Callers(None, foreign, now)
    assertions.also_tell(callers.take_bundles)
    return callers

"""Proving to a token service who we are by a JWT-SVID (SPIFFE client authentication, specs 5.9).

The agent makes the JWT-SVID when we ask; it is kept for half of what is left of its life, and equal wishes share one
question. Before it goes out it is verified as its receiver will: a mistake of the agent or of our configuration then
has its reason here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.errors import ConnectionRefusal, KeysUnavailable, TokenRefusal, TtsUnavailable
from proxy.identity.sources.source import IdentitySource
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.identity.store import IdentityStore
from proxy.tokens.jwt_svid import JwtSvid, read_bundles, verify_jwt_svid
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import ServiceSettings
from proxy.workload_api.failure import CallFailed
from proxy.workload_api.messages import JWTBundlesResponse, JWTSVIDResponse

_log = logging.getLogger(__name__)

Ask = Callable[[str], Awaitable[JWTSVIDResponse]]
"""Asks the agent for JWT-SVIDs for an audience. Raises CallFailed."""

Follow = Callable[[Callable[[JWTBundlesResponse], None]], Awaitable[None]]
"""Gives each state of the agent's JWT bundles to what it is called with."""


class Assertions:
    """JWT-SVIDs of ours for one audience, the issuer identifier of the token service. ``now`` is Unix time."""

    __slots__ = (
        "_also",
        "_ask",
        "_audience",
        "_bundles",
        "_flight",
        "_follow",
        "_forgotten",
        "_held",
        "_now",
        "_renew_at",
    )

    def __init__(self, audience: str, ask: Ask, follow: Follow, now: Callable[[], float]) -> None:
        self._audience = audience
        self._ask = ask
        self._follow = follow
        self._now = now
        self._also: Callable[[JWTBundlesResponse], None] = lambda _: None
        self._bundles: dict[str, KeySet] = {}
        self._held = ""
        self._forgotten = 0
        self._renew_at = 0.0
        self._flight = asyncio.Lock()

    async def keep(self) -> None:
        """Follow the keys of JWT-SVIDs."""
        await self._follow(self.take_bundles)

    def take_bundles(self, response: JWTBundlesResponse) -> None:
        """Take the keys of JWT-SVIDs: all of them, for a message is the full state."""
        self._also(response)
        self._bundles, refused = read_bundles(response.bundles)
        for why in refused:
            _log.warning("identity: %s", why)

    def also_tell(self, callback: Callable[[JWTBundlesResponse], None]) -> None:
        """Have ``callback`` take them too. It must not raise."""
        self._also = callback

    def forget(self) -> None:
        """Another identity is in use, or none: what was made for the old one is not shown any more."""
        self._held, self._renew_at = "", 0.0
        self._forgotten += 1

    async def obtain(self) -> str:
        """Return a JWT-SVID for the audience.

        Raises:
            TtsUnavailable: the agent gives none, or one that its receiver would refuse.
            KeysUnavailable: the agent has not told the keys of our trust domain yet.

        """
        async with self._flight:
            while self._now() >= self._renew_at:  # again where the identity has become another one meanwhile
                await self._renew()
            return self._held

    async def _renew(self) -> None:
        if not self._bundles:
            raise KeysUnavailable("the agent has given no keys for JWT-SVIDs yet")
        forgotten = self._forgotten
        try:
            response = await self._ask(self._audience)
        except CallFailed as failure:
            raise TtsUnavailable(f"the agent gave no JWT-SVID: {failure.detail}") from failure
        given = next((one.svid for one in response.svids if one.svid), "")
        svid = self._verified(given)
        if forgotten != self._forgotten:
            return
        self._held, self._renew_at = given, self._now() + (svid.exp - self._now()) / 2

    def _verified(self, given: str) -> JwtSvid:
        try:
            svid = verify_jwt_svid(given.encode(), self._bundles, self._audience, self._now())
        except (TokenRefusal, ConnectionRefusal) as error:
            raise TtsUnavailable(f"the JWT-SVID that the agent gave is refused: {error.reason}") from error
        if svid.audience != (self._audience,):
            # Its receiver must refuse it (specs 5.9): whoever else is named could use it in our name.
            raise TtsUnavailable("the JWT-SVID that the agent gave names other audiences too")
        if svid.exp <= self._now():
            raise TtsUnavailable("the JWT-SVID that the agent gave has ended")
        return svid


def make_assertions(
    service: ServiceSettings | None, source: IdentitySource, store: IdentityStore, now: Callable[[], float]
) -> Assertions | None:
    """Make them where the settings of the token service ask for it and an agent can give them."""
    if service is None or not service.jwt_svid_audience or not isinstance(source, WorkloadApiSource):
        return None
    assertions = Assertions(service.jwt_svid_audience, source.jwt_svids, source.watch_jwt_bundles, now)
    store.subscribe(lambda _identity: assertions.forget())
    store.on_withdrawal(assertions.forget)
    return assertions

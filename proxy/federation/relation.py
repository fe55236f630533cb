"""The relation to one foreign trust domain: its bundle fetched for ever, the last good one kept (law 7).

A failure waits for the next interval like a success (specs 2.6), so a publisher in trouble is not asked more often by
all of its readers. Until the first success it is asked sooner at first, for nobody of that domain can be believed yet.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import IdentityInvalid, ProxyError
from proxy.federation.document import DEFAULT_REFRESH_S, Document
from proxy.federation.endpoint import Endpoint
from proxy.federation.settings import RelationSettings
from proxy.identity.store import IdentityStore
from proxy.net.transport import Transports

FIRST_RETRY_S = 5.0
"""Doubled each time up to the interval: a publisher that begins together with us is up by then."""

JITTER = 0.1
"""Part of the interval by which each wait is shorter, at most: ten thousand sidecars begin at one moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one fetch. ``reason`` is empty for a success, and else one of ``errors.REASONS``."""

    trust_domain: str
    reason: str
    detail: str
    changed: bool = False


class Relation:
    """One foreign trust domain. ``keep`` runs for ever; ``close`` ends kept connections."""

    def __init__(
        self,
        settings: RelationSettings,
        transports: Transports,
        store: IdentityStore,
        now: Callable[[], float],
        jitter: Callable[[], float],
        on_fetch: Callable[[Outcome], None],
    ) -> None:
        self.settings = settings
        self.taken: Document | None = None
        self._store = store
        self._endpoint = Endpoint(settings, transports, store, now)
        self._jitter = jitter
        self._on_fetch = on_fetch
        self._failures = 0
        self._identity = asyncio.Event()
        store.subscribe(lambda _: self._identity.set())
        if store.current is not None:
            self._identity.set()

    async def keep(self) -> None:
        """Fetch at once when our own identity is there, then at each interval."""
        await self._identity.wait()
        while True:
            await self.look()
            await asyncio.sleep(self.wait_s())

    async def look(self) -> None:
        """Fetch once, and take what is good. Never raises for what the other side does."""
        before = self.taken
        try:
            document = await self._endpoint.ask()
            await self._take(document)
        except ProxyError as error:
            self._failures += 1
            self._tell(error.reason, error.detail)
            return
        self._failures = 0
        changed = before is None or before.bundle != document.bundle or before.jwt_keys != document.jwt_keys
        self._tell("", f"{len(document.bundle.authorities)} authorities", changed=changed)

    def wait_s(self) -> float:
        """Give the time to the next fetch."""
        interval = self.taken.refresh_s if self.taken is not None else DEFAULT_REFRESH_S
        if self.taken is None and self._failures:
            interval = min(interval, FIRST_RETRY_S * 2 ** min(self._failures - 1, 16))
        return interval * (1 - JITTER * self._jitter())

    def close(self) -> None:
        """End kept connections."""
        self._endpoint.close()

    async def _take(self, document: Document) -> None:
        held = self.taken.sequence if self.taken is not None else None
        if held is not None and document.sequence is not None and document.sequence < held:
            raise IdentityInvalid(
                f"what {self.settings.url} serves is older than what it served before (spiffe_sequence); if its "
                "publisher has begun anew, restart this sidecar"
            )
        await self._store.federate(document.bundle)
        self._endpoint.taken(document.bundle)
        self.taken = document

    def _tell(self, reason: str, detail: str, *, changed: bool = False) -> None:
        self._on_fetch(Outcome(trust_domain=self.settings.trust_domain, reason=reason, detail=detail, changed=changed))

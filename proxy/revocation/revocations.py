"""All sources of one process, and the set that they make: looked after by one task, told of when it has changed."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.control.added import Added
from proxy.net.tasks import Tasks
from proxy.observe.revoked import RevocationMetrics
from proxy.policy.revocation import Kind, Revoked
from proxy.policy.screen import Screen
from proxy.revocation.admin import RevocationAdmin
from proxy.revocation.feed import Poller, Receiver
from proxy.revocation.file import SOURCE as FILE
from proxy.revocation.file import FileSource
from proxy.revocation.freshness import Freshness
from proxy.revocation.ledger import FEED, STATE, Ledger
from proxy.revocation.listing import ReadYaml
from proxy.revocation.register import Register
from proxy.revocation.settings import FeedSettings, RevocationSettings, Stale
from proxy.revocation.sharing import REDIS, Sharer
from proxy.tokens.fetch import Fetch
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings

_log = logging.getLogger("svidecar")

LOOK_S: Final = 0.25
"""Between two looks at file and state: with the grace, all of it ends within a second of the change."""

TIDY_S: Final = 60.0
"""Between two looks whether the state is to be written anew."""


class Revocations:
    """``begin`` once there is a loop; ``subscribe`` for what must be judged anew when the set has changed."""

    def __init__(
        self,
        settings: RevocationSettings,
        tokens: TokenSettings,
        revoked: Revoked,
        fetch: Fetch,
        now: Callable[[], float],
        read_yaml: ReadYaml,
        metrics: RevocationMetrics,
        on_known: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """Make it; ``on_known`` is told at each look whether every source was heard lately."""
        self._on_known = on_known
        self.settings = settings
        self.revoked = revoked
        named = {FILE: settings.file, STATE: settings.state, FEED: settings.feed, REDIS: settings.redis}
        self._sources = [name for name, source in named.items() if source is not None]
        self._freshness = Freshness(self._sources, settings.max_age_s, now)
        longest_s = tokens.max_lifetime_s + tokens.skew_s
        self._register = Register(revoked, settings.max_entries, longest_s, self._changed)
        self._ledger = Ledger(_path(settings.state), self._register, self._freshness, now)
        self._file = (
            FileSource(Path(settings.file), self._register, self._freshness, now, read_yaml) if settings.file else None
        )
        self._now = now
        self._metrics = metrics
        self._at_once: list[Callable[[], None]] = []
        self._soon: list[Callable[[], None]] = []
        self._is_told = True
        self._keys: KeyStore | None = None
        self._receiver: Receiver | None = None
        self._poller: Poller | None = None
        if settings.feed is not None:
            self._follow(settings.feed, fetch)
        self.screen = Screen(self.revoked, tokens.profile, tokens.max_bytes)
        self._sharer = self._share(settings)
        lift = self._sharer.lift if self._sharer is not None else lambda _: False
        self._admin = RevocationAdmin(self._ledger, self._receiver, now, self._told, lift)

    @property
    def paths(self) -> dict[str, Added]:
        """What the admin port serves of it."""
        return {
            "/revocations": Added("what is revoked; POST: revoke one more", self._admin.on_revocations),
            "/revocations/lift": Added("POST: take back what was revoked here", self._admin.on_lift),
            "/revocations/events": Added("POST: a security event of the feed", self._admin.on_event),
        }

    def subscribe(self, at_once: Callable[[], None], soon: Callable[[], None]) -> None:
        """Call ``at_once`` with each change of the set, before another request; ``soon`` once for several."""
        self._at_once.append(at_once)
        self._soon.append(soon)

    def begin(self, tasks: Tasks) -> None:
        """Read what there is, then follow it for ever."""
        self._look()
        tasks.spawn(self._keep(), "revocations")
        if self._keys is not None:
            tasks.spawn(self._keep_keys(self._keys), "keys of the revocation feed")
        if self._poller is not None and self.settings.feed is not None:
            tasks.spawn(self._poll(self._poller, self.settings.feed.poll_s), "revocation feed")
        if self._sharer is not None:
            tasks.spawn(self._sharer.keep(), "revocations shared through Redis")

    async def close(self) -> None:
        """End what is under way."""
        if self._keys is not None:
            await self._keys.close()

    def _follow(self, feed: FeedSettings, fetch: Fetch) -> None:
        keys = TokenSettings(audience=feed.audience, keys=feed.keys, keys_spiffe_id=feed.keys_spiffe_id)
        self._keys = KeyStore(keys, fetch, self._now)
        on_event = self._metrics.event
        self._receiver = Receiver(feed, self._keys, self._ledger, self._freshness, self._now, on_event)
        if feed.poll_url:
            self._poller = Poller(feed, self._receiver, fetch)

    def _share(self, settings: RevocationSettings) -> Sharer | None:
        if settings.redis is None:
            return None
        entries, now = settings.max_entries, self._now
        sharer = Sharer(settings.redis, self._ledger, self._freshness, entries, now, self._judge_age)
        self._ledger.on_told, self._ledger.on_lifted = sharer.told, sharer.lifted
        return sharer

    async def _keep_keys(self, keys: KeyStore) -> None:
        await keys.load()
        await keys.keep()

    async def _poll(self, poller: Poller, pause_s: float) -> None:
        while True:
            if not await poller.poll():
                await asyncio.sleep(pause_s)

    async def _keep(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_S)
            looks += 1
            try:
                if self._file is not None:
                    await asyncio.to_thread(self._file.prepare)
                self._look()
                if looks % round(TIDY_S / LOOK_S) == 0:
                    self._ledger.tidy()
            except Exception:  # noqa: BLE001 - a fault of ours must not end the watch
                _log.exception("what is revoked could not be looked at")

    def _look(self) -> None:
        for told in (self._file.look() if self._file is not None else "", self._ledger.look()):
            if told:
                _log.info("revocation: %s", told)
        if self._register.expire(self._now()):
            self.screen.changed()
        self._judge_age()
        self._metrics.counted(lambda kind: self.revoked.count(Kind(kind)))
        for source in self._sources:
            self._metrics.heard(source, self._freshness.at(source))

    def _judge_age(self) -> None:
        stale = self._freshness.stale
        self._on_known(not stale)
        is_blind = bool(stale) and self.settings.stale is Stale.REFUSE
        if is_blind is not self.revoked.blind:
            self.revoked.blind = is_blind
            if is_blind:
                _log.warning("revocation: nothing was heard of %s; nobody new and no token passes", ", ".join(stale))
            else:
                _log.info("revocation: what is revoked is known again")
            self._changed()

    def _changed(self) -> None:
        """Nothing that comes from now on passes by what was known before; what is open is judged soon."""
        self.screen.changed()
        for callback in self._at_once:
            callback()
        if self._is_told:
            self._is_told = False
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._is_told = True
        for callback in self._soon:
            callback()

    def _told(self) -> dict[str, object]:
        return {
            "kept": self._ledger.is_kept,
            "blind": self.revoked.blind,
            "errors": dict(self._freshness.last_errors),
        }


def _path(raw: str | None) -> Path | None:
    return Path(raw) if raw is not None else None

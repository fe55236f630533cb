"""The newest keys: a JWK Set that is kept fresh and never given up for a worse one.

Whatever fails, the last good set stays (law 7). All who want the keys now, the refresh and every request with an
unknown ``kid``, share one flight. It is a task of the store and not of whoever asked first: a caller that goes away
takes nothing from the others, and going away buys nobody a second fetch.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy.errors import KeysInvalid, KeysUnavailable, ProxyError
from proxy.net.tasks import Tasks
from proxy.tokens.copy import KeysCopy
from proxy.tokens.fetch import Fetch
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import TokenSettings
from proxy.tokens.source import source_of

_log = logging.getLogger(__name__)


class KeyStore:
    """The keys of ``tokens.keys``, or of whom ``name`` says.

    ``current`` is the last good set; ``loaded_at`` says when its source last confirmed it, on the clock of ``now``;
    ``last_error`` is for people, and empty when the last read was good.
    """

    def __init__(
        self,
        settings: TokenSettings,
        fetch: Fetch,
        now: Callable[[], float],
        *,
        name: str = "tokens.keys",
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.current: KeySet | None = None
        self.loaded_at: float | None = None
        self.last_error = ""
        self._name = name
        self._source = source_of(settings, fetch)
        self._copy = KeysCopy(Path(settings.keys_copy)) if settings.keys_copy else None
        self._max_age_s = settings.keys_max_age_s
        self._learn_interval_s = settings.learn_interval_s
        self._learned_at: float | None = None
        self._now = now
        self._jitter = jitter
        self._sleep = sleep
        self._subscribers: list[Callable[[], None]] = []
        self._tasks = Tasks("keys")
        self._flight: asyncio.Task[None] | None = None
        self._failures = 0
        self._copied = b""

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` each time that ``current`` has become another set."""
        self._subscribers.append(callback)

    async def load(self) -> None:
        """Read the keys once. It does not raise for keys that are not there: see ``current`` and ``last_error``."""
        await self._refresh()
        if self.current is None and self._copy is not None:
            self._take_copy(self._copy)

    async def keep(self) -> None:
        """Keep the keys fresh, for ever."""
        while True:
            never_read = self.current is None and not self._failures
            await self._sleep(0.0 if never_read else self._source.pause_s(self._failures, self._jitter()))
            await self._refresh()
            self._give_up_what_is_old()

    async def learn(self, kid: str | None) -> bool:
        """Return whether ``kid`` is known, after a fetch if there was none for this reason lately.

        However many ask, for whatever kids, it is one fetch in ``learn_interval_s``.

        Raises:
            KeysUnavailable: it is not known here, and the last read has failed, so that nobody can say whether its
                issuer has it. It is no fault of the token's.

        """
        if kid is not None and not self._knows(kid):
            if self._flight is not None:  # what it brings may be older than the question
                await self._refresh()
            if not self._knows(kid) and (self._flight is not None or self._may_learn()):
                await self._refresh()
            if self._failures and not self._knows(kid):
                raise KeysUnavailable("the key of the token is not known here, and the keys cannot be read again now")
        return self._knows(kid)

    async def close(self) -> None:
        """End the fetch that is under way, if there is one."""
        await self._tasks.close()

    def _knows(self, kid: str | None) -> bool:
        return self.current is not None and self.current.knows(kid)

    def _may_learn(self) -> bool:
        now, before = self._now(), self._learned_at
        # A clock that was set back makes a negative time, and must not close this door until it has caught up.
        if before is not None and 0 <= now - before < self._learn_interval_s:
            return False
        self._learned_at = now
        return True

    async def _refresh(self) -> None:
        if self._flight is None:
            self._flight = self._tasks.spawn(self._fly(), "fetch")
        await asyncio.wait((self._flight,))  # wait, not await: our being cancelled does not cancel the flight

    async def _fly(self) -> None:
        before = self._failures
        self._failures += 1  # taken back below: a fault of ours counts as well, and is not tried in a tight loop
        try:
            jwks = await self._source.read()
            if jwks is None:
                self._failures = before
            else:
                self._take(KeySet.parse(jwks))
                self._failures = 0
                self._keep_copy(jwks)
            if not self._failures:
                self.last_error, self.loaded_at = "", self._now()
        except KeysInvalid as error:
            self._note(f"{self._name}: {error.reason}: {self._source.where}: {error}")
        except ProxyError as error:
            self._note(f"{self._name}: {error.reason}: {error}")
        finally:
            self._flight = None

    def _take(self, keys: KeySet) -> None:
        if keys == self.current:
            return
        for reason in keys.refused:
            _log.warning("%s: a key is not used: %s", self._name, reason)
        _log.info("%s: %d usable keys", self._name, len(keys.keys))
        self.current = keys
        self._tell()

    def _tell(self) -> None:
        for callback in self._subscribers:
            callback()

    def _give_up_what_is_old(self) -> None:
        """Law 7 has an end: keys that nobody confirms may have been taken back, and we would be the last to know."""
        if self.current is None or self.loaded_at is None or self._now() - self.loaded_at <= self._max_age_s:
            return
        self.current = None
        self._note(f"{self._name}: not confirmed for {self._max_age_s:g} s, and given up")
        self._tell()

    def _take_copy(self, copy: KeysCopy) -> None:
        try:
            jwks, confirmed_at = copy.read()
            if not 0 <= self._now() - confirmed_at <= self._max_age_s:
                raise KeysUnavailable(f"the copy was not confirmed for {self._max_age_s:g} s, or is of the future")
            self._take(KeySet.parse(jwks))
            self.loaded_at = confirmed_at
            _log.warning("tokens.keys cannot be read; its copy on disk serves until then")
        except ProxyError as error:
            _log.warning("tokens.keys_copy is not used: %s", error.detail)

    def _keep_copy(self, jwks: bytes) -> None:
        if self._copy is None:
            return
        try:
            if jwks == self._copied:
                self._copy.confirm(self._now())
            else:
                self._copy.write(jwks, self._now())
                self._copied = jwks
        except OSError as error:
            self._copied = b""
            _log.warning("tokens.keys_copy cannot be written: %s", error.strerror)

    def _note(self, message: str) -> None:
        if message != self.last_error:
            kept = "the last good keys stay" if self.current is not None else "no token can be verified"
            _log.warning("%s; %s", message, kept)
        self.last_error = message

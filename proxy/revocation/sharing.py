"""What one sidecar of a fleet is told, all of it knows: kept as one hash in Redis, which each of them looks at.

Every write of the hash changes the field ``version`` with it, so a look is one small question as long as nothing has
changed. What Redis says is a source of its own. It lifts nothing that a file or our own feed says; what an admin port
of the fleet has said belongs to the fleet, and is lifted at any of them.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from proxy.errors import ProxyError, RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import InvalidEntry
from proxy.revocation.freshness import Freshness
from proxy.revocation.ledger import ADMIN, FEED, Ledger
from proxy.revocation.redis import Link
from proxy.revocation.replica import Replica, Word, field_of, read_word, write_word
from proxy.revocation.resp import Reply
from proxy.revocation.settings import RedisSettings

_log = logging.getLogger("svidecar")

REDIS: Final = "redis"

VERSION: Final = b"version"

FULL_LOOK_S: Final = 30.0
"""Everything is read anew so often, though the version is the same: what others than we write may not change it."""

MAX_PAUSE_S: Final = 5.0
"""Between two tries to reach a Redis that is away."""

EXPIRED_S: Final = 60.0
"""What ended longer ago than this is taken out of Redis: by then it has ended for every clock."""

SHARE: Final = 2
"""At most this part of ``max_entries`` is taken from Redis: there is room for what a file or an operator says."""

MAX_TOLD: Final = 5
"""Fields of one look that the log tells of; a stranger could write thousands."""

BATCH: Final = 200
"""Entries that are read or written at once, before the loop goes on with others."""


class Sharer:
    """``keep`` for ever. ``told`` and ``lifted`` at once; they are written when Redis can be reached."""

    def __init__(
        self,
        settings: RedisSettings,
        ledger: Ledger,
        freshness: Freshness,
        max_entries: int,
        now: Callable[[], float],
        on_heard: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._freshness = freshness
        self._now = now
        self._on_heard = on_heard
        self._replica = Replica()
        self._shared = (ADMIN, FEED) if settings.share_feed else (ADMIN,)
        self._max = max(1, max_entries // SHARE)
        self._too_many = f"more than {self._max} entries: half of revocation.max_entries"
        self._wake = asyncio.Event()
        self._version: bytes | None = None
        self._full_at = 0.0
        self._read: dict[bytes, tuple[bytes, Word]] = {}
        self._applied: list[Entry] = []
        self._refused: set[bytes] = set()
        self._complaint = ""

    # ---- what is said here

    def told(self, source: str, entries: Iterable[Entry]) -> None:
        """Share what is revoked here."""
        if source in self._shared:
            for entry in entries:
                self._replica.told(source, entry)
            self._wake.set()

    def lifted(self, source: str, entries: Iterable[Entry]) -> None:
        """Share what is lifted here."""
        if source in self._shared:
            for entry in entries:
                self._replica.lifted(source, entry.id, self._now(), entry.expires)
            try:
                self._apply()
            except RevocationsInvalid as error:
                self._failed(error.detail)
            self._wake.set()

    def lift(self, key: str) -> bool:
        """Lift what another admin port of the fleet has told of; whether there was such an entry."""
        word = self._replica.word(field_of(ADMIN, key))
        if word is None or word.entry is None:
            return False
        self.lifted(ADMIN, [word.entry])
        return True

    # ---- what is said there

    async def keep(self) -> None:
        """Look at it for ever; a Redis that is away is tried again after a pause that grows."""
        pause_s = self._settings.refresh_s
        while True:
            link: Link | None = None
            try:
                link = await Link.opened(self._settings, 2 * (2 * self._max + 1))
                while True:
                    await self.look(link)
                    pause_s = self._settings.refresh_s
                    await self._sleep(pause_s)
            except (OSError, EOFError, ProxyError) as error:
                self._failed(_why(error))
            except Exception:  # noqa: BLE001 - a fault of ours must not end the watch
                self._failed("a fault of ours")
                _log.exception("revocation.redis could not be looked at")
            finally:
                if link is not None:
                    link.close()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, max(MAX_PAUSE_S, self._settings.refresh_s))

    async def _sleep(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def look(self, link: Link) -> None:
        """Look once: read what has changed there, write what has changed here.

        Raises:
            OSError, EOFError: it has gone.
            RevocationsInvalid: it cannot be taken, or refuses what is written.

        """
        key = self._settings.key.encode()
        version = (await link.ask([[b"HGET", key, VERSION]]))[0]
        now = self._now()
        is_due = not 0 <= now - self._full_at < FULL_LOOK_S
        if version is None or version != self._version or self._replica.unwritten or is_due:
            found = _hash((await link.ask([[b"HGETALL", key]]))[0])
            seen = found.pop(VERSION, None)
            behind, ended = await self._take(found)
            self._apply()
            self._version, self._full_at = seen, now
            self._confirm()
            await self._write(link, key, behind, ended)
        else:
            self._confirm()
        self._complaint = ""

    async def _take(self, found: dict[bytes, bytes]) -> tuple[set[str], list[bytes]]:
        """Join it with what we know. Return the fields that are to be written, and those that may go."""
        now = self._now()
        self._read = await self._words(found, now)
        words = {name.decode(): word for name, (_, word) in self._read.items() if word.expires > now}
        ended = [name for name, (_, word) in self._read.items() if word.expires < now - EXPIRED_S]
        self._replica.forget(now)
        for source in self._shared:
            for entry in self._ledger.register.entries(source).values():
                self._replica.kept(source, entry)
        if self._replica.count_with(words) > self._max:
            raise RevocationsInvalid(self._too_many)  # before any of it is known here, and would be written back
        room = 2 * self._max - len(self._replica)  # for the lifts of what we never knew
        behind: set[str] = set()
        for field, word in words.items():
            if word.entry is None and self._replica.word(field) is None:
                room -= 1
                if room < 0:
                    continue
            if self._replica.heard(field, word):
                behind.add(field)
        return behind | (self._replica.fields.keys() - words.keys()), ended

    async def _words(self, found: dict[bytes, bytes], now: float) -> dict[bytes, tuple[bytes, Word]]:
        """Read what has changed, and tell of what cannot be read."""
        words: dict[bytes, tuple[bytes, Word]] = {}
        refused: dict[bytes, str] = {}
        for index, (name, raw) in enumerate(found.items()):
            known = self._read.get(name)
            if known is not None and known[0] == raw:
                words[name] = known
                continue
            if index % BATCH == BATCH - 1:
                await asyncio.sleep(0)
            try:
                word = read_word(name.decode("ascii", "replace"), raw, now, self._ledger.register.bounded)
                words[name] = raw, word
            except InvalidEntry as error:
                refused[name] = str(error)
        self._refuse([why for name, why in refused.items() if name not in self._refused])
        self._refused = set(refused)
        return words

    def _apply(self) -> None:
        """Put in force what holds now."""
        now = self._now()
        revoked = [entry for entry in self._replica.revoked if entry.expires > now]
        if len(revoked) > self._max:
            raise RevocationsInvalid(self._too_many)
        if revoked != self._applied:
            self._ledger.register.replace(REDIS, revoked, now)
            self._applied = revoked
        mine = self._ledger.register.entries(ADMIN)
        over = [key for key in mine if _is_lifted(self._replica.word(field_of(ADMIN, key)))]
        if over:
            self._ledger.drop(ADMIN, over)

    async def _write(self, link: Link, key: bytes, fields: set[str], ended: Sequence[bytes]) -> None:
        """Write, and with every part of it a version that nobody has seen."""
        names = sorted(fields)
        commands: list[list[bytes]] = []
        for begin in range(0, len(names), BATCH):
            pairs: list[bytes] = []
            for name in names[begin : begin + BATCH]:
                pairs += [name.encode(), write_word(self._replica.fields[name])]
            commands.append([b"HSET", key, *pairs, VERSION, os.urandom(12).hex().encode()])
        if ended:
            commands.append([b"HDEL", key, *ended])
            commands.append([b"HSET", key, VERSION, os.urandom(12).hex().encode()])
        self._replica.unwritten.clear()  # all of it is in names, or stands there; what is told from now on is not
        try:
            if commands:
                await link.ask(commands)
        except BaseException:
            self._replica.unwritten.update(names)
            raise

    # ---- what is told of it

    def _confirm(self) -> None:
        self._freshness.confirmed(REDIS)
        self._on_heard()

    def _failed(self, why: str) -> None:
        detail = f"revocation.redis: {why}; what is known stays"
        self._freshness.failed(REDIS, detail)
        if detail != self._complaint:
            self._complaint = detail
            _log.warning("%s", detail)

    def _refuse(self, reasons: Sequence[str]) -> None:
        for why in reasons[:MAX_TOLD]:
            _log.warning("revocation.redis: a field is refused, the others are taken: it %s", why)
        if len(reasons) > MAX_TOLD:
            _log.warning("revocation.redis: and %d more", len(reasons) - MAX_TOLD)


def _is_lifted(word: Word | None) -> bool:
    return word is not None and word.entry is None


def _hash(reply: Reply) -> dict[bytes, bytes]:
    if not isinstance(reply, tuple) or len(reply) % 2 or not all(isinstance(one, bytes) for one in reply):
        raise RevocationsInvalid("it answers HGETALL with what is no hash")
    found: dict[bytes, bytes] = dict(zip(reply[::2], reply[1::2], strict=True))  # type: ignore[arg-type]
    return found


def _why(error: Exception) -> str:
    if isinstance(error, ProxyError):
        return error.detail
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, EOFError):
        return "it has closed the connection"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return f"it cannot be reached: {error.strerror or type(error).__name__}" if isinstance(error, OSError) else ""

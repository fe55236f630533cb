"""The identity that spiffe-helper or a Kubernetes volume keeps in files: watched, taken whole, the last good kept.

Files are compared by what ``stat`` says of the file behind the path: a Kubernetes volume swaps the ``..data`` symlink
and leaves the paths alone, spiffe-helper writes in place. Polling sees both, on every file system; inotify sees the
second only through the directory of the first, and nothing on some network mounts.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from proxy.errors import IdentityInvalid
from proxy.identity.settings import FilesSettings, IdentitySettings
from proxy.identity.sources.file_set import read_set
from proxy.identity.store import Identity, IdentityStore

_log = logging.getLogger(__name__)

OnLoad = Callable[[bool, str], None]
"""Told of every outcome once: whether a new identity was taken, and what happened, in words for a person."""

_Stat = tuple[int, int, int, int, int] | None


class FilesSource:
    """Fills the store from the files of ``settings``."""

    __slots__ = ("_failed", "_files", "_now", "_on_load", "_seen", "_settings", "_store", "trouble")

    def __init__(
        self, settings: IdentitySettings, store: IdentityStore, now: Callable[[], float], on_load: OnLoad
    ) -> None:
        if settings.files is None:
            raise IdentityInvalid("identity.files is not configured")
        self._files: FilesSettings = settings.files
        self._settings = settings
        self._store = store
        self._now = now
        self._on_load = on_load
        self._seen: tuple[_Stat, ...] = ()
        self._failed = False
        self.trouble = ""

    def begin(self) -> None:
        """Load what is there; what is wrong with it was told, and is looked at again."""
        with contextlib.suppress(IdentityInvalid):
            self.load()

    def ask_anew(self) -> None:
        """It is looked at all the time."""

    def close(self) -> None:
        """Nothing is open between two looks."""

    def load(self) -> Identity:
        """Read the files now and take what they hold. Raises IdentityInvalid; the last good stays."""
        self._seen = self._look()
        try:
            svid, bundles = read_set(self._settings, self._now())
            if not self._store.holds(svid, bundles):
                self._tell(self._store.replace(svid, bundles, self._now()))
        except IdentityInvalid as error:
            self._fail(error.detail, is_new=True)
            raise
        self._failed, self.trouble = False, ""
        return self._store.require()

    async def watch(self) -> None:
        """Look at the files for ever, and load them when they have changed. Never raises for what they hold."""
        while True:
            await asyncio.sleep(self._files.poll_s)
            await self.poll()

    async def poll(self) -> None:
        """Look once. A set that failed is tried again at each look, for time may heal it, but told only once."""
        seen = self._look()
        changed = seen != self._seen
        if not changed and not self._failed:
            return
        # Before the reading: what changes during it is seen at the next look.
        self._seen = seen
        try:
            await self._take()
        except IdentityInvalid as error:
            self._fail(error.detail, is_new=changed)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the watch: the next set may be good
            _log.exception("identity_load_failed")
            self._fail("a fault of ours while the files were read; the log has it", is_new=changed)
        else:
            self._failed, self.trouble = False, ""

    async def _take(self) -> None:
        svid, bundles = read_set(self._settings, self._now())
        if not self._store.holds(svid, bundles):  # touched or written again: no new contexts for the same identity
            self._tell(await self._store.renew(svid, bundles, self._now()))

    def _fail(self, detail: str, *, is_new: bool) -> None:
        self._failed, self.trouble = True, detail
        if is_new:
            self._on_load(False, detail)

    def _tell(self, identity: Identity) -> None:
        wait = ", ".join(name for name, bundle in sorted(identity.bundles.items()) if bundle.revocations.waiting)
        crls = f"; CRLs of {wait} wait for peers that show in their chains who has signed them" if wait else ""
        self._on_load(True, f"took the SVID of {identity.svid.spiffe_id} as generation {identity.generation}{crls}")

    def _look(self) -> tuple[_Stat, ...]:
        files = self._files
        lists = [*files.federated_crls.values(), *([files.crl] if files.crl else [])]
        return tuple(_stat(p) for p in (files.svid, files.key, files.bundle, *files.federated.values(), *lists))


def _stat(path: Path) -> _Stat:
    try:
        found = path.stat()
    except OSError:
        return None
    # ctime too: a tool that keeps mtime (cp -p) writes in place, and a rename changes the inode.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

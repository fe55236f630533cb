"""The audit as the loop sees it: a queue that takes a record and never waits. A thread of its own writes them.

One process, one file, one chain: what several processes wrote to one file could not be told from what was put in.
"""

import logging
import threading
from collections.abc import Callable
from secrets import token_hex
from time import time
from typing import Final

from proxy.errors import ConfigInvalid
from proxy.observe.audit.file import AuditFile
from proxy.observe.audit.line import Scribe
from proxy.observe.audit.record import AuditRecord, PolicyNote
from proxy.observe.audit.settings import AuditSettings
from proxy.observe.audit.signer import KeySigner, Signer, read_private
from proxy.observe.audit.writer import Writer
from proxy.observe.catalog import Direction, Metrics

FLUSH_S: Final = 0.05
"""How long a record waits for others to share its write."""

CLOSE_S: Final = 2.0
"""How long the end of the sidecar waits for a slow disk."""

_log = logging.getLogger(__name__)


class Trail:
    """The audit of one process. ``put`` on the loop; ``start`` and ``close`` once."""

    def __init__(
        self, settings: AuditSettings, svid_signer: Callable[[], Signer | None], metrics: Metrics, instance: str
    ) -> None:
        """Open the file and find the end of its chain.

        Raises:
            ConfigInvalid: file or key cannot be used; the message says what to do.

        """
        if settings.file is None:
            raise ConfigInvalid("audit.file: an audit needs a file")
        signer = svid_signer if settings.key is None else _signer_of(settings)
        try:
            file = AuditFile(settings.file)
            self._writer = Writer(settings, Scribe(settings, instance), file, signer, time, token_hex(8))
        except OSError as error:
            raise ConfigInvalid(f"audit.file: {settings.file} cannot be used: {error.strerror}") from error
        self._queue = self._writer.queue
        self._max_queued = settings.queue
        self._allows = settings.allows
        self._allowed = 0
        self._conn = 0
        self._policies: dict[str, str] = {}
        self._is_idle = True
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = 0
        metrics.watch_audit(
            dropped=lambda: self._writer.dropped + self._lost,
            failing=lambda: float(self._writer.is_failing),
            lines=lambda: self._writer.n,
        )

    # ---- on the loop

    def connection(self) -> int:
        """Number a connection."""
        self._conn += 1
        return self._conn

    def put(self, record: AuditRecord) -> None:
        """Take a record, or count it as dropped where too many wait."""
        if self._allows > 1 and record.decision == "allow":
            self._allowed += 1
            if self._allowed % self._allows:
                self._writer.skipped += 1
                return
        self._append(record)

    def policy_taken(self, direction: Direction, version: str, rules: int, mode: str = "enforce") -> None:
        """Write that from now on these rules decide, unless they do already."""
        if self._policies.get(direction) == version:
            return
        self._policies[direction] = version
        self._append(PolicyNote(time(), direction, version, rules, mode))

    def _append(self, item: AuditRecord | PolicyNote) -> None:
        if len(self._queue) >= self._max_queued:
            self._writer.dropped += 1
            return
        self._queue.append(item)
        if self._is_idle:
            self._is_idle = False
            self._wake.set()

    # ---- the thread

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._writer.wait_s)
            self._wake.clear()
            self._closing.wait(FLUSH_S)
            self._write()
            self._is_idle = True
            if self._queue:  # it came after the last look, and nobody has called for it
                self._is_idle = False
                self._wake.set()
        self._lost = self._writer.close()

    def _write(self) -> None:
        try:
            while not self._closing.is_set() and self._writer.step():
                pass
        except Exception:  # noqa: BLE001 - a fault of ours must not end the audit of all that follows
            _log.exception("audit: a batch could not be written")

    def close(self) -> None:
        """Write what waits, for at most ``CLOSE_S``, sign it, and end."""
        if self._thread is None:
            return
        self._closing.set()
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            _log.warning("audit: the disk is too slow, its last lines are lost")
        elif self._lost:
            _log.warning("audit: %d records could not be written, and are lost", self._lost)


def open_audit(settings: AuditSettings, svid_signer: Callable[[], Signer | None], metrics: Metrics) -> Trail | None:
    """Open the audit; None where none is configured. Raises ConfigInvalid."""
    return Trail(settings, svid_signer, metrics, token_hex(4)) if settings.file is not None else None


def _signer_of(settings: AuditSettings) -> Callable[[], Signer]:
    key = settings.key
    if key is None:
        raise ConfigInvalid("audit.key: there is none")
    try:
        signer = KeySigner(read_private(key.read_bytes()))
    except OSError as error:
        raise ConfigInvalid(f"audit.key: {key} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigInvalid(f"audit.key: {key} {error}") from error
    return lambda: signer

"""Records -> lines of the chain in the file. Everything here runs in one thread that is not the loop's.

What cannot be written is kept and tried again: the queue fills behind it, and what finds no place is counted by who
brought it. The count stands in the chain as a line of its own, as soon as one can be written.

A file that was moved away (logrotate) is left, one that was cut (copytruncate) or torn by a crash is gone on with; the
first line after it says so. The chain goes on over files and restarts, and begins anew only where its end is gone.
"""

import logging
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quote
from time import monotonic
from typing import Final

from proxy.observe.audit.chain import Chain
from proxy.observe.audit.file import AuditFile
from proxy.observe.audit.line import Scribe
from proxy.observe.audit.record import AuditRecord, PolicyNote
from proxy.observe.audit.recover import Found, take_up
from proxy.observe.audit.settings import AuditSettings
from proxy.observe.audit.signer import Signer

BATCH: Final = 32
"""Records made into lines at a time: some 0.2 ms, for which the loop may have to wait."""

RETRY_S: Final = 1.0
"""Between two attempts to write what could not be written."""

_log = logging.getLogger(__name__)

LATER_S: Final = 60.0
"""Between two attempts to move a file aside, or to follow one that was moved: meanwhile the open one is written."""

_NOBODY: Final[tuple[str, tuple[bytes, ...]]] = ("", ())

Item = AuditRecord | PolicyNote


class _Sealed:
    """A line that is not in the file yet; ``body`` is empty for a checkpoint, which cannot be sealed anew."""

    __slots__ = ("body", "line", "n")

    def __init__(self, body: str, line: bytes, n: int) -> None:
        self.body = body
        self.line = line
        self.n = n


class Writer:
    """Writes one chain. ``queue`` is filled by others, ``dropped`` and ``skipped`` are counted by others."""

    def __init__(
        self,
        settings: AuditSettings,
        scribe: Scribe,
        file: AuditFile,
        signer: Callable[[], Signer | None],
        now: Callable[[], float],
        chain_id: str,
    ) -> None:
        self.queue: deque[Item] = deque()
        self.dropped = 0
        self.skipped = 0
        self.failures = 0
        self.is_failing = False
        self._settings = settings
        self._scribe = scribe
        self._file = file
        self._signer = signer
        self._now = now
        self._sealed: deque[_Sealed] = deque()
        self._offset = 0  # of the first of them, so much is written
        self._spoilt = 0
        self._told_dropped = 0
        self._told_trouble = ""
        self._unsigned = 0  # lines since the last checkpoint
        self._signed_at = monotonic()
        self._shown = _NOBODY  # whose certificates stand in this file
        self._retry_at = 0.0
        self._move_at = 0.0
        found = take_up(file, chain_id, now())
        self._chain = Chain(found.id, found.n, found.last)
        self._written = found.n, found.last  # of the last line that is whole in the file
        self._began = found.began
        self._seal(self._beginning(found))

    @property
    def n(self) -> int:
        """The number of the last line that is in the file."""
        return self._written[0]

    @property
    def wait_s(self) -> float | None:
        """How long nothing has to be done while no record comes; None: for ever."""
        if self._sealed:
            return RETRY_S
        if not self._unsigned:
            return None
        return max(0.0, self._signed_at + self._settings.checkpoint_s - monotonic())

    # ---- one step

    def step(self) -> bool:
        """Write a batch of what waits, and a checkpoint when it is due; False when nothing more can be done now."""
        if self._sealed and not self._try():
            return False
        self._look_at_file()
        self._take()
        if not self._flush():
            return False
        if self._is_due():
            self._checkpoint()
            self._flush()
        return bool(self.queue) and not self._sealed

    def _try(self) -> bool:
        """Try what could not be written again, in another file if there is one."""
        if monotonic() < self._retry_at:
            return False
        try:
            if self._file.is_moved:
                self._change_file("moved")
        except OSError as error:
            self._trouble("it was moved, and another file cannot be opened", error)
        return self._flush()

    def _take(self) -> None:
        if (dropped := self.dropped + self._spoilt) > self._told_dropped:
            self._seal(f'"kind":"dropped",{self._at()},"count":{dropped - self._told_dropped}')
            self._told_dropped = dropped
        queue, write = self.queue, self._scribe.write
        for _ in range(min(BATCH, len(queue))):
            item = queue.popleft()
            try:
                body = write(item)
            except Exception:  # noqa: BLE001 - a fault of ours must not end the audit of all that follows
                _log.exception("audit: a record could not be made into a line")
                self._spoilt += 1
                continue
            self._seal(body)

    def _seal(self, body: str) -> None:
        line = self._chain.seal(body)
        self._sealed.append(_Sealed(body, line, self._chain.n))
        self._unsigned += 1

    def _at(self) -> str:
        return f'"time":"{self._scribe.at(self._now())}"'

    # ---- the file

    def _flush(self) -> bool:
        """Write what is sealed; False where some of it is left."""
        sealed = self._sealed
        while sealed:
            try:
                taken = self._file.write(b"".join([one.line for one in sealed])[self._offset :])
            except OSError as error:
                self._fail(error)
                return False
            self._settle(self._offset + taken)
        if self.is_failing:
            self.is_failing = False
            _log.warning("audit: it is written again, from line %d", self._written[0])
        return True

    def _settle(self, taken: int) -> None:
        """Forget what is in the file now."""
        sealed = self._sealed
        while sealed and taken >= len(sealed[0].line):
            done = sealed.popleft()
            taken -= len(done.line)
            self._written = done.n, sha256(done.line[:-1]).hexdigest() if not sealed else ""
        if sealed:  # its line names the hash of the one before
            self._written = sealed[0].n - 1, sealed[0].line.partition(b'"prev":"')[2][:64].decode()
        self._offset = taken

    def _fail(self, error: OSError) -> None:
        self.failures += 1
        self._retry_at = monotonic() + RETRY_S
        if not self.is_failing:
            self.is_failing = True
            _log.warning("audit: it cannot be written now, what comes is kept as far as it goes: %s", error.strerror)

    def _trouble(self, what: str, error: OSError) -> None:
        """Tell once what keeps us from changing the file; the one that is open is written on."""
        self.failures += 1
        self._move_at = monotonic() + LATER_S
        if self._told_trouble != what:
            self._told_trouble = what
            _log.warning("audit: %s: %s", what, error.strerror)

    def _look_at_file(self) -> None:
        """Follow it where it was moved or cut, and move it aside when it is large or old."""
        if monotonic() < self._move_at:
            return
        what = "its file cannot be looked at"
        try:
            if self._file.is_moved:
                what = "it was moved, and another file cannot be opened"
                self._change_file("moved")
            elif self._file.is_cut:
                self._file.recount()
                self._begin_file("cut", b"")
            elif self._file.size >= self._settings.rotate_bytes or self._now() - self._began >= self._settings.rotate_s:
                what = "its file cannot be moved aside"
                self._rotate()
        except OSError as error:
            self._trouble(what, error)

    def _rotate(self) -> None:
        if self._unsigned:
            self._checkpoint()
        if self._flush():
            self._file.sync()
            self._file.move_aside(self._now())
            self._change_file("rotated")
            self._file.prune(self._settings.keep)

    def _change_file(self, why: str) -> None:
        """Go on in a new file; what is not wholly in the old one goes to the new."""
        self._file.reopen()
        self._told_trouble = ""
        torn = self._sealed[0].line[: self._offset] if self._offset else b""
        left = [one.body for one in self._sealed if one.body]
        self._sealed.clear()
        self._offset = 0
        self._chain = Chain(self._chain.id, *self._written)
        self._begin_file(why, torn)
        for body in left:
            self._seal(body)

    def _begin_file(self, why: str, torn: bytes) -> None:
        _log.info("audit: goes on in a file that was %s", why)
        self._began = self._now()
        self._shown = _NOBODY
        self._seal(f'"kind":"continue",{self._at()},"chain":"{self._chain.id}","why":"{why}"{_torn(torn)}')

    def _beginning(self, found: Found) -> str:
        if found.unended:  # our first line stands on a line of its own
            self._sealed.append(_Sealed("", b"\n", self._chain.n))
        how = "resume" if found.n else "begin"
        kept = f'"sub":"{self._settings.sub}","path":"{self._settings.path}","allows":{self._settings.allows}'
        why = f',"why":{quote(found.why)}' if found.why else ""
        return f'"kind":"{how}",{self._at()},"chain":"{found.id}"{why},{kept}{_torn(found.torn)}'

    # ---- checkpoints

    def _is_due(self) -> bool:
        if not self._unsigned:
            return False
        settings = self._settings
        late = monotonic() - self._signed_at >= settings.checkpoint_s
        return late or self._unsigned >= settings.checkpoint_lines

    def _checkpoint(self) -> None:
        """Sign all that was sealed so far; without a key it is tried again after the interval."""
        self._signed_at = monotonic()
        signer = self._signer()
        if signer is None:
            return
        told = f'"dropped":{self._told_dropped},"sampled_out":{self.skipped}'
        body = f'"kind":"checkpoint",{self._at()},"chain":"{self._chain.id}",{told},"key":"{signer.key_id}"'
        if self._shown != (signer.key_id, signer.certificates):  # a key may outlive its certificates
            self._shown = signer.key_id, signer.certificates
            if signer.certificates:
                body += ',"certificates":[' + ",".join(f'"{der.hex()}"' for der in signer.certificates) + "]"
        signature = signer.sign(self._chain.unsigned(body)).hex()
        line = self._chain.seal(f'{body},"signature":"{signature}"')
        self._sealed.append(_Sealed("", line, self._chain.n))
        self._unsigned = 0

    # ---- the end

    def close(self) -> int:
        """Write all that waits, sign it and close the file. Give the number of records that are lost."""
        while self.step():
            pass
        self._seal(f'"kind":"end",{self._at()}')
        self._checkpoint()
        is_whole = self._flush()
        try:
            if is_whole:
                self._file.sync()
        except OSError as error:
            self._fail(error)
        self._file.close()
        return len(self.queue) + sum(bool(one.body) for one in self._sealed)


def _torn(torn: bytes) -> str:
    return f',"torn_sha256":"{sha256(torn).hexdigest()}"' if torn else ""

"""The uses of transactions on routes that take each once; in one list for all processes of one app that share.

Where ``transactions.share`` names a folder, the list is a file in it: whoever decides about a use has the file, reads
what the others have noted, and notes its own before anything is forwarded. So of two processes that get a transaction
at the same moment one passes it; nobody has to be asked, for what a process has noted stays when it is killed, hangs or
starts anew. Of each use the file has a hash and an end, never a token.

Where the file cannot be had in time, or not be read or written, nobody can tell a use from a second one: refused.
"""

import asyncio
import errno
import logging
import math
import struct
from typing import Final

from proxy.errors import SiblingUnavailable
from proxy.flow.settings import InboundSettings, SharingSettings
from proxy.net.accept import ListenFailed
from proxy.net.common_file import CommonFile
from proxy.tokens.once import UsedTransactions, replayed, use_of

NAME: Final = "used"
"""Of the file in the folder."""

LOOK_S: Final = 0.001
"""Between two looks whether the file is free: whoever has it needs a hundredth of that."""

SPARE: Final = 4096
"""Records that are over before the file is written anew, beside as many as count."""

_MARK: Final = b"svuse/1\n"
_RECORD: Final = struct.Struct(f">16sd{len(_MARK)}s")
_log = logging.getLogger("svidecar")


class Uses:
    """See the module. ``begin``, then ``use`` or ``end``, without an ``await`` between. ``now`` is Unix time."""

    __slots__ = ("_file", "_known", "_records", "_timeout_s", "_told")

    def __init__(self, known: UsedTransactions, file: CommonFile | None = None, timeout_s: float = 0.0) -> None:
        self._known = known
        self._file = file
        self._timeout_s = timeout_s
        self._records = 0  # in the file
        self._told = ""

    def fullness(self, now: float) -> float:
        """How near the limit is: from 0 to 1."""
        return self._known.fullness(now)

    def start(self, now: float) -> None:
        """Read what was noted before. Raises ListenFailed: the file is none of ours; the message says what to do."""
        try:
            if self.begin():
                self._read(now)
        except (OSError, SiblingUnavailable) as error:
            why = error.detail if isinstance(error, SiblingUnavailable) else self._unavailable(error).detail
            raise ListenFailed(errno.EINVAL, f"{why} (transactions.share)") from error
        finally:
            self.end()

    def begin(self) -> bool:
        """Have the list for one use; False: another process has it, so await ``turn`` and come again.

        Raises:
            SiblingUnavailable: it cannot be had at all.

        """
        try:
            return self._file is None or self._file.take()
        except OSError as error:
            raise self._unavailable(error) from error

    async def turn(self) -> None:
        """Wait until no other process has the list. Raises SiblingUnavailable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                while not self.begin():  # noqa: ASYNC110 - another process ends it, who can set no event of ours
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise SiblingUnavailable(
                "another process of the app keeps the list of used transactions (transactions.timeout)"
            ) from None
        finally:
            self.end()

    def end(self) -> None:
        """Let others have it; also where nothing was used."""
        if self._file is not None:
            self._file.release()

    def close(self) -> None:
        """Let the file go; what is noted stays in it."""
        if self._file is not None:
            self._file.close()

    def use(self, route: str, txn: str, exp: float, now: float) -> None:
        """Note that ``txn`` is used on ``route``; ``exp`` is when its token is refused for its age.

        Raises:
            TransactionReplayed: it was used there before.
            UsedTransactionsFull: nothing more can be remembered, so nothing more is let through.
            SiblingUnavailable: what others have used cannot be read, or this not be told them.

        """
        key = use_of(route, txn)
        if self._file is None:
            self._known.use(key, exp, now)
            return
        try:
            self._read(now)
            self._use(self._file, key, exp, now)
        except OSError as error:
            raise self._unavailable(error) from error
        finally:
            self.end()

    def _use(self, file: CommonFile, key: bytes, exp: float, now: float) -> None:
        known = self._known.until(key, now)
        until = exp if known else self._known.end_of(exp, now)
        if until > known:
            file.append(_RECORD.pack(key, until, _MARK))
            self._told = ""
            self._records += 1
            self._known.learn(key, until)
        if self._records > 2 * len(self._known) + SPARE:
            self._rewrite(file, now)
        if known:
            raise replayed()

    def _read(self, now: float) -> None:
        """Take what others have noted; and note in another file what it lacks."""
        file = self._file
        if file is None:
            return
        try:
            for key, until in _understood(file.left()).items():
                self._known.learn(key, until)
            raw, is_all = file.read()
            found = _understood(raw)
            self._records = len(raw) // _RECORD.size + (0 if is_all else self._records)
            if is_all:
                lacking = [one for one in self._known.known(now).items() if one[1] > found.get(one[0], 0.0)]
                file.append(b"".join(_RECORD.pack(key, until, _MARK) for key, until in lacking))
                self._records += len(lacking)
            for key, until in found.items():
                if until > now:
                    self._known.learn(key, until)
        except OSError:
            file.close()  # should it be better later, it is read from its beginning
            raise

    def _rewrite(self, file: CommonFile, now: float) -> None:
        known = self._known.known(now)
        self._records = len(known)
        try:
            file.rewrite(b"".join(_RECORD.pack(key, until, _MARK) for key, until in known.items()))
        except OSError as error:
            self._unavailable(error)  # it is longer than it has to be, and all the same it is good

    def _unavailable(self, error: OSError) -> SiblingUnavailable:
        detail = f"the list of used transactions that processes share cannot be used: {error.strerror}"
        if detail != self._told:
            _log.warning("sharing: %s", detail)
        self._told = detail
        return SiblingUnavailable(detail)


def _understood(raw: bytes) -> dict[bytes, float]:
    """Give the records: of each use its latest end."""
    found: dict[bytes, float] = {}
    for key, until, mark in _RECORD.iter_unpack(raw):
        if mark != _MARK or not math.isfinite(until):
            raise OSError(errno.EILSEQ, "it holds what no sidecar of this version has written: remove it")
        found[key] = max(until, found.get(key, until))
    return found


def uses_for(inbound: InboundSettings | None, sharing: SharingSettings | None) -> Uses:
    """Make it as it is configured; without inbound nothing is ever used."""
    if inbound is None:
        return Uses(UsedTransactions(1, 0.0))
    known = UsedTransactions(inbound.used_transactions, inbound.used_window_s)
    if sharing is None:
        return Uses(known)
    return Uses(known, CommonFile(sharing.folder / NAME, _RECORD.size), sharing.timeout_s)

"""Where the chain of a file goes on after a restart: behind its last whole line, or anew where that cannot be read."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxy.observe.audit.chain import GENESIS, MAX_LINE, NotALine, digest, read
from proxy.observe.audit.file import AuditFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The end of the chain ``id``. ``n`` 0: it begins now. ``torn``: what a crash has left behind the last line.

    ``unended``: the file does not end with the end of a line, so that has to be written first.

    ``began``: when the file did, in seconds since 1970. ``why``: why a new one begins although there was an old one.
    """

    id: str
    n: int = 0
    last: str = GENESIS
    torn: bytes = b""
    unended: bool = False
    began: float
    why: str = ""


def take_up(file: AuditFile, chain_id: str, now: float) -> Found:
    """Find the end of the chain in a file, or in the newest that was moved aside. ``chain_id`` is for a new one.

    A file whose end cannot be read is moved aside as it is: a new chain does not begin in the middle of a file.

    Raises:
        OSError: the file cannot be read or moved.

    """
    if file.size:
        try:
            return _end_of(file.path, file, now)
        except NotALine as error:
            file.move_aside(now)
            file.reopen()
            return Found(id=chain_id, began=now, why=f"the end of the file before cannot be read: {error}")
    for aside in reversed(file.moved_aside()):
        try:
            before = AuditFile(aside)
        except OSError:
            break
        try:
            found = _end_of(aside, before, now)
        except NotALine:
            break
        finally:
            before.close()
        if not found.unended:
            return Found(id=found.id, n=found.n, last=found.last, began=now)
        break
    return Found(id=chain_id, began=now)


def _end_of(path: Path, file: AuditFile, now: float) -> Found:
    with path.open("rb") as opened:
        first = read(opened.readline(MAX_LINE).rstrip(b"\n"))
    tail = file.tail()
    last = read(tail.line)
    found = first.get("chain")
    if type(found) is not str or not found.isalnum() or not found.isascii():
        raise NotALine("its first line names no chain")
    n, last_digest, torn = last["n"], digest(tail.line), tail.torn
    if _follows(torn, n, last_digest):  # a whole line, which lacks its end alone
        n, last_digest, torn = n + 1, digest(torn), b""
    began = _time_of(first.get("time"), now)
    return Found(id=found, n=n, last=last_digest, torn=torn, unended=bool(tail.torn), began=began)


def _follows(raw: bytes, n: int, last: str) -> bool:
    try:
        found = read(raw)
    except NotALine:
        return False
    return bool(found["n"] == n + 1 and found["prev"] == last)


def _time_of(written: object, now: float) -> float:
    try:
        return datetime.fromisoformat(written).timestamp() if isinstance(written, str) else now
    except ValueError:
        return now

"""The chain: each line holds the hash of the line before, so that none can be changed, removed or moved alone.

Who can write the file can still make all hashes anew. So now and then a line is a checkpoint, signed with a key that is
not in the file: it fixes every line before it. What is behind the last checkpoint is fixed by nothing yet.

The hash is SHA-256 over the bytes of a line as they stand in the file, without its end; the signature is over those
before ``,"signature":`` after a name of its own, so that it can be taken for nothing else that the same key signs.
"""

import json
from hashlib import sha256
from typing import Any, Final

GENESIS: Final = "0" * 64
"""What stands for the line before the first."""

DOMAIN: Final = b"svidecar audit checkpoint 1\n"

MAX_LINE: Final = 256 * 1024
"""Bytes of one line. A value has 2048 characters at most, of which each may take 12 bytes."""

_SIGNATURE: Final = b',"signature":"'
_END: Final = b'"}'


class NotALine(ValueError):
    """The bytes are not a line of an audit; the message says why."""


class Chain:
    """The end of a chain: the number of the last line, from 1, and its hash."""

    __slots__ = ("id", "last", "n")

    def __init__(self, chain_id: str, n: int = 0, last: str = GENESIS) -> None:
        self.id = chain_id
        self.n = n
        self.last = last

    def seal(self, body: str) -> bytes:
        """Make the next line of these members, which begin without a comma; with its end. ``body`` is ASCII."""
        self.n += 1
        line = f'{{"n":{self.n},"prev":"{self.last}",{body}}}'.encode("ascii")
        self.last = sha256(line).hexdigest()
        return line + b"\n"

    def unsigned(self, body: str) -> bytes:
        """Give what has to be signed of a checkpoint with these members."""
        return DOMAIN + f'{{"n":{self.n + 1},"prev":"{self.last}",{body}'.encode("ascii")


def signed_part(line: bytes) -> tuple[bytes, bytes]:
    """Give what of a checkpoint was signed, and its signature in hexadecimal. Raises NotALine."""
    before, found, after = line.rpartition(_SIGNATURE)
    if not found or not after.endswith(_END):
        raise NotALine("the checkpoint does not end with its signature")
    return DOMAIN + before, after[: -len(_END)]


def digest(line: bytes) -> str:
    """Give the hash of a line, which the next one holds."""
    return sha256(line).hexdigest()


def read(line: bytes) -> dict[str, Any]:
    """Read a line without its end; ``n``, ``prev`` and ``kind`` are of their types.

    Raises:
        NotALine: it cannot be one.

    """
    if len(line) > MAX_LINE:
        raise NotALine("it is longer than any line of an audit")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotALine("it is not JSON") from error
    if type(found) is not dict:
        raise NotALine("it is not an object")
    n, prev, kind = found.get("n"), found.get("prev"), found.get("kind")
    if type(n) is not int or n < 1 or type(prev) is not str or len(prev) != len(GENESIS) or type(kind) is not str:
        raise NotALine("it has no number, no hash of the line before, or no kind")
    return found
